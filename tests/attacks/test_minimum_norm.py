"""Attacks that look for the nearest adversarial point: exact on linear models, as near as the peers on the digits."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from boundary import linear_problem
from nets import digits, digits_cnn, generator, images, smooth_cnn
from quick import one_norm_each
from torch import nn

from robustkit.attacks import DDN, FAB, FMN
from robustkit.attacks.base import Attack
from robustkit.attacks.minimum_norm import begin, cooled, farthest
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.maths.norms import NORMS, size
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

N = 32
WIDE, BOX = (-1.0, 2.0), (0.0, 1.0)
NET, X = smooth_cnn().eval(), images(N)
Y = NET(X).argmax(1)
MINIMAL = [
    *(FAB(norm=norm, eps="inf", steps=20) for norm in NORMS),
    *(FMN(norm=norm, eps="inf", loss="margin") for norm in NORMS),
    DDN(eps="inf", loss="margin"),
]
every = pytest.mark.parametrize("attack", one_norm_each(MINIMAL), ids=lambda a: f"{a.label}-{a.norm}")
every_box = pytest.mark.parametrize("bounds", [WIDE, BOX], ids=["wide", "box"])


def found_distance(attack, model, x, y, **arguments):
    """Returns the distance of every success, infinite for a failure, after checking that it is one."""
    found = attack(model, x, y, **arguments)
    wrong = (model.logits if isinstance(model, Classifier) else model)(found.x_adv).argmax(1) != y
    assert found.success.equal(wrong)
    return torch.where(found.success, found.distance, torch.inf)


# --- exact answers


@every
@every_box
def test_with_two_classes_it_is_within_five_percent_of_the_exact_distance_and_never_below(attack, bounds):
    classifier, x, y, exact = linear_problem(2, bounds, attack.norm)
    ratio = found_distance(attack, classifier, x, y) / exact
    assert exact.isfinite().all()
    assert ratio.min() >= 1 - 1e-9
    assert ratio.max() < 1.05


@every
@pytest.mark.parametrize("bounds", [pytest.param(WIDE, marks=pytest.mark.slow), BOX], ids=["wide", "box"])
def test_with_more_classes_the_nearest_of_the_runs_to_each_is_the_nearest_of_all(attack, bounds):
    """A run to the class behind the nearest boundary finds the nearest point, and no run finds a nearer one."""
    classes = 4
    classifier, x, y, exact = linear_problem(classes, bounds, attack.norm, n=N)
    runs = [attack(classifier, x, y, target=(y + k) % classes) for k in range(1, classes)]
    ratio = torch.stack([torch.where(run.success, run.distance, torch.inf) for run in runs]).amin(0) / exact
    assert ratio.min() >= 1 - 1e-9
    assert ratio.max() < 1.05


@every_box
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("targets", [0, pytest.param(9, marks=pytest.mark.slow)])
def test_fab_finds_the_nearest_of_many_classes_in_one_run(norm, bounds, targets):
    classifier, x, y, exact = linear_problem(10, bounds, norm)
    ratio = found_distance(FAB(norm=norm, eps="inf", steps=15, targets=targets), classifier, x, y) / exact
    assert ratio.min() >= 1 - 1e-9
    assert ratio.max() < 1.01


@every
@pytest.mark.parametrize("bounds", [pytest.param(WIDE, marks=pytest.mark.slow), BOX], ids=["wide", "box"])
def test_with_a_budget_it_succeeds_just_outside_the_exact_distance_and_never_inside(attack, bounds):
    classifier, x, y, exact = linear_problem(2, bounds, attack.norm)
    middle = float(exact.quantile(0.5, interpolation="nearest"))
    for factor in (0.999, 1.02):
        eps = middle * factor
        success = dataclasses.replace(attack, eps=eps)(classifier, x, y).success
        assert not success[exact > eps].any()
        assert success[exact * 1.02 <= eps].all()
        assert bool(success[exact == middle].all()) is (factor > 1)


@every
def test_float32_loses_nothing(attack):
    classifier, x, y, exact = linear_problem(2, BOX, attack.norm)
    single = Classifier(classifier.model.float(), output="logits", num_classes=2)
    ratio = found_distance(attack, single, x.float(), y) / exact
    assert ratio.min() >= 1 - 1e-4
    assert ratio.max() < 1.05


@every
def test_half_precision_hides_neither_the_boundary_nor_its_distance(attack):
    classifier, x, y, exact = linear_problem(2, BOX, attack.norm)
    far = exact > 0.2 * exact.median()  # nearer rows are a matter of rounding
    half = Classifier(classifier.model.half(), output="logits", num_classes=2)
    ratio = (found_distance(attack, half, x.float(), y) / exact)[far]
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1


# --- limit cases


@every
def test_where_the_box_ends_before_the_boundary_nothing_is_found(attack):
    classifier, x, y, _ = linear_problem(3, BOX, attack.norm, n=8)
    with torch.no_grad():
        classifier.model[1].bias += torch.tensor([0.0, 0.0, 1e3])
    found = dataclasses.replace(attack, restarts=2, steps=6)(classifier, x, torch.full_like(y, 2))
    assert not found.success.any()
    assert ((found.x_adv >= 0) & (found.x_adv <= 1)).all()
    assert found.margin.isfinite().all()


@every
@pytest.mark.parametrize("bounds", [BOX, (-torch.inf, torch.inf)], ids=["box", "no box"])
def test_a_model_without_gradients_leaves_the_input_where_it_is(attack, bounds):
    class Flat(nn.Module):
        def forward(self, x):
            assert x.isfinite().all()
            return (0 * x).flatten(1).sum(1, keepdim=True) + torch.tensor([9.0, 0.0, 0.5], dtype=x.dtype)

    flat = Classifier(Flat(), bounds=bounds, output="logits", num_classes=3)
    found = dataclasses.replace(attack, steps=3, restarts=2)(flat, X.float(), torch.zeros(N, dtype=torch.int64))
    assert not found.success.any()
    assert found.x_adv.equal(X.float())


@every
@pytest.mark.parametrize("eps", [0.1, "inf"])
def test_a_row_that_is_wrong_from_the_start_is_returned_as_it_is(attack, eps):
    found = dataclasses.replace(attack, eps=eps, steps=3, restarts=2)(NET, X, (Y + 1) % 4)
    assert found.success.all()
    assert found.x_adv.equal(X)
    assert (found.distance == 0).all()


@every
def test_a_row_on_the_boundary_crosses_it(attack):
    tie = Classifier(lambda v: torch.cat([0 * v, v - 0.5], 1), output="logits", num_classes=2)
    attack = dataclasses.replace(attack, steps=30, restarts=2 if isinstance(attack, FAB) else 1)
    found = attack(tie, torch.full((3, 1), 0.5), torch.zeros(3, dtype=torch.int64))
    assert found.success.all()
    assert found.distance.max() < 1e-3


@every
def test_a_box_without_sides_is_no_obstacle(attack):
    classifier, x, y, exact = linear_problem(2, (-1e3, 1e3), attack.norm)
    classifier.bounds = (-torch.inf, torch.inf)
    ratio = found_distance(dataclasses.replace(attack, restarts=2), classifier, x, y) / exact
    assert ratio.min() >= 1 - 1e-9
    assert ratio.max() < 1.05


# --- rows, starts and draws


@every
def test_batch_size_and_order_do_not_matter(attack):
    attack = dataclasses.replace(attack, steps=8, restarts=2)
    whole = attack(NET, X[:9], Y[:9])
    assert whole.success.any()
    order = torch.randperm(9, generator=generator(2))
    for batch_size, rows in ((1, order[:3]), (7, order), (64, order)):
        other = attack(NET, X[rows], Y[rows], ids=rows, batch_size=batch_size)
        assert other.success.equal(whole.success[rows])
        assert other.steps.equal(whole.steps[rows])
        torch.testing.assert_close(other.x_adv, whole.x_adv[rows], rtol=0, atol=1e-9)


@every
def test_more_restarts_never_find_a_further_point(attack):
    once, more = (dataclasses.replace(attack, steps=8, restarts=n) for n in (1, 3))
    assert (found_distance(more, NET, X, Y) <= found_distance(once, NET, X, Y)).all()


@every
def test_a_goal_is_reached_when_it_says_so(attack):
    goal = (Y + 1) % 4
    found = dataclasses.replace(attack, steps=30)(NET, X, Y, target=goal)
    assert found.success.equal(NET(found.x_adv).argmax(1) == goal)
    assert found.success.sum() > 0.9 * N


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("eps", "nearest"), [(0.4, 0.1), (0.1, 0.4), (0.2, "inf"), ("inf", 0.2), ("inf", "inf")])
def test_later_starts_lie_within_half_of_the_nearest_success_or_of_eps_or_of_the_box(norm, eps, nearest):
    classifier = Classifier(NET, bounds=(-9, 9), num_classes=4, output="logits")
    attack = FMN(norm=norm, eps=eps)
    problem = Problem(classifier, attack.threat(classifier), Stream(0, "fmn"))
    far = torch.full((N,), float(nearest), dtype=torch.float64)
    count = torch.arange(N)
    rows = Rows(x=X, ids=count, restart=torch.ones(N).long(), step=torch.zeros(N).long(), distance=far)
    corner = size(9 + X, norm)
    assert farthest(problem, rows).equal(corner)
    point = begin(problem, rows, clean=count < 3)
    assert point[:3].equal(X[:3])
    radius = torch.minimum(far, corner).clamp(max=float(eps)) / 2
    share = size(point - X, norm)[3:] / radius[3:]
    assert share.max() <= 1 + 1e-9
    assert share.max() > 0.9
    assert not (point[3] - X[3]).equal(point[4] - X[4])


def test_draws_of_a_random_model_are_averaged_at_every_look():
    seen = []

    class Counting(nn.Sequential):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    for attack, looks in (
        (FAB(eps="inf", steps=2, eot=3, targets=1), 1 + 2 * 2 + 1),
        (DDN(eps="inf", steps=2, eot=3), 3),
    ):
        classifier = Classifier(Counting(NET), output="logits", num_classes=4)
        seen.clear()
        attack(classifier, X, Y)
        assert seen == [N] * 3 * looks


@pytest.mark.parametrize(("first", "last"), [(1.0, 0.01), (0.05, 0.001)])
def test_what_cools_falls_as_half_a_cosine(first, last):
    values = cooled(torch.arange(101), 100, first, last)
    assert values[0] == first
    assert values[50].item() == pytest.approx((first + last) / 2)
    assert values[100].item() == pytest.approx(last)
    assert (values.diff() < 0).all()


# --- single steps of FMN and DDN, on the model whose boundary is the plane x = 0.5


def plane(attack):
    """Returns the problem of an attack on that model."""
    classifier = Classifier(lambda v: torch.cat([0 * v, v - 0.5], 1), output="logits", num_classes=2)
    return Problem(classifier, attack.threat(classifier), Stream(0, attack.name))


def states(attack, x, steps):
    """Returns the rows after each of the first steps."""
    problem = plane(attack)
    count = torch.zeros(1, dtype=torch.int64)
    never = torch.full((1,), torch.inf, dtype=torch.float64)
    x = torch.tensor([[x]], dtype=torch.float64)
    rows = attack.start(problem, Rows(x=x, ids=count, goal=count, restart=count, step=count, distance=never))
    found = []
    for step in range(steps):
        rows = attack.step(problem, rows.having(step=torch.full_like(count, step)))
        found.append(rows)
    return found


def test_ddn_reaches_to_the_boundary_then_grows_and_shrinks_by_gamma():
    radii = [rows.radius.item() for rows in states(DDN(eps="inf"), 0.3, 4)]
    assert radii == pytest.approx([0.2, 0.2 * 1.05, 0.2 * 1.05 * 0.95, 0.2 * 1.05 * 0.95 * 1.05])


@pytest.mark.parametrize("norm", NORMS)
def test_fmn_reaches_to_the_boundary_then_grows_and_shrinks_by_a_falling_gamma(norm):
    radii = [rows.radius.item() for rows in states(FMN(norm=norm, eps="inf", gamma_last=0.05), 0.3, 3)]
    assert radii == pytest.approx([0.2, 0.2 * 1.05, 0.2 * 1.05 * 0.95])
    cooling = states(FMN(norm=norm, eps="inf", steps=4, gamma_last=0.01), 0.3, 3)
    assert cooling[2].radius.item() == pytest.approx(cooling[1].radius.item() * (1 - 0.03))


@pytest.mark.parametrize("norm", NORMS)
def test_fmn_steps_along_the_sign_for_linf_and_along_the_gradient_else(norm):
    classifier, x, y, _ = linear_problem(2, WIDE, norm, n=4)
    attack = FMN(norm=norm, eps="inf", steps=1, step_size=1e-4)
    problem = Problem(classifier, attack.threat(classifier), Stream(0, "fmn"))
    zero, never = torch.zeros_like(y), torch.full((4,), torch.inf, dtype=torch.float64)
    rows = attack.start(problem, Rows(x=x, ids=y, goal=y, restart=zero, step=zero, distance=never))
    weight = classifier.model[1].weight.detach()
    slope = weight[1 - y] - weight[y]
    slope = slope.sign() if norm == "Linf" else slope
    expected = 3e-4 * slope / size(slope, "L2").unsqueeze(1)
    torch.testing.assert_close(attack.step(problem, rows).x_adv - x, expected, rtol=1e-6, atol=1e-12)


def test_fmn_never_looks_further_than_its_nearest_success():
    attack = FMN(eps="inf")
    (rows,) = states(attack, 0.3, 1)
    rows = rows.having(x_adv=torch.full_like(rows.x, 0.6), radius=torch.ones_like(rows.radius))
    assert attack.step(plane(attack), rows).radius.item() == pytest.approx(0.3)


@pytest.mark.parametrize("levels", [2, 9, 256])
def test_ddn_quantised_meets_only_points_of_the_grid(levels):
    x = (X * (levels - 1)).round() / (levels - 1)
    found = DDN(eps="inf", steps=30, levels=levels)(NET, x, NET(x).argmax(1))
    grid = found.x_adv * (levels - 1)
    torch.testing.assert_close(grid, grid.round(), rtol=0, atol=1e-9)
    assert found.success.any()


# --- what counts, and settings


@dataclass(frozen=True, kw_only=True)
class Leap(Attack):
    """Proposes the clean input, then a point too far away."""

    name: ClassVar[str] = "leap"
    source: ClassVar[str] = "this test"
    leaves_ball: ClassVar[bool] = True

    @property
    def steps_per_start(self):
        return 1

    def start(self, problem, rows):
        return rows.having(x_adv=rows.x)

    def step(self, problem, rows):
        return rows.having(logits=problem.logits(rows, rows.x_adv), x_adv=rows.x_adv + 0.3)


@pytest.mark.parametrize(("eps", "success"), [(0.2, False), (0.4, True)])
def test_a_success_outside_the_ball_is_none(eps, success):
    classifier = Classifier(lambda v: torch.cat([0 * v, v - 0.5], 1), output="logits", num_classes=2)
    found = Leap(eps=eps)(classifier, torch.full((1, 1), 0.4), torch.tensor([0]))
    assert found.success.tolist() == [success]
    assert found.x_adv.item() == pytest.approx(0.7 if success else 0.4)
    assert found.margin.item() == pytest.approx(0.2 if success else -0.1)


@every
def test_its_iterates_leave_the_ball_and_its_results_do_not(attack):
    eps = float(found_distance(attack, NET, X, Y).quantile(0.3))
    found = dataclasses.replace(attack, eps=eps)(NET, X, Y)
    assert (found.distance <= eps).all()
    assert 0 < found.success.sum() < N


@pytest.mark.parametrize(
    ("kind", "setting", "value", "message"),
    [
        (FMN, "steps", 0, "fmn: expected steps to be an integer >= 1, got 0"),
        (FMN, "step_size", 0, r"fmn: expected step_size in \(0, inf\), got 0"),
        (FMN, "gamma", 1.0, r"fmn: expected gamma in \(0, 1\), got 1.0"),
        (FMN, "gamma_last", float("nan"), r"fmn: expected gamma_last in \(0, 1\), got nan"),
        (FMN, "loss", "cw", "loss: expected one of ce, margin, dlr"),
        (DDN, "norm", "Linf", "ddn: expected a norm among L2"),
        (DDN, "gamma", 0, r"ddn: expected gamma in \(0, 1\), got 0"),
        (DDN, "levels", 1, "threat: expected levels to be an integer >= 2, got 1"),
        (DDN, "step_size", -1, r"ddn: expected step_size in \(0, inf\), got -1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(kind, setting, value, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(**{setting: value})


# --- beside the peers


def right_digits(n):
    """Returns the network and those of the first `n` digits that it gets right."""
    net, (x, y) = digits_cnn(), digits(n)
    right = net(x).argmax(1) == y
    return net, x[right], y[right]


def peer_distances(norm, net, x, y):
    """Returns the name of every peer with the distance of its successes, infinite for its failures."""
    import foolbox

    torchattacks = pytest.importorskip("torchattacks")
    attacks = {
        "Linf": [foolbox.attacks.LInfFMNAttack(steps=100), foolbox.attacks.LinfDeepFoolAttack()],
        "L2": [
            foolbox.attacks.DDNAttack(steps=100),
            foolbox.attacks.L2FMNAttack(steps=100),
            foolbox.attacks.L2DeepFoolAttack(),
            foolbox.attacks.L2CarliniWagnerAttack(steps=300, binary_search_steps=5),
        ],
        "L1": [foolbox.attacks.L1FMNAttack(steps=100)],
    }[norm]
    bounded = foolbox.PyTorchModel(net, bounds=(0, 1))
    points = {f"foolbox {type(attack).__name__}": attack(bounded, x, y, epsilons=None)[1] for attack in attacks}
    if norm != "L1":  # torchattacks' FAB has no L1
        fab = torchattacks.FAB(net, norm=norm, eps={"Linf": 1.0, "L2": 9.0}[norm], steps=100, n_classes=10)
        points["torchattacks FAB"] = fab(x, y)
    return {
        name: torch.where(net(point).argmax(1) != y, size(point - x, norm), torch.inf) for name, point in points.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.filterwarnings("ignore")  # of foolbox and torchattacks
def test_on_the_digits_the_median_distance_is_at_most_two_percent_above_the_best_peer(norm, record_property):
    net, x, y = right_digits(100)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        peers = {name: float(far.median()) for name, far in peer_distances(norm, net, x, y).items()}
    attacks = [FAB(norm=norm, eps="inf"), FAB(norm=norm, eps="inf", targets=9), FMN(norm=norm, eps="inf")]
    attacks += [DDN(eps="inf")] if norm == "L2" else []
    ours = {attack.label: float(found_distance(attack, net, x, y).median()) for attack in attacks}
    record_property("medians", {**peers, **ours})
    assert max(ours.values()) <= 1.02 * min(peers.values())


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.095), ("L2", 0.475)])
@pytest.mark.parametrize("targets", [0, 9])
@pytest.mark.filterwarnings("ignore")  # of foolbox and torchattacks
def test_where_half_of_the_digits_survive_fab_leaves_no_more_of_them_than_torchattacks(
    norm, eps, targets, record_property
):
    torchattacks = pytest.importorskip("torchattacks")
    net, x, y = right_digits(150)
    begin_at = time.process_time()
    ours = FAB(norm=norm, eps=eps, targets=targets)(net, x, y).success
    middle = time.process_time()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        peer = torchattacks.FAB(net, norm=norm, eps=eps, steps=100, multi_targeted=targets > 0, n_classes=10)(x, y)
    theirs = (net(peer).argmax(1) != y) & (size(peer - x, norm) <= eps * (1 + 1e-6))
    record_property("survivors", (int((~ours).sum()), int((~theirs).sum()), len(x)))
    record_property("seconds", (middle - begin_at, time.process_time() - middle))
    assert 0.3 < float(theirs.double().mean()) < 0.7
    assert (~ours).sum() <= (~theirs).sum() + max(1, 0.003 * len(x))
