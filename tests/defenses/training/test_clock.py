"""The clock of a run: when to stop, to save and to report."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from robustkit.base.processes import Ranks
from robustkit.defenses.training import Recipe, clock


@pytest.fixture
def at(monkeypatch):
    """A function that sets the time."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return lambda seconds: setattr(now, "seconds", 100.0 + seconds)


def test_seconds_go_on_from_those_before_the_run_was_resumed(at):
    watch = clock.Clock(Recipe(), Ranks())
    at(7)
    assert watch.seconds == 7
    watch.before = 30.0
    assert watch.seconds == 37


def test_time_is_up_after_the_minutes_of_this_call_and_never_without_a_limit(at):
    limited, free = (clock.Clock(Recipe(minutes=minutes), Ranks()) for minutes in (2.0, None))
    limited.before = 1e6  # of an earlier call
    found = []
    for seconds in (0, 119, 120):
        at(seconds)
        found.append((limited.time_is_up, free.time_is_up))
    assert found == [(False, False), (False, False), (True, False)]


def test_a_checkpoint_is_due_every_so_many_minutes(at):
    watch = clock.Clock(Recipe(save_minutes=1), Ranks())
    due = []
    for seconds in (59, 60, 61, 119, 120):
        at(seconds)
        due.append(watch.save_due())
    assert due == [False, True, False, False, True]


def test_progress_is_due_every_half_second(at):
    watch = clock.Clock(Recipe(), Ranks())
    due = []
    for seconds in (0.4, 0.5, 0.6, 0.9, 1.0):
        at(seconds)
        due.append(watch.report_due())
    assert due == [False, True, False, False, True]


def test_all_processes_follow_the_clock_of_the_first(at):
    class Told:
        def told(self, work):
            return "as the first says"

    watch = clock.Clock(Recipe(minutes=1), Told())
    assert watch.time_is_up == watch.save_due() == "as the first says"
