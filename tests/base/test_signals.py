"""Requests to end: each is an interrupt, and none comes at a bad moment."""

from __future__ import annotations

import signal

import pytest

from robustkit.base.signals import end_as_interrupted, held

pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_request_to_end_is_an_interrupt_unless_it_is_ignored(number):
    end_as_interrupted()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    signal.signal(number, signal.SIG_IGN)
    end_as_interrupted()
    signal.raise_signal(number)


def test_requests_wait_for_the_end_of_the_work_and_of_the_work_around_it():
    done = []
    end_as_interrupted()

    def work():
        with held() as asked:
            with held():
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.extend(asked)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", signal.SIGTERM, signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_whoever_empties_the_list_has_taken_care_of_the_request():
    with held() as asked:
        signal.raise_signal(signal.SIGINT)
        asked.clear()


def test_the_second_request_comes_through_where_only_one_may_wait():
    done = []

    def work():
        with held(1):
            for turn in ("first", "second"):
                signal.raise_signal(signal.SIGINT)
                done.append(turn)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]
