"""A threat with its own eps, mask and range for every coordinate: exact on linear models, in every norm."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from boundary import distance
from nets import generator, linear

from robustkit.attacks import APGD, DDN, FAB, FGSM, FMN, MIFGSM, PGD, Foolbox, Noise, Square, Threat, Transfer
from robustkit.attacks.base import Attack
from robustkit.attacks.threat import ThreatViolation
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.norms import NORMS
from robustkit.maths.projection import project_l2_in_box
from robustkit.model.classifier import Classifier

SIZE, FIXED = 12, 3
WIDE, NARROW = 50.0, 1.0
ATTACKS = [
    *((FGSM(norm=norm), width) for norm in NORMS for width in (NARROW, WIDE)),
    *((MIFGSM(norm=norm), width) for norm in NORMS for width in (NARROW, WIDE)),
    *((PGD(norm=norm, steps=20), width) for norm in NORMS for width in (NARROW, WIDE)),
    *((APGD(norm=norm, steps=60), NARROW) for norm in NORMS),
    *((FAB(norm=norm, steps=20), NARROW) for norm in NORMS),
    *((FMN(norm=norm, steps=60, loss="margin"), NARROW) for norm in NORMS),
    (DDN(steps=60, loss="margin"), NARROW),
    (Square(queries=60, restarts=3), NARROW),
]


def problem(norm, width, n=2, seed=0):
    """Returns a linear classifier with a range per feature, inputs, labels, scales (some 0), and exact distances."""
    g = generator(seed)
    weight, size = torch.randn(2, SIZE, generator=g), torch.exp(-3 * torch.rand(SIZE, generator=g))
    size[torch.randperm(SIZE, generator=g)[:FIXED]] = 0
    size = (size / size.max()).double()
    low = -torch.rand(SIZE, generator=g) * width
    high = low + width + torch.rand(SIZE, generator=g)
    x = (low + (high - low) * (torch.rand(n, SIZE, generator=g) * 1.2 - 0.1)).clamp(low, high)
    if width == WIDE:
        x = x / 100
    logits = linear(weight)(x).detach().double()
    y = logits.argmax(1)
    slope, free = (weight[1 - y] - weight[y]).double(), size > 0
    room = torch.where(slope > 0, high - x, x - low).double()
    gap = logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None])
    exact = distance((slope * size)[:, free].numpy(), gap[:, 0].numpy(), (room / size)[:, free].numpy(), norm)
    assert np.isfinite(exact).all()
    return Classifier(linear(weight), bounds=(low, high), output="logits"), x, y, size, exact


def with_eps(attack, eps) -> Attack:
    """Returns the attack with another eps."""
    return dataclasses.replace(attack, eps=eps)


@pytest.mark.parametrize(("attack", "width"), ATTACKS, ids=[f"{a.label}-{a.norm}-{w:g}" for a, w in ATTACKS])
def test_it_succeeds_just_above_the_weighted_distance_never_below_and_leaves_the_fixed_alone(attack, width):
    classifier, x, y, size, exact = problem(attack.norm, width)
    for row in range(len(x)):
        some, label = x[row : row + 1], y[row : row + 1]
        for share in (1.02, 0.999):
            found = with_eps(attack, size * exact[row] * share)(classifier, some, label)
            assert bool(found.success) == (share > 1)
            assert found.x_adv[:, size == 0].equal(some[:, size == 0])
            assert float(found.distance) <= exact[row] * share


@pytest.mark.parametrize("norm", NORMS)
def test_verification_refuses_one_coordinate_off_by_one_ulp(norm):
    x = torch.full((1, 3), 0.5)
    threat = Threat(norm=norm, eps=torch.tensor([0.25, 0.125, 0.0]))
    at = torch.tensor([[0.75, 0.5, 0.5]]) if norm != "Linf" else torch.tensor([[0.75, 0.625, 0.5]])
    threat.verify(at, x, "test")
    for coordinate in (0, 2) if norm != "Linf" else (0, 1, 2):
        beyond = at.clone()
        beyond[0, coordinate] = torch.nextafter(beyond[0, coordinate], torch.tensor(2.0))
        with pytest.raises(ThreatViolation, match="expected points within"):
            threat.verify(beyond, x, "test")


@pytest.mark.parametrize("norm", NORMS)
def test_every_projection_is_verified_and_points_of_the_ball_are_drawn_inside(norm):
    _, x, _, size, _ = problem(norm, NARROW, n=50)
    threat = Threat(norm=norm, eps=0.3 * size, bounds=(x.amin(0), x.amax(0)))
    limits = threat.limits(x)
    for scale in (0.01, 1.0, 30.0):
        anywhere = x + scale * torch.randn(x.shape, generator=generator(1))
        inside = threat.project(anywhere, x, *limits)
        threat.verify(inside, x, "test")
        threat.verify(threat.project(inside, x, *limits), x, "test")


def test_with_a_narrow_box_the_nearest_point_uses_all_of_the_radius():
    delta, end = torch.randn(40, 6, generator=generator(0)).double(), torch.rand(40, 6, generator=generator(1)).double()
    found = project_l2_in_box(delta, 0.7, -end, end)
    low, high = torch.zeros(40, 1).double(), torch.ones(40, 1).double()
    for _ in range(60):
        middle = (low + high) / 2
        fits = (middle * delta).clamp(-end, end).norm(dim=1, keepdim=True) <= 0.7
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    assert torch.allclose(found, (low * delta).clamp(-end, end), atol=1e-9)


def test_equal_radii_and_equal_bounds_are_the_plain_threat():
    plain = Threat(norm="L2", eps=0.25, bounds=(0.0, 1.0))
    assert Threat(norm="L2", eps=torch.full((4,), 0.25), bounds=([0, 0], [1, 1]), mask=[True, True]) == plain
    assert PGD(eps=np.full(3, 0.25)) == PGD(eps=0.25)


def test_a_mask_is_an_eps_of_zero_where_nothing_may_change():
    mask = torch.tensor([True, False, True])
    assert PGD(eps="8/255", mask=mask) == PGD(eps=torch.tensor([8 / 255, 0, 8 / 255], dtype=torch.float64))
    found = FAB(eps="inf", norm="L2", mask=mask, steps=5)(
        Classifier(linear(torch.tensor([[1.0, 9, 2], [0, 0, 0]]))), torch.full((1, 3), 0.1), torch.tensor([0])
    )
    assert found.x_adv[0, 1] == torch.tensor(0.1)


def test_transfer_crafts_on_the_surrogate_within_the_same_threat():
    classifier, x, y, size, exact = problem("Linf", NARROW)
    found = Transfer(surrogate=classifier, eps=size * exact.max() * 1.05)(classifier, x, y)
    assert found.success.all()


def test_settings_tell_one_array_from_another_and_say_nothing_of_a_mask():
    one, other = (PGD(eps=torch.tensor([0.01, 0.3, last])) for last in (0.0, 0.1))
    assert one.settings()["eps"].startswith("0.01 to 0.3 per coordinate, 1 of 3 fixed (")
    assert one.settings()["eps"] != other.settings()["eps"]
    assert "mask" not in one.settings()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: PGD(eps=torch.tensor([0.1, -0.1])), "eps: expected numbers >= 0"),
        (lambda: PGD(eps=np.array([0.1, np.nan])), "replace what is empty or NaN"),
        (lambda: FAB(eps=np.array([0.1, np.inf])), "finite wherever one is"),
        (lambda: PGD(mask=torch.tensor([0.5, 1.0])), "expected mask to hold True"),
        (lambda: PGD(eps=torch.tensor([0.1, 0.2, 0.3]), mask=[True, False]), "mask that broadcasts with eps"),
        (lambda: PGD(eps=torch.tensor([0.1, 0.2]), levels=256), "levels only with one eps"),
        (lambda: PGD(step_size=torch.tensor([0.1, 0.2])), "expected a number >= 0"),
        (lambda: Classifier(torch.nn.Identity(), bounds=([0, 2], [1, 1])), "low <= high at every coordinate"),
    ],
)
def test_what_makes_no_threat_is_refused_in_one_line(build, said):
    with pytest.raises(ConfigurationError, match=said) as error:
        build()
    assert "\n" not in str(error.value)


def test_what_does_not_take_arrays_says_so_in_one_line():
    classifier, x, y, size, _ = problem("Linf", NARROW)
    with pytest.raises(ConfigurationError, match="one eps and one range for all coordinates, all this attack"):
        Foolbox(attack="LinfPGD", eps=size)(classifier, x, y)
    with pytest.raises(ConfigurationError, match=r"broadcast to an input of shape \(12,\), got shape \(2,\)"):
        PGD(eps=torch.tensor([0.1, 0.2]))(classifier, x, y)


def test_an_input_outside_the_range_of_its_feature_is_named():
    classifier = Classifier(linear(torch.eye(2)), bounds=([0, 0], [1, 5]))
    classifier.accept(torch.tensor([[0.5, 4.0]]))
    with pytest.raises(InvalidEvaluation, match=r"got 4 at coordinate 0 of row 1, outside 0..1"):
        classifier.accept(torch.tensor([[0.5, 0.0], [4.0, 0.5]]))


def test_noise_stays_inside():
    classifier, x, y, size, _ = problem("L1", NARROW)
    assert Noise(norm="L1", eps=size)(classifier, x, y).x_adv[:, size == 0].equal(x[:, size == 0])
