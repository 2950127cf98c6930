"""One process alone sends nothing; several are tried by tests/defenses/test_team.py and tests/cli/test_shards.py."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks, _end_with, joined, own_gpu, ranks, speaks


def test_alone_a_process_is_the_first_and_keeps_what_it_has():
    alone = ranks()
    assert alone == Ranks(0, 1)
    assert alone.first
    tensor = torch.ones(2)
    assert alone.told(lambda: 7) == 7
    assert alone.gathered("x") == ["x"]
    assert alone.shared({2: "c", 0: "a"}) == ["a", "c"]
    assert alone.added(tensor) is tensor
    alone.follow([tensor])
    assert tensor.tolist() == [1, 1]
    assert speaks()


def test_an_error_of_the_one_who_works_is_raised():
    def fail():
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError, match="no"):
        ranks().told(fail)


def test_only_rank_0_is_the_first():
    assert [Ranks(rank, 3).first for rank in range(3)] == [True, False, False]


def test_without_torchrun_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined() as found:
        assert found == Ranks()
    assert not torch.distributed.is_initialized()
    assert own_gpu() == torch.device("cuda")


def test_more_processes_than_gpus_are_refused_with_what_to_type(monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ConfigurationError, match="got 2 for 3; use --nproc-per-node 2, or --device cpu"):
        own_gpu()


def test_a_process_ends_with_its_launcher_even_where_no_signal_reaches_it(monkeypatch):
    done = []
    monkeypatch.setattr("robustkit.base.processes._GRACE", 0)
    monkeypatch.setattr(os, "kill", lambda *what: done.append(what))
    monkeypatch.setattr(os, "_exit", done.append)
    _end_with(os.getppid() + 1)
    assert done == [(os.getpid(), signal.SIGTERM), 143]
