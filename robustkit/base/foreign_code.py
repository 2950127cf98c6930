"""Code that is not robustkit's: models, data, plug-ins and transforms of users, and whose fault an exception is."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from robustkit.base.errors import ConfigurationError, RobustkitError, one_line

_MODULES: set[str] = set()  # the modules that users named, by their names


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
        error.__dict__.setdefault("raised_by", who)
        raise


def remember(module: str) -> None:
    """Notes that a module was named by a user: what is raised while its functions run is theirs, unless it is ours."""
    if module.partition(".")[0] != "robustkit":
        _MODULES.add(module)


def raised_by(error: BaseException) -> str | None:
    """Returns whose code raised `error`, None for our own."""
    who: str | None = error.__dict__.get("raised_by")
    names = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__))
    return who or next((name for name in names if name in _MODULES), None)
