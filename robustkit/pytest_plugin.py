"""The pytest plug-in: the fixture `robustness` and the option `--robustness-baseline`.

Every pytest run of everybody who has robustkit installed loads this file, so nothing heavy is imported at its head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robustkit.report import Audit


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.getgroup("robustkit").addoption(
        "--robustness-baseline",
        metavar="FILE",
        help="for the fixture robustness: report.json of an earlier audit, or a JSON list of requirements",
    )


@pytest.fixture(scope="session")
def robustness(pytestconfig: pytest.Config) -> Callable[..., Audit]:
    """`robustkit.testing.assert_robust`, with --robustness-baseline as its baseline."""
    from robustkit.testing import assert_robust

    given = pytestconfig.getoption("robustness_baseline")
    baseline = None if given is None else pytestconfig.invocation_params.dir / given
    return functools.partial(assert_robust, baseline=baseline)
