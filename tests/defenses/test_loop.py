"""The training loop, its checkpoints, and transfer learning."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torchvision
from nets import digits, robust_accuracy
from objective_rows import EVERY
from tiny_training import TINY, data, net, same
from torch import nn

from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import batches
from robustkit.defenses import FGSMRS, TRADES, Free, PGDTraining, Standard, fit
from robustkit.defenses.training import Recipe, head_of, replace_head
from robustkit.defenses.training.samples import Samples
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create
from robustkit.model.weights import load_weights


@pytest.mark.parametrize(
    "limit",
    [
        PGDTraining(attack=PGD(eps=0, steps=2)),
        TRADES(attack=PGD(eps=0.1, steps=2), beta=0),
        Free(m=1, eps=0),
        FGSMRS(eps=0),
    ],
    ids=lambda objective: objective.name,
)
def test_limit_cases_train_to_the_weights_of_cross_entropy_bit_for_bit(trained, limit):
    plain, _ = trained(Standard(), epochs=2, select="last")
    assert same(trained(limit, epochs=2, select="last")[0], plain)
    assert not same(trained(PGDTraining(attack=PGD(eps=0.1, steps=2)), epochs=2, select="last")[0], plain)


def test_training_repeats_bit_for_bit_and_follows_its_seed(trained):
    first, _ = trained(Standard(), epochs=1)
    torch.rand(7)  # the global generator has no say
    assert same(first, trained(Standard(), epochs=1)[0])
    assert not same(first, trained(Standard(), epochs=1, seed=1)[0])


def test_order_and_split_follow_sample_ids_not_positions():
    x, y = data()
    ids = torch.arange(30) * 7
    turn = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    straight, turned = Samples(x, y, ids), Samples(x[turn], y[turn], ids[turn])
    (train, held), (other, other_held) = straight.split(0.2, 5), turned.split(0.2, 5)
    assert len(held) == 6
    assert set(held.ids.tolist()) == set(other_held.ids.tolist())
    assert not set(held.ids.tolist()) & set(train.ids.tolist())
    for one, two in zip(train.order(5, 3, 8), other.order(5, 3, 8), strict=True):
        assert train.ids[one].equal(other.ids[two])
    orders = [torch.cat(train.order(seed, epoch, 8)).tolist() for seed, epoch in ((5, 3), (5, 4), (6, 3))]
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_a_last_batch_of_one_sample_is_left_out():
    samples = Samples(*data(17), torch.arange(17))
    assert [len(part) for part in samples.order(0, 1, 8)] == [8, 8]
    assert [len(part) for part in samples.take(torch.arange(1)).order(0, 1, 8)] == [1]


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


class Killed(Exception):
    pass


@pytest.mark.parametrize(("objective", "settings"), VARIANTS.values(), ids=VARIANTS.keys())
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


def test_random_numbers_differ_from_epoch_to_epoch_but_not_from_batch_to_batch(trained):
    seeds = []
    trained(Standard(), epochs=2, augment=lambda batch: (seeds.append((batch.epoch, batch.seed)), batch)[1])
    assert len(set(seeds)) == 2
    assert len({seed for _, seed in seeds}) == 2


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


@pytest.mark.parametrize("how", ["writing", pytest.param("training", marks=pytest.mark.slow)])
def test_a_run_killed_by_the_system_resumes_to_the_same_bits(trained, start, tmp_path, how):
    straight, _ = trained(EVERY["trades"], epochs=2)
    torch.save(start, tmp_path / "start.pt")
    here = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", SCRIPT, tmp_path, how]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    drafts = list((tmp_path / "run").glob(".*.tmp"))
    assert bool(drafts) == (how == "writing")
    resumed, _ = trained(EVERY["trades"], epochs=2, folder=tmp_path / "run", resume=True)
    assert same(resumed, straight)


def test_a_checkpoint_of_another_run_is_refused(trained, tmp_path):
    trained(Standard(), epochs=2, stop_after=1, folder=tmp_path)
    again = {"epochs": 2, "folder": tmp_path, "resume": True}
    with pytest.raises(ConfigurationError, match=r"expected lr '0.02' as in .* got '0.5'"):
        trained(Standard(), **{**again, "lr": 0.5})
    with pytest.raises(ConfigurationError, match="expected objective"):
        trained(Standard(label_smoothing=0.1), **again)
    with pytest.raises(ConfigurationError, match="plan all epochs at once and pause with stop_after"):
        trained(Standard(), **{**again, "epochs": 3})
    model = Classifier(net())
    x, y = data()
    with pytest.raises(ConfigurationError, match="data_sha256"):
        fit(model, x * 0.9, y, Standard(), folder=tmp_path, resume=True, epochs=2, **TINY)
    with pytest.raises(ConfigurationError, match="expected a file to resume from"):
        trained(Standard(), epochs=2, folder=tmp_path / "other", resume=True)
    with pytest.raises(ConfigurationError, match="expected a folder to resume from"):
        trained(Standard(), epochs=2, resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half a file")
    with pytest.raises(ConfigurationError, match="one of robustkit's"):
        trained(Standard(), **again)


def test_a_run_with_a_constant_rate_may_be_made_longer(trained, tmp_path):
    straight, _ = trained(Standard(), epochs=4, schedule="constant")
    trained(Standard(), epochs=2, schedule="constant", folder=tmp_path)
    assert same(trained(Standard(), epochs=4, schedule="constant", folder=tmp_path, resume=True)[0], straight)


def test_the_folder_holds_weights_settings_and_a_log(trained, tmp_path):
    weights, result = trained(EVERY["pgd-at"], epochs=2, folder=tmp_path, about={"model": "mine"})
    other = net()
    load_weights(other, tmp_path / "weights.safetensors")
    assert same(other.state_dict(), weights)
    from safetensors import safe_open

    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["robustkit"])["settings"]
    assert settings["model"] == "mine"
    assert settings["lr"] == "0.02"
    assert "steps=2" in settings["objective"]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["number"] for row in rows] == ["1", "2"]
    assert float(rows[1]["robust"]) == result.epochs[1].figures.robust
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines[:2]] == [epoch.loss for epoch in result.epochs]


def test_the_best_epoch_on_the_held_out_split_is_kept_and_never_trained_on(start):
    model, x, y = net(), *data()
    model.load_state_dict(start)
    seen = set()

    def watch(batch):
        seen.update(batch.ids.tolist())
        return batch

    result = fit(Classifier(model), x, y, EVERY["pgd-at"], epochs=6, augment=watch, **TINY)
    held = sorted(set(range(30)) - seen)
    assert len(held) == 3
    best = max(result.epochs, key=lambda epoch: (epoch.figures.robust, epoch.figures.clean))
    assert result.best is best
    right = model(x[held]).argmax(1) == y[held]
    assert float(right.double().mean()) == best.figures.clean
    # PGDTraining has a budget: robust accuracy chooses; Standard has none: clean accuracy does.
    assert fit(Classifier(model), x, y, Standard(), epochs=1, **TINY).best.figures.robust != 0.5


def test_select_last_keeps_the_last_weights_and_no_held_out_split_uses_all_samples(trained):
    seen = set()
    _, result = trained(Standard(), epochs=1, held_out=0.0, augment=lambda b: (seen.update(b.ids.tolist()), b)[1])
    assert len(seen) == 30
    assert result.best is None
    assert result.epochs[0].figures.n == 30
    assert trained(Standard(), epochs=2, select="last")[1].best is None


def test_patience_ends_a_run_that_gets_no_better(trained):
    _, result = trained(Standard(), epochs=30, lr=1e-12, patience=2)
    assert len(result.epochs) == 3
    assert result.stopped == "no better in 2 measurements"


def test_measuring_is_as_rare_as_asked_and_never_misses_the_last_epoch(trained):
    _, result = trained(EVERY["pgd-at"], epochs=5, eval_every=2)
    assert [epoch.figures is not None for epoch in result.epochs] == [False, True, False, True, True]


def test_a_time_budget_ends_the_run_inside_an_epoch_and_the_checkpoint_goes_on(trained, tmp_path):
    straight, _ = trained(Standard(), epochs=2)
    _, result = trained(Standard(), epochs=2, minutes=0.0, folder=tmp_path)
    assert result.stopped == "0 minutes are over"
    assert not result.epochs
    assert same(trained(Standard(), epochs=2, folder=tmp_path, resume=True)[0], straight)


def test_progress_says_where_training_stands(trained):
    heard = []
    trained(EVERY["pgd-at"], epochs=2, progress=heard.append)
    assert [(now.epoch, now.batch, now.batches) for now in heard if now.last] == [(2, 0, 4), (2, 0, 4)]
    assert heard[-1].last.figures.robust <= heard[-1].last.figures.clean


def test_schedules_follow_their_formulas(trained):
    def rates(**settings):
        return [epoch.lr for epoch in trained(Standard(), epochs=4, lr=0.1, optimizer="sgd", **settings)[1].epochs]

    assert rates(schedule="constant") == [0.1] * 4
    assert rates(schedule="cosine") == pytest.approx([0.0853553, 0.05, 0.0146447, 0.0], abs=1e-6)
    assert rates(schedule="step", milestones=(0.25, 0.75)) == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert rates(schedule="cyclic") == pytest.approx([0.05, 0.1, 0.05, 0.0])
    assert rates(schedule="warm-restarts", restart_epochs=2) == pytest.approx([0.05, 0.1, 0.05, 0.1])
    assert rates(schedule="one-cycle")[-1] < 1e-5


def test_the_first_update_of_sgd_is_the_formula(start):
    x, y = data(8)
    model, other = net().eval(), net()
    model.load_state_dict(start)
    other.load_state_dict(start)
    plain = nn.Sequential(*(part for part in model if not isinstance(part, nn.Dropout)))
    plain.train()
    loss = nn.functional.cross_entropy(plain(x), y)
    grads = torch.autograd.grad(loss, list(plain.parameters()))
    norm = torch.stack([(g + 0.01 * p.sign()).norm() for g, p in zip(grads, plain.parameters(), strict=True)]).norm()
    without = nn.Sequential(*(part for part in other if not isinstance(part, nn.Dropout)))
    settings = {"optimizer": "sgd", "schedule": "constant", "lr": 0.1, "weight_decay": 0.5, "l1": 0.01, "clip": 0.3}
    fit(Classifier(without), x, y, Standard(), epochs=1, batch_size=8, held_out=0.0, **settings)
    for moved, before, grad in zip(without.parameters(), plain.parameters(), grads, strict=True):
        slope = (grad + 0.01 * before.sign()) * min(1.0, 0.3 / float(norm.detach()))
        torch.testing.assert_close(moved, before - 0.1 * (slope + 0.5 * before), rtol=1e-4, atol=1e-6)


def test_averages_are_the_means_they_claim(start):
    x, y = data(8)

    def weights(**settings):
        model = net()
        model.load_state_dict(start)
        arguments = {"optimizer": "sgd", "schedule": "constant", "lr": 0.1, "batch_size": 8, "held_out": 0.0}
        fit(Classifier(model), x, y, Standard(), **{**arguments, **settings})
        return model.state_dict()

    one, two = weights(epochs=1), weights(epochs=2)
    moving = weights(epochs=2, average="ema", ema_decay=0.75)
    torch.testing.assert_close(moving["0.weight"], 0.75 * one["0.weight"] + 0.25 * two["0.weight"])
    mean = weights(epochs=2, average="swa", swa_start=0.0)
    torch.testing.assert_close(mean["1.running_mean"], (one["1.running_mean"] + two["1.running_mean"]) / 2)


def test_eps_grows_linearly_during_its_warm_up(trained):
    radii = []

    class Noted(FGSMRS):
        def craft(self, classifier, batch):
            radii.append(self.eps)
            return batch.x

    trained(Noted(eps=0.1), epochs=2, eps_warmup=1.0)
    assert radii == pytest.approx([0.025, 0.05, 0.075, 0.1, *[0.1] * 4])


def test_half_precision_reaches_the_model_and_spares_the_inner_attack_on_request(trained):
    kinds = []

    class Notes(nn.Module):
        def forward(self, x):
            product = x.flatten(1) @ x.flatten(1).T
            kinds.append((self.training, product.dtype))
            return x

    for exact in (False, True):
        model = nn.Sequential(Notes(), *net())
        kinds.clear()
        fit(Classifier(model), *data(), EVERY["pgd-at"], epochs=1, precision="bf16", inner_fp32=exact, **TINY)
        training = {dtype for mode, dtype in kinds if mode}
        attacking = [
            dtype for mode, dtype in kinds[1:4] if not mode
        ]  # after a look at the shape, before any measurement
        assert training == {torch.bfloat16}
        assert set(attacking) == {torch.float32 if exact else torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_the_model_comes_back_in_eval_mode_with_its_flags_and_without_gradients(start):
    model = net()
    model[0].weight.requires_grad_(False)
    before, state = model[0].weight.clone(), torch.get_rng_state()
    fit(Classifier(model), *data(), EVERY["mart"], epochs=1, head_epochs=1, **TINY)
    assert not any(part.training for part in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
    assert all(p.grad is None for p in model.parameters())
    assert model[0].weight.equal(before)
    assert torch.get_rng_state().equal(state)


def test_weights_lie_in_channels_last_order_while_they_train_and_afterwards_as_before(start):
    model, seen = net(), []
    layout = model[3].weight.stride()

    def look(batch):
        seen.append((model[3].weight.stride() != layout, batch.x.is_contiguous(memory_format=torch.channels_last)))
        return batch

    fit(Classifier(model), *data(), Standard(), epochs=1, augment=look, **TINY)
    assert all(turned and last for turned, last in seen)
    assert model[3].weight.stride() == layout
    fit(Classifier(model), *data(), Standard(), epochs=1, augment=look, channels_last=False, **TINY)
    assert not seen[-1][0]


def test_a_linear_probe_trains_the_head_alone_and_keeps_batch_statistics(trained, start):
    after, _ = trained(Standard(), epochs=2, head_epochs=2, select="last")
    changed = {name for name in after if not after[name].equal(start[name])}
    assert changed == {"7.weight", "7.bias"} or changed == {f"{len(net()) - 1}.weight", f"{len(net()) - 1}.bias"}
    tuned, _ = trained(Standard(), epochs=3, head_epochs=2, select="last")
    assert not tuned["0.weight"].equal(start["0.weight"])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "vit_b_32", "densenet121"])
def test_the_head_of_torchvisions_networks_is_found_and_replaced(name):
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
    model = model.to_empty(device="cpu") if name in ("resnet18", "squeezenet1_1") else model
    before = dict(model.named_parameters())
    if next(model.parameters()).is_meta:
        head = head_of(model)
        assert model.get_submodule(head).out_features == 1000
        return
    head = replace_head(model, 7)
    logits = model.eval()(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, 7)
    assert all(p is before[n] for n, p in model.named_parameters() if not n.startswith(head))


def test_a_network_without_a_layer_to_replace_is_refused():
    with pytest.raises(ConfigurationError, match="expected a linear layer or a convolution"):
        head_of(nn.Flatten())
    with pytest.raises(ConfigurationError, match="2 or more classes, got 1"):
        replace_head(nn.Linear(3, 3), 1)


def test_transfer_keeps_what_was_learned():
    x, y = digits(200)
    old = create("mlp", (1, 8, 8), 3)
    samples = next(iter(batches(load_data("digits", split="train"), 600)))
    few = samples.y < 3
    fit(Classifier(old), samples.x[few], samples.y[few], Standard(), epochs=4)
    body = old[1].weight.clone()
    assert replace_head(old, 10) == "5"
    fit(Classifier(old), samples.x, samples.y, Standard(), epochs=10, head_epochs=10, lr=0.05)
    assert old[1].weight.equal(body)
    assert float((old(x).argmax(1) == y).double().mean()) > 0.7


def test_adversarial_training_makes_the_model_robust_and_keeps_it_accurate():
    x, y = digits(200)
    samples = next(iter(batches(load_data("digits", split="train"), 1200)))
    standard, hardened = (Classifier(create("mlp", (1, 8, 8), 10)) for _ in range(2))
    fit(standard, samples.x, samples.y, Standard(), epochs=4)
    fit(hardened, samples.x, samples.y, PGDTraining(attack=PGD(eps=0.1, steps=4)), epochs=7, eval_every=9)
    attack = PGD(eps=0.1, steps=20)
    assert robust_accuracy(attack, hardened, x, y) > robust_accuracy(attack, standard, x, y) + 0.1
    assert (hardened.logits(x).argmax(1) == y).double().mean() > 0.9


class FakeWriter:
    calls: ClassVar[list[tuple]] = []

    def __init__(self, folder):
        pass

    def add_text(self, *arguments):
        self.calls.append(arguments)

    def add_scalar(self, *arguments):
        self.calls.append(arguments)

    def flush(self):
        pass


def test_trackers_hear_of_every_epoch_or_are_asked_for_in_one_line(trained, monkeypatch, tmp_path):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    _, result = trained(EVERY["pgd-at"], epochs=2, trackers=("tensorboard",), folder=tmp_path)
    assert ("loss", result.epochs[1].loss, 2) in FakeWriter.calls
    assert ("robust", result.epochs[0].figures.robust, 1) in FakeWriter.calls
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigurationError, match="expected mlflow to be installed; pip install mlflow"):
        trained(Standard(), trackers=("mlflow",))
    with pytest.raises(ConfigurationError, match="did you mean 'mlflow'"):
        trained(Standard(), trackers=("mflow",))


def test_a_recipe_reads_from_toml(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        'epochs = 3\nlr = 1\nschedule = "step"\nmilestones = [0.5, 0.9]\neval-every = 2\n'
    )
    expected = Recipe(epochs=3, lr=1.0, schedule="step", milestones=(0.5, 0.9), eval_every=2)
    assert Recipe.read(tmp_path / "recipe.toml") == expected
    (tmp_path / "recipe.toml").write_text("epochs = ")
    with pytest.raises(ConfigurationError, match="expected a TOML file"):
        Recipe.read(tmp_path / "recipe.toml")
    with pytest.raises(ConfigurationError, match="expected a TOML file"):
        Recipe.read(tmp_path / "absent.toml")


def test_what_may_be_left_out_can_be_called_none():
    assert Recipe(augment="none", clip="none", patience="none") == Recipe()
    with pytest.raises(ConfigurationError, match="expected lr to be of type float, got 'none'"):
        Recipe(lr="none")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 1}, "did you mean 'epochs'"),
        ({"epochs": 0}, "expected epochs in 1..inf, got 0"),
        ({"epochs": 1.5}, "epochs to be of type int, got 1.5"),
        ({"epochs": True}, "epochs to be of type int, got True"),
        ({"lr": 0}, "expected lr in"),
        ({"lr": "0.1"}, "lr to be of type float, got '0.1'"),
        ({"lr": float("nan")}, "lr to be of type float, got nan"),
        ({"optimizer": "adamW"}, "did you mean 'adamw'"),
        ({"milestones": 0.5}, "milestones to be a list"),
        ({"held_out": 0.9}, "held_out in 0..0.5"),
        ({"nesterov": True, "momentum": 0.0}, "momentum > 0 with nesterov"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        fit(Classifier(net()), *data(), Standard(), **settings)


def test_wrong_data_are_refused():
    x, y = data()
    model = Classifier(net())
    with pytest.raises(InvalidEvaluation, match="grey levels"):
        fit(model, x * 255, y, Standard())
    with pytest.raises(InvalidEvaluation, match=r"expected 0..3 for 4 classes, got 1..4"):
        fit(model, x, y + 1, Standard())
    with pytest.raises(ConfigurationError, match="30 different ids from 0, one per sample, got 30, 1 of them"):
        fit(model, x, y, Standard(), ids=torch.zeros(30, dtype=torch.int64))
    with pytest.raises(ConfigurationError, match="parameters to train, got none"):
        fit(Classifier(net().requires_grad_(False)), x, y, Standard())
