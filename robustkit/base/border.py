"""The border where files from elsewhere are parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from robustkit.base.errors import RobustkitError, one_line


@contextmanager
def border(refused: Callable[[str], RobustkitError]) -> Iterator[None]:
    """Context in which a file from elsewhere is parsed: whatever that raises becomes one error.

    Nobody can list what a parser raises on a file that was made to break it. Our own errors pass through.

    Args:
        refused: Returns the error for the text of what was raised, its type first.
    """
    try:
        yield
    except RobustkitError:
        raise
    except Exception as error:
        raise refused(one_line(error)) from error
