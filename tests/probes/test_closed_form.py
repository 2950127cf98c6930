"""Closed-form models: the formula against linear programming, and what check_attack makes of good and bad attacks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from quick import quick
from scipy.optimize import linprog

from robustkit.attacks import APGD, ATTACKS, FGSM, PGD, Noise, Square
from robustkit.base.errors import ConfigurationError
from robustkit.maths.intervals import proportion
from robustkit.maths.norms import COUNTED
from robustkit.probes.closed_form import Finding, at_the_input_range, check_attack, open_space, typical_attacks

MODELS = [
    *((norm, classes, open_space(norm, 0.25, classes, seed=3)) for norm in ("Linf", "L2", "L1") for classes in (2, 5)),
    ("Linf", "cornered", at_the_input_range(0.25, seed=3)),
]
models = pytest.mark.parametrize(("norm", "kind", "problem"), MODELS, ids=lambda v: v if isinstance(v, str) else None)


def distance(norm: str, slope: np.ndarray, gap: float, x: np.ndarray, bounds: tuple[float, float]) -> float:
    """Returns the least size of a delta with slope . delta >= gap and x + delta in the box, by linear programming."""
    d = len(slope)
    room = [(bounds[0] - v, bounds[1] - v) for v in x]
    if norm == "L2":  # no linear program; well inside the box the projection onto the plane is the answer
        delta = gap * slope / (slope @ slope)
        assert all(low < step < high for step, (low, high) in zip(delta, room, strict=True))
        return float(np.linalg.norm(delta))
    sizes = np.ones((d, 1)) if norm == "Linf" else np.eye(d)
    above = np.block([[np.eye(d), -sizes], [-np.eye(d), -sizes]])
    enough = np.concatenate([-slope, np.zeros(sizes.shape[1])])[None]
    found = linprog(
        np.concatenate([np.zeros(d), np.ones(sizes.shape[1])]),
        A_ub=np.concatenate([above, enough]),
        b_ub=np.concatenate([np.zeros(2 * d), [-gap]]),
        bounds=[*room, *[(0, None)] * sizes.shape[1]],
    )
    return float(found.fun) if found.success else np.inf


@models
def test_distances_are_those_of_linear_programming(norm, kind, problem):
    weight, bounds = problem.classifier.model.weight.numpy(force=True), problem.classifier.bounds
    for x, y in zip(problem.x.numpy(), problem.y.tolist(), strict=True):
        z = weight @ x
        assert z.argmax() == y
        others = [k for k in range(len(z)) if k != y]
        found = [distance(norm, weight[k] - weight[y], z[y] - z[k], x, bounds) for k in others]
        assert min(found) == pytest.approx(0.25, rel=1e-6)
        # The gradient of the runner-up leads to the nearest boundary.
        assert others[int(np.argmin(found))] == max(others, key=lambda k: z[k])


@models
def test_inputs_are_inside_the_box_and_only_cornered_ones_at_its_edge(norm, kind, problem):
    low, high = problem.classifier.bounds
    at_edge = (problem.x == low) | (problem.x == high)
    assert ((problem.x >= low) & (problem.x <= high)).all()
    assert at_edge.sum(1).tolist() == [5 if kind == "cornered" else 0] * 8


@pytest.mark.parametrize("eps", [1e-3, "8/255", 40])
def test_models_fit_the_radius_of_the_attack(eps):
    for norm in ("Linf", "L2", "L1"):
        found = check_attack(FGSM(norm=norm, eps=eps))
        assert (found.outside.k, found.inside.k, found.verdict) == (16, 0, "pass")


def test_typical_attacks_are_every_attack_in_every_norm():
    names = {(attack.name, attack.norm) for attack in typical_attacks()}
    every = {(name, norm) for name, kind in ATTACKS.items() for norm in kind.norms if name != "transfer"}
    assert names == {(name, norm) for name, norm in every if norm not in COUNTED}


def test_a_random_attack_must_stay_honest_but_need_not_find_anything():
    found = check_attack(Noise())
    assert (found.outside.k, found.required, found.verdict) == (0, False, "pass")


def test_a_black_box_attack_has_more_room():
    assert check_attack(Square(queries=2)).reach == 2.0
    assert check_attack(PGD(steps=2)).reach == 1.02


@dataclass(frozen=True, kw_only=True)
class Timid(PGD):
    """PGD that goes ninety-five hundredths of the way: the error of a projection onto too small a ball."""

    name: ClassVar[str] = "timid"

    def start(self, problem, rows):
        rows = super().start(problem, rows)
        return rows.having(x_adv=rows.x + 0.95 * (rows.x_adv - rows.x))

    def step(self, problem, rows):
        rows = super().step(problem, rows)
        return rows.having(x_adv=rows.x + 0.95 * (rows.x_adv - rows.x))


@pytest.mark.parametrize("norm", quick("Linf", slow=("L2", "L1")))
def test_an_attack_that_does_not_use_its_whole_budget_is_found_out(norm):
    found = check_attack(Timid(norm=norm, restarts=3))
    assert found.verdict == "fail"
    assert found.outside.k < found.outside.n


@pytest.mark.parametrize(("outside", "inside", "kind", "verdict"), [
    (16, 0, PGD(), "pass"),
    (15, 0, PGD(), "fail"),
    (16, 1, PGD(), "fail"),
    (0, 0, Noise(), "pass"),
    (0, 1, Noise(), "fail"),
])  # fmt: skip
def test_the_verdict_follows_from_the_counts(outside, inside, kind, verdict):
    assert Finding(kind, 1.02, proportion(outside, 16), proportion(inside, 16)).verdict == verdict


def test_losses_that_need_three_classes_are_checked_where_there_are():
    assert check_attack(APGD(loss="dlr", steps=40)).outside.n == 8


@pytest.mark.slow
def test_a_target_is_left_out_and_a_radius_of_zero_refused():
    assert check_attack(PGD(target=3, restarts=3)) == check_attack(PGD(restarts=3))
    with pytest.raises(ConfigurationError, match="expected an attack with eps > 0"):
        check_attack(PGD(eps=0))


def test_the_seed_decides_the_models():
    first, again, other = (open_space("L2", 1.0, 5, seed=seed) for seed in (1, 1, 2))
    assert first.x.equal(again.x)
    assert not first.x.equal(other.x)
    assert dataclasses.asdict(check_attack(Noise(), 1)) == dataclasses.asdict(check_attack(Noise(), 1))
