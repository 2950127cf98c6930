"""Running out of memory, on a device or on the machine: one line that names the batch size and what to do."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from robustkit.base.errors import ConfigurationError, one_line

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def ran_out(error: BaseException) -> bool:
    """Returns whether there was no memory left; torch, which a command may never have loaded, is known by its words."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def no_room(error: BaseException, batch_size: int | None = None) -> ConfigurationError:
    """Returns the error to raise instead, which names the batch size where it is known."""
    batches = "the work" if batch_size is None else f"batches of {batch_size}"
    smaller = "a smaller --batch-size" if batch_size is None else f"--batch-size {max(batch_size // 4, 1)}"
    return ConfigurationError(
        f"memory: expected room for {batches}, got {one_line(error)[:100]}; use {smaller} (in Python batch_size=), end"
        " what else is in that memory, or take another --device"
    )


@contextmanager
def room_for(batch_size: int) -> Iterator[None]:
    """Context of work in batches; raises ConfigurationError where memory runs out."""
    try:
        yield
    except Exception as error:
        if ran_out(error):
            raise no_room(error, batch_size) from error
        raise


def in_batches(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Decorator of a function with a keyword `batch_size`: the same function within `room_for` it."""
    usual = inspect.signature(function).parameters["batch_size"].default

    @functools.wraps(function)
    def within(*given: Given.args, **named: Given.kwargs) -> Returned:
        size = named.get("batch_size", usual)
        with room_for(size if isinstance(size, int) else usual):
            return function(*given, **named)

    return within
