"""The state of training: updates, warm-up, precision."""

from __future__ import annotations

import math

import pytest
import torch
from objective_rows import EVERY
from tiny_training import TINY, data, net, same
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.defenses import FGSMRS, Standard, fit
from robustkit.defenses.training import Diverged, Recipe
from robustkit.defenses.training.samples import Samples
from robustkit.defenses.training.state import TrainingState
from robustkit.model.classifier import Classifier


def test_random_numbers_differ_from_epoch_to_epoch_but_not_from_batch_to_batch(trained):
    seeds = []
    trained(Standard(), epochs=2, augment=lambda batch: (seeds.append((batch.epoch, batch.seed)), batch)[1])
    assert len(set(seeds)) == 2
    assert len({seed for _, seed in seeds}) == 2


def test_measuring_is_as_rare_as_asked_and_never_misses_the_last_epoch(trained):
    _, result = trained(EVERY["pgd-at"], epochs=5, eval_every=2)
    assert [epoch.figures is not None for epoch in result.epochs] == [False, True, False, True, True]


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
        plan = {**TINY, "epochs": 1, "precision": "bf16", "inner_fp32": exact, "channels_last": False}
        fit(Classifier(model), *data(), EVERY["pgd-at"], **plan)
        training = {dtype for mode, dtype in kinds if mode}
        attacking = [
            dtype for mode, dtype in kinds[1:4] if not mode
        ]  # after a look at the shape, before any measurement
        assert training == {torch.bfloat16}
        assert set(attacking) == {torch.float32 if exact else torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in model.parameters())


def made(objective="pgd-at", rows=30, **settings):
    x, y = data(rows)
    samples = Samples(x, y, torch.arange(rows))
    recipe = Recipe(**{**TINY, "epochs": 4, **settings})
    return TrainingState(Classifier(net()), EVERY[objective], recipe, samples, None)


def test_epochs_and_batches_end_with_the_data_or_with_the_run():
    run = made()
    assert [len(batch.ids) for batch in run.batches_left() if advance(run)] == [8, 8, 8, 6]
    assert run.epoch_done
    assert not list(run.batches_left())
    epochs = [(epoch, run.next_epoch())[0] for epoch in run.epochs_left()]
    assert epochs == [1, 2, 3, 4]
    assert run.over
    run = made()
    run.stopped = "why"
    assert not list(run.epochs_left())
    assert not list(run.batches_left())


def advance(run):
    run.batch += 1
    return True


def test_an_epoch_that_was_rolled_back_is_yielded_again():
    run, seen = made(), []
    for epoch in run.epochs_left():
        seen.append(epoch)
        if len(seen) != 2:
            run.next_epoch()
    assert seen == [1, 2, 2, 3, 4]


def test_eps_is_whole_from_the_end_of_its_warm_up_on():
    run = made(eps_warmup=1.5)
    found = []
    for run.epoch, run.batch in ((1, 0), (1, 3), (2, 1), (2, 2), (3, 0)):
        found.append((run.warming_up, run.current.inner.eps))
    assert [warm for warm, _ in found] == [True, True, True, False, False]
    assert [float(eps) for _, eps in found] == pytest.approx([0.1 / 6, 0.1 * 4 / 6, 0.1, 0.1, 0.1])


def test_a_batch_of_a_replaying_objective_is_updated_on_so_many_times():
    run = made("free")
    before = run.schedule.last_epoch
    run.train_on(run.workers.own_rows(next(run.batches_left())))
    assert run.schedule.last_epoch - before == 2
    assert (run.batch, run.seen, run.updates) == (1, 16, 8)


def test_a_loss_that_is_not_finite_is_an_error_and_one_that_is_none():
    run = made()
    run.check_loss()
    run.loss += math.inf
    with pytest.raises(Diverged, match="got inf in epoch 1, batch 0"):
        run.check_loss()


def test_a_snapshot_goes_back_to_where_it_was_taken_steps_included():
    run = made("fgsm-rs", average="ema", optimizer="adam")
    run.train_on(next(run.batches_left()))
    tensors, facts = run.snapshot()
    run.train_on(next(run.batches_left()))
    run.shrink_steps()
    smaller = run.objective
    later, later_facts = run.snapshot()
    run.restore(tensors, facts)
    again, facts_again = run.snapshot()
    assert same(again, tensors)
    assert facts_again == facts
    assert not same(later, tensors)
    other = made("fgsm-rs", average="ema", optimizer="adam")
    other.restore(later, later_facts)
    assert other.objective == smaller


def test_swa_takes_in_the_ends_of_late_epochs_alone():
    run = made(average="swa", swa_start=0.5, eval_every=9)
    taken = []
    for _ in run.epochs_left():
        run.close_epoch(run.train)
        taken.append(int(run.average.n_averaged))
        run.next_epoch()
    assert taken == [0, 0, 1, 2]


def test_a_model_without_parameters_to_train_is_refused():
    x, y = data(8)
    with pytest.raises(ConfigurationError, match="with parameters to train, got none"):
        TrainingState(
            Classifier(net().requires_grad_(False)), EVERY["pgd-at"], Recipe(), Samples(x, y, torch.arange(8)), None
        )
