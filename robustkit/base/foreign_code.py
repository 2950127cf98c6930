"""Code that is not robustkit's: models, data and transforms of users, and whose fault an exception is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from robustkit.base.errors import ConfigurationError, RobustkitError, one_line


@contextmanager
def foreign(who: str) -> Iterator[None]:
    """Context for a call of code that is not ours: an exception passes through and is remembered as that of `who`.

    An attempt to leave the process becomes an error: a model must not end an audit as if it had succeeded.

    Args:
        who: What is called, such as "the model".

    Raises:
        ConfigurationError: If the code raises SystemExit.
    """
    try:
        yield
    except RobustkitError:
        raise
    except SystemExit as error:
        raise ConfigurationError(
            f"{who}: expected a result, but it raised {one_line(error)} to leave the process; raise an error instead"
        ) from error
    except Exception as error:
        if raised_by(error) is None:
            error.__dict__["raised_by"] = who
        raise


def raised_by(error: BaseException) -> str | None:
    """Returns whose code raised `error`, None for our own."""
    who: str | None = error.__dict__.get("raised_by")
    return who
