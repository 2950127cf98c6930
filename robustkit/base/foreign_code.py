"""Code that is not robustkit's: models, data, plug-ins and transforms of users, and whose fault an exception is."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from types import FrameType
from typing import TypeVar

from robustkit.base.errors import ConfigurationError, RobustkitError, one_line

Item = TypeVar("Item")
_PACKAGES: set[str] = set()  # what users named, by the first part of its name
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


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


def foreign_items(who: str, items: Iterator[Item]) -> Iterator[Item]:
    """Yields the items of an iterator that is not ours, each fetched in the context of `foreign`."""
    while True:
        with foreign(who):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def remember(module: str) -> None:
    """Notes that a module was named by a user: what is raised while its package runs is theirs, unless it is ours."""
    _PACKAGES.add(module.partition(".")[0])


def raised_by(error: BaseException) -> str | None:
    """Returns whose code raised `error`, None for our own: a module that a user named, or one that nobody installed."""
    who: str | None = error.__dict__.get("raised_by")
    frames = dropwhile(lambda frame: not _ours(frame), (frame for frame, _ in traceback.walk_tb(error.__traceback__)))
    return who or next((str(frame.f_globals.get("__name__")) for frame in frames if _theirs(frame)), None)


def _ours(frame: FrameType) -> bool:
    return _package(frame) == "robustkit"


def _theirs(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not _ours(frame) and (_package(frame) in _PACKAGES or not file.startswith(("<", *_INSTALLED)))


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
