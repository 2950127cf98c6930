"""Augmentation: exact answers, what its random numbers depend on, mixed labels, and training with it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from nets import generator, images, labels, linear, smooth_cnn
from objective_rows import EVERY, SMALL
from tiny_training import net, same
from torch.nn.functional import one_hot

from robustkit.attacks import FGSM, PGD
from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.defenses import (
    MART,
    NFGSM,
    TRADES,
    AugMixJSD,
    Free,
    GradAlign,
    Minibatch,
    PGDTraining,
    Standard,
    create,
    fit,
)
from robustkit.defenses.augment.apply import create_augmentation
from robustkit.defenses.augment.steps import STEPS
from robustkit.maths.losses import cross_entropy
from robustkit.model.classifier import Classifier

SPECS = {name: name for name in STEPS} | {"crop": "crop:padding=2", "cutout": "cutout:size=3", "mixup": "mixup:alpha=2"}
PAIRS = ("mixup", "cutmix")
each = pytest.mark.parametrize("spec", [spec for name, spec in SPECS.items() if name not in PAIRS])
every = pytest.mark.parametrize("spec", SPECS.values())


def batch(n=8, channels=1, **changes):
    x = torch.rand(n, channels, 6, 6, generator=generator(1))
    return Minibatch(x, labels(n), torch.arange(n), **changes)


def apply(spec, samples, bounds=(0.0, 1.0)):
    return create_augmentation(spec, bounds, 4)(samples)


def test_a_flip_that_always_happens_is_the_mirror_image_and_one_that_never_does_is_nothing():
    samples = batch()
    assert apply("flip:p=1", samples).x.equal(samples.x.flip(3))
    assert apply("flip:p=1,vertical=true", samples).x.equal(samples.x.flip(2))
    assert apply("flip:p=0", samples).x.equal(samples.x)
    flipped = (apply("flip", batch(400)).x == batch(400).x.flip(3)).flatten(1).all(1)
    assert 150 < int(flipped.sum()) < 250


def test_a_crop_is_the_image_moved_by_at_most_the_padding():
    samples = batch(60)
    padded = torch.nn.functional.pad(samples.x, (1, 1, 1, 1))
    windows = padded.unfold(2, 6, 1).unfold(3, 6, 1).flatten(2, 3)[:, 0]  # (N, 9, 6, 6)
    found = (windows == apply("crop:padding=1", samples).x).flatten(2).all(2)
    assert found.sum(1).eq(1).all()
    assert found.any(0).all()  # all nine places occur


def test_cutout_paints_one_square_of_the_given_size():
    samples = batch(20)
    painted = apply("cutout:size=3,value=0.25", samples).x != samples.x
    assert painted.sum((1, 2, 3)).eq(9).all()
    assert painted.any(3).sum((1, 2)).eq(3).all()
    assert apply("cutout:size=3,value=0.25", samples).x[painted].eq(0.25).all()
    middle = apply("cutout:size=3", dataclasses.replace(samples, x=samples.x * 4 - 1), (-1.0, 3.0)).x
    assert middle[painted].eq(1).all()


def test_noise_has_the_standard_deviation_asked_for_and_is_clipped_to_the_bounds():
    grey = Minibatch(torch.full((200, 1, 6, 6), 50.0), labels(200), torch.arange(200))
    noise = apply("noise:sigma=0.05", grey, (0.0, 100.0)).x - 50
    assert float(noise.std()) == pytest.approx(5, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=0.2)
    assert apply("noise:sigma=9", grey, (0.0, 100.0)).x.aminmax() == (0, 100)
    assert apply("noise", dataclasses.replace(grey, x=torch.rand(200, 7))).x.shape == (200, 7)


def test_mixup_blends_inputs_and_labels_in_the_same_ratio():
    samples = batch()
    mixed = apply("mixup", samples)
    share = float(mixed.y.max(1).values.min())
    one = one_hot(samples.y, 4).float()
    for ratio in (share, 1 - share):
        blended = ratio * samples.x + (1 - ratio) * samples.x.roll(1, 0)
        if torch.allclose(blended, mixed.x, atol=1e-6):
            torch.testing.assert_close(mixed.y, ratio * one + (1 - ratio) * one.roll(1, 0))
            break
    else:
        pytest.fail("no ratio explains the blend")
    assert 0 < share < 1
    flat = apply("mixup", dataclasses.replace(samples, x=samples.x.flatten(1)))
    torch.testing.assert_close(flat.x, mixed.x.flatten(1))


def test_cutmix_weighs_labels_by_the_area_pasted():
    for seed in range(5):
        samples = batch(y := 8, seed=seed)
        samples = dataclasses.replace(samples, y=torch.arange(y) % 4)
        mixed = apply("cutmix", samples)
        pasted = (mixed.x != samples.x).flatten(1).double().mean(1)
        assert mixed.x.eq(samples.x).logical_or(mixed.x.eq(samples.x.roll(1, 0))).all()
        torch.testing.assert_close(mixed.y.gather(1, samples.y[:, None])[:, 0].double(), 1 - pasted)
        torch.testing.assert_close(mixed.y.sum(1), torch.ones(8))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-3.0, 5.0)])
@pytest.mark.parametrize("channels", [1, 3])
@every
def test_results_stay_within_the_bounds_and_follow_dtype_and_shape(spec, channels, bounds):
    low, high = bounds
    samples = batch(channels=channels)
    for dtype in (torch.float32, torch.float64, torch.float16):
        x = (samples.x * (high - low) + low).clamp(low, high).to(dtype)
        x = x.to(memory_format=torch.channels_last)
        for seed in range(3):
            changed = apply(spec, dataclasses.replace(samples, x=x, seed=seed), bounds)
            assert changed.x.dtype == dtype
            assert changed.x.shape == x.shape
            assert changed.x.stride() == x.stride()
            assert low <= float(changed.x.min()) <= float(changed.x.max()) <= high
            assert changed.y.shape == ((8, 4) if spec.partition(":")[0] in PAIRS else (8,))
    assert changed.ids.equal(samples.ids)


@each
def test_a_sample_is_changed_the_same_way_in_any_company_and_order(spec):
    samples, turn = batch(), torch.randperm(8, generator=generator(3))
    changed = apply(spec, samples).x
    turned = Minibatch(samples.x[turn], samples.y[turn], samples.ids[turn])
    alone = Minibatch(samples.x[2:3], samples.y[2:3], samples.ids[2:3])
    assert apply(spec, turned).x.equal(changed[turn])
    assert apply(spec, alone).x.equal(changed[2:3])


@every
def test_changes_follow_the_seed_of_the_epoch_and_leave_the_global_generator_alone(spec):
    state = torch.get_rng_state()
    results = [apply(spec, batch(24, seed=seed)).x for seed in (0, 1, 0)]
    assert torch.get_rng_state().equal(state)
    torch.rand(3)
    assert results[0].equal(results[2])
    assert not results[0].equal(results[1])


def test_steps_run_in_order_and_the_same_step_twice_draws_anew():
    samples = batch(40)
    both = apply("flip:p=1+cutout:size=2", samples).x
    assert both.flip(3).ne(samples.x).sum((1, 2, 3)).eq(4).all()
    twice = apply("cutout:size=2+cutout:size=2", samples).x.ne(samples.x).sum((1, 2, 3))
    assert twice.max() == 8


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("flips", "did you mean 'flip'"),
        ("flip+", "expected a known name, got ''"),
        ("crop:pading=4", "did you mean 'padding'"),
        ("crop:padding", "expected settings name=value"),
        ("crop:padding=0", "expected padding to be an integer >= 1, got 0"),
        ("crop:mode=mirror", "expected a known mode, got 'mirror'"),
        ("flip:p=2", r"expected p in \[0, 1\], got 2"),
        ("randaugment:magnitude=31", "magnitude to be an integer in 0..30"),
        ("augmix:severity=2.5", "severity to be an integer in 1..10, got 2.5"),
        ("trivialaugment:p=1", "it has none"),
        ("mixup:alpha=0", "alpha"),
    ],
)
def test_mistakes_in_the_text_are_one_line(spec, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        create_augmentation(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("flip", (2, 9), r"expected images \(N, C, H, W\), got shape \(2, 9\)"),
        ("randaugment", (2, 4, 6, 6), "expected 1 or 3 channels, got 4"),
        ("cutout:size=6", (2, 1, 6, 6), "below the 6 pixels"),
        ("crop:padding=6,mode=reflect", (2, 1, 6, 6), "make it smaller"),
    ],
)
def test_inputs_that_a_step_cannot_change_are_refused(spec, shape, message):
    with pytest.raises(ConfigurationError, match=message):
        apply(spec, Minibatch(torch.zeros(shape), labels(2), torch.arange(2)))


def test_cross_entropy_climbs_towards_mixed_labels_as_torch_does():
    z = torch.randn(6, 4, generator=generator(5), dtype=torch.float64)
    goal = torch.rand(6, 4, generator=generator(6), dtype=torch.float64)
    goal /= goal.sum(1, keepdim=True)
    free = z.clone().requires_grad_()
    torch.nn.functional.cross_entropy(free, goal, reduction="sum").backward()
    _, direction = cross_entropy(z, goal)
    torch.testing.assert_close(direction, free.grad / free.grad.abs().amax(1, keepdim=True))


MIXING = {
    "standard": Standard(label_smoothing=0.1),
    "pgd-at": PGDTraining(attack=SMALL),
    "pgd-at with fgsm": PGDTraining(attack=FGSM(eps=0.1)),
    **{name: EVERY[name] for name in ("fgsm", "ard", "rslad")},
    **{name: create(name, eps=0.1) for name in ("fgsm-rs", "n-fgsm", "free:m=2", "trades:steps=2")},
    "gradalign": GradAlign(objective=NFGSM(eps=0.1)),
    "awp": create("awp+augmix+pgd-at:steps=2", eps=0.1),
}


@pytest.mark.parametrize("objective", MIXING.values(), ids=MIXING.keys())
def test_one_hot_rows_train_like_labels_and_mixed_ones_train_at_all(objective):
    assert objective.takes_mixed_labels
    y = labels(8)
    samples = [Minibatch(images(8), label, torch.arange(8)) for label in (y, one_hot(y, 4).double())]
    losses = [objective.backward(Classifier(smooth_cnn()), each) for each in samples]
    torch.testing.assert_close(losses[0], losses[1])
    mixed = apply("mixup+cutmix", samples[0])
    assert objective.backward(Classifier(smooth_cnn()), mixed).isfinite()


@pytest.mark.parametrize(
    "objective",
    [
        MART(attack=SMALL),
        create("awp+mart"),
        PGDTraining(attack=PGD(loss="margin")),
        PGDTraining(attack=PGD(eps=0.1, target=2)),
    ],
    ids=repr,
)
def test_objectives_that_need_one_class_per_sample_refuse_mixed_labels(objective):
    with pytest.raises(ConfigurationError, match="leave mixup and cutmix out"):
        fit(Classifier(net()), images(30, torch.float32), labels(30), objective, augment="flip+cutmix")


def test_every_objective_says_whether_it_takes_mixed_labels():
    assert {name for name, objective in EVERY.items() if not objective.takes_mixed_labels} == {"mart", "ibp"}


def test_the_attack_starts_from_the_augmented_input():
    seen = []

    class Watching(PGDTraining):
        def craft(self, classifier, batch):
            x_adv = super().craft(classifier, batch)
            seen.append((batch, x_adv))
            return x_adv

    x, y = images(30, torch.float32), labels(30)
    fit(Classifier(net()), x, y, Watching(attack=SMALL), augment="flip:p=1", epochs=1, batch_size=8, val_steps=2)
    mirrored, x_adv = seen[0]
    assert mirrored.x.equal(x[mirrored.ids].flip(3))
    apart = (x_adv - mirrored.x).abs().amax()
    assert 0.05 < float(apart) <= 0.1 + 1e-6


@pytest.mark.parametrize(
    ("spec", "objective"),
    [
        ("flip+crop:padding=1+randaugment+noise", PGDTraining(attack=SMALL)),
        ("trivialaugment+cutout:size=2+mixup", TRADES(attack=SMALL)),
        pytest.param("augmix+cutmix", AugMixJSD(), marks=pytest.mark.slow),
        pytest.param("flip+mixup", Free(eps=0.1, m=2), marks=pytest.mark.slow),
    ],
    ids=["policy", "mixup", "augmix", "free"],
)
def test_one_epoch_and_one_resumed_equal_two_straight_with_augmentation(trained, tmp_path, spec, objective):
    straight, _ = trained(objective, epochs=2, augment=spec)
    trained(objective, epochs=2, augment=spec, stop_after=1, folder=tmp_path)
    assert same(trained(objective, epochs=2, augment=spec, folder=tmp_path, resume=True)[0], straight)
    assert not same(trained(objective, epochs=2)[0], straight)
    with pytest.raises(ConfigurationError, match="expected augment"):
        trained(objective, epochs=2, folder=tmp_path, resume=True)


def test_jsd_is_zero_where_predictions_agree_and_matches_the_definition_where_they_do_not():
    samples = Minibatch(images(6), labels(6), torch.arange(6))
    flat = linear(torch.zeros(3, 36, dtype=torch.float64)).requires_grad_(False)
    assert float(AugMixJSD().divergence(Classifier(flat), samples)) == pytest.approx(0, abs=1e-9)
    weight = 2 * torch.randn(3, 36, generator=generator(2), dtype=torch.float64)
    classifier, objective = Classifier(linear(weight).requires_grad_(False)), AugMixJSD(severity=9)
    p = [classifier.logits(x).softmax(1) for x in (samples.x, *objective.views(classifier, samples))]
    entropy = [-(q * q.clamp(min=1e-300).log()).sum(1) for q in (sum(p) / 3, *p)]
    expected = float((entropy[0] - sum(entropy[1:]) / 3).mean())
    assert 0.01 < expected < math.log(3)
    assert float(objective.divergence(classifier, samples)) == pytest.approx(expected, rel=1e-3)


def test_augmix_around_standard_is_cross_entropy_plus_twelve_divergences_and_at_weight_zero_itself():
    samples, classifier = Minibatch(images(6), labels(6), torch.arange(6)), Classifier(smooth_cnn().eval())
    objective = AugMixJSD()
    loss = objective.loss(classifier, samples, samples.x)
    plain = Standard().loss(classifier, samples, samples.x)
    torch.testing.assert_close(loss, plain + 12 * objective.divergence(classifier, samples))
    assert dataclasses.replace(objective, weight=0.0).loss(classifier, samples, samples.x).equal(plain)
    first, second = objective.views(classifier, samples)
    assert not first.equal(second)


def test_the_command_line_trains_with_an_augmentation_and_refuses_a_wrong_one(in_folder, capsys):
    line = ["train", "mlp", "--data", "digits", "--limit", "40", "--epochs", "1", "--val-steps", "2", "--quiet"]
    line += ["--eps", "0.1", "--objective", "augmix+pgd-at:steps=2", "--out", "out"]
    (in_folder / "it.toml").write_text('augment = "crop:padding=1+mixup"\n')
    assert run([*line, "--config", "it.toml"]) == 0
    assert (in_folder / "out" / "weights.safetensors").is_file()
    capsys.readouterr()
    assert run([*line, "--augment", "mixap", "--config", "it.toml"]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'mixup'" in error
    assert error.count("\n") == 1
    assert run([*line, "--augment", "none", "--clip", "none", "--objective", "mart", "--config", "it.toml"]) == 0
    assert run([*line, "--augment", "flip+mixup", "--objective", "mart"]) == 2
    assert "since mart or its attack needs one class per sample" in capsys.readouterr().err
