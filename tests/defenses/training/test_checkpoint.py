"""Checkpoints: a run that is resumed ends with the same bits."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from objective_rows import EVERY
from safetensors.torch import save_file
from tiny_training import same

from robustkit.base.errors import ConfigurationError
from robustkit.defenses import Standard
from robustkit.defenses.training import checkpoint

VARIANTS = {
    **{name: (objective, {}) for name, objective in EVERY.items()},
    "sgd, cosine, ema": (Standard(), {"optimizer": "sgd", "nesterov": True, "schedule": "cosine", "average": "ema"}),
    "adam, step, swa": (
        Standard(label_smoothing=0.1),
        {"optimizer": "adam", "schedule": "step", "average": "swa", "swa_start": 0.2},
    ),
    "adagrad, restarts, clip, l1": (
        EVERY["free"],
        {"optimizer": "adagrad", "schedule": "warm-restarts", "restart_epochs": 1, "clip": 0.5, "l1": 1e-3},
    ),
    "cyclic, warm-up, bf16": (
        EVERY["awp"],
        {"schedule": "cyclic", "eps_warmup": 2.5, "precision": "bf16", "inner_fp32": True, "optimizer": "sgd"},
    ),
    "constant, rollback, channels first": (
        EVERY["pgd-at"],
        {"schedule": "constant", "on_catastrophic": "rollback", "channels_last": False, "head_epochs": 1},
    ),
}
QUICK = ("standard", "free", "awp", "sgd, cosine, ema", "cyclic, warm-up, bf16", "constant, rollback, channels first")


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        pytest.param(*variant, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, variant in VARIANTS.items()
    ],
)
def test_two_epochs_and_two_resumed_equal_four_straight_bit_for_bit(trained, tmp_path, objective, settings):
    straight, whole = trained(objective, epochs=4, **settings)
    _, half = trained(objective, epochs=4, stop_after=2, folder=tmp_path, **settings)
    assert half.stopped == "stop_after 2"
    resumed, rest = trained(objective, epochs=4, folder=tmp_path, resume=True, **settings)
    assert same(resumed, straight)
    timeless = [[dataclasses.replace(epoch, seconds=0) for epoch in run.epochs] for run in (whole, rest)]
    assert str(timeless[0]) == str(timeless[1])
    assert [epoch.number for epoch in rest.epochs] == [1, 2, 3, 4]


@pytest.mark.parametrize("objective", [EVERY["free"], EVERY["awp"]], ids=["free", "awp"])
def test_a_run_that_breaks_inside_an_epoch_goes_on_from_that_batch(trained, tmp_path, objective):
    straight, whole = trained(objective, epochs=2)
    seen = []

    def note(batch):
        seen.append((batch.epoch, batch.ids.tolist()))
        return batch

    def breaks(batch):
        if len(seen) == 5:  # the second batch of the second epoch
            raise Killed
        return note(batch)

    with pytest.raises(Killed):
        trained(objective, epochs=2, folder=tmp_path, save_minutes=0, augment=breaks)
    resumed, rest = trained(objective, epochs=2, folder=tmp_path, resume=True, augment=note)
    assert same(resumed, straight)
    assert [epoch.loss for epoch in rest.epochs] == [epoch.loss for epoch in whole.epochs]
    ids = [number for epoch, numbers in seen if epoch == 2 for number in numbers]
    assert len(ids) == len(set(ids)) == 27  # nothing was repeated, nothing left out


SCRIPT = """
import os, signal, sys, torch
from nets import images, labels, smooth_cnn
from torch import nn
from robustkit.attacks import PGD
from robustkit.model.classifier import Classifier
from robustkit.defenses import TRADES, fit
folder, how = sys.argv[1:]
model = nn.Sequential(*smooth_cnn(dtype=torch.float32)[:-1], nn.Dropout(0.3), nn.Linear(24, 4)).train()
model.load_state_dict(torch.load(folder + "/start.pt", weights_only=True))
count, sync = 0, os.fsync
def tick(last):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
def draft_is_there_but_has_no_name_yet(number):
    tick(11)  # three files after each of three batches, then the weights, then the checkpoint
    sync(number)
def augment(batch):
    tick(6)
    return batch
if how == "writing":
    os.fsync, augment = draft_is_there_but_has_no_name_yet, None
fit(Classifier(model), images(30, torch.float32), labels(30), TRADES(attack=PGD(eps=0.1, steps=2, step_size=0.04)),
    folder=folder + "/run", save_minutes=0, augment=augment, epochs=2, batch_size=8, val_steps=2, lr=0.02,
    guard_every=3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["writing", pytest.param("training", marks=pytest.mark.slow)])
def test_a_run_killed_by_the_system_resumes_to_the_same_bits(trained, start, tmp_path, how):
    straight, _ = trained(EVERY["trades"], epochs=2)
    torch.save(start, tmp_path / "start.pt")
    here = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", SCRIPT, tmp_path, how]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    drafts = list((tmp_path / "run").glob(".*.tmp"))
    assert bool(drafts) == (how == "writing")
    resumed, _ = trained(EVERY["trades"], epochs=2, folder=tmp_path / "run", resume=True)
    assert same(resumed, straight)


def test_a_flipped_byte_anywhere_is_refused_by_name_and_a_file_without_a_hash_is_read(tmp_path):
    path, tensors = tmp_path / "c.safetensors", {"a": torch.arange(3.0), "b": torch.tensor(True)}
    checkpoint.write(path, tensors, {"epoch": 3})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ConfigurationError, match=r"^checkpoint '.*c\.safetensors': expected .*; delete it"):
            checkpoint.read(path)
    save_file(tensors, path, {"robustkit": '{"epoch": 3}'})
    assert same(checkpoint.read(path)[0], tensors)


def test_what_is_written_is_read_back_tied_weights_and_all(tmp_path):
    tied = torch.arange(6.0).view(2, 3)
    checkpoint.write(tmp_path / "c.safetensors", {"a": tied, "b": tied, "c": tied.T}, {"epoch": 3, "loss": math.inf})
    tensors, facts = checkpoint.read(tmp_path / "c.safetensors")
    assert same(tensors, {"a": tied, "b": tied, "c": tied.T})
    assert facts == {"epoch": 3, "loss": math.inf}


def test_names_are_found_under_their_prefix_and_no_other():
    one = torch.zeros(1)
    assert set(checkpoint.under({"best.a.b": one, "bests.c": one, "model.best.d": one}, "best")) == {"a.b"}


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.Adagrad])
def test_an_optimiser_is_restored_with_tensors_and_numbers(kind):
    def stepped(optimizer, parameter, times):
        for _ in range(times):
            parameter.grad = parameter.detach() + 1
            optimizer.step()

    first, second = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    settings = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    one, two = kind([first], lr=0.1, **settings), kind([second], lr=0.7, **settings)
    stepped(one, first, 2)
    tensors, facts = checkpoint.optimizer_state(one)
    second.data.copy_(first.data)
    checkpoint.load_optimizer(two, {name: t.clone() for name, t in tensors.items()}, json.loads(json.dumps(facts)))
    stepped(one, first, 2)
    stepped(two, second, 2)
    assert first.equal(second)


def test_of_a_schedule_only_what_moves_is_kept():
    schedule = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), [2])
    state = checkpoint.schedule_state(schedule)
    assert state["last_epoch"] == 0
    assert state["_last_lr"] == [0.1]
    assert "milestones" not in state


def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigurationError, match="expected a file to resume from, found none; train without resume"):
        checkpoint.read(tmp_path / "absent")
    (tmp_path / "c").write_bytes(b"half")
    with pytest.raises(ConfigurationError, match="expected one of robustkit's"):
        checkpoint.read(tmp_path / "c")
