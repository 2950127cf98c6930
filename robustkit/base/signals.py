"""Requests to end: all of them arrive as KeyboardInterrupt, and can be made to wait for a moment that suits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_waiting: list[int] | None = None


def end_as_interrupted() -> None:
    """Lets SIGTERM, and SIGHUP unless `nohup` has it ignored, end this process as Ctrl-C does."""
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def held(most: int | None = None) -> Iterator[list[int]]:
    """Context in which requests to end wait until it is over; one inside another changes nothing.

    Args:
        most: How many may wait; the next one is not held back, for somebody who has lost patience.

    Yields:
        The signals that wait. Whoever empties the list has taken care of them.
    """
    global _waiting
    if _waiting is not None or threading.current_thread() is not threading.main_thread():
        yield [] if _waiting is None else _waiting
        return
    before = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    waiting = _waiting = list[int]()

    def hold(number: int, frame: FrameType | None) -> None:
        if most is not None and len(waiting) >= most:
            waiting.clear()
            before[number](number, frame)
        waiting.append(number)

    try:
        for number in before:
            signal.signal(number, hold)
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _waiting = None
        if waiting:
            signal.raise_signal(waiting[0])


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
