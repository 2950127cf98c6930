"""The border for files from elsewhere: whatever a parser raises is one error, and our own pass through."""

from __future__ import annotations

import pytest

from robustkit.base.border import border
from robustkit.base.errors import ConfigurationError, InvalidEvaluation


@pytest.mark.parametrize(
    "error", [ValueError("no"), MemoryError("no"), RecursionError("no"), NotImplementedError("no"), KeyError("no")]
)
def test_what_a_parser_raises_becomes_one_error(error):
    with (
        pytest.raises(ConfigurationError, match=rf"^a.npz: got {type(error).__name__}: ") as found,
        border(lambda got: ConfigurationError(f"a.npz: got {got}")),
    ):
        raise error
    assert found.value.__cause__ is error


@pytest.mark.parametrize("error", [InvalidEvaluation("ours"), KeyboardInterrupt(), SystemExit(1)])
def test_our_own_errors_and_interruptions_pass_through(error):
    with pytest.raises(type(error)) as found, border(lambda got: ConfigurationError(got)):
        raise error
    assert found.value is error
