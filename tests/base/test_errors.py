"""Errors have the exit code that a script relies on, and name what was probably meant."""

from __future__ import annotations

import pytest

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError, suggest


def test_every_error_has_its_exit_code_and_is_a_value_error_where_a_value_is_wrong():
    assert (ConfigurationError.exit_code, InvalidEvaluation.exit_code, RobustkitError.exit_code) == (2, 3, 2)
    for kind in (ConfigurationError, InvalidEvaluation):
        assert issubclass(kind, RobustkitError)
        assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pdg", "; did you mean 'pgd'?"),
        ("PGD", "; did you mean 'pgd'?"),
        ("apgd-ce", "; did you mean 'APGD-CE'?"),
        ("zzz", "; known: APGD-CE, fgsm, pgd"),
        ("", "; known: APGD-CE, fgsm, pgd"),
    ],
)
def test_the_nearest_name_is_suggested_in_its_own_spelling_or_all_are_listed(name, hint):
    assert suggest(name, ["pgd", "fgsm", "APGD-CE"]) == hint
