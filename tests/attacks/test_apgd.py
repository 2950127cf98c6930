"""APGD: its schedule in Linf, its sparse walk in L1, and what that finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, images, labels, linear, robust_accuracy, smooth_cnn
from quick import quick
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustkit.attacks import APGD, PGD
from robustkit.attacks.all_steps import craft
from robustkit.attacks.apgd_l1 import advance, direction, radius
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.threat import Threat
from robustkit.maths.losses import Loss
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.model.gradient import Gradient


@dataclass(frozen=True)
class Noted(Problem):
    """A problem that notes the points looked at, and whose gradients may be made up."""

    script: Callable[[int, Tensor], Gradient] | None = None
    seen: list[Tensor] = field(default_factory=list)

    def gradient(self, rows: Rows, x: Tensor, loss: Loss) -> Gradient:
        self.seen.append(x)
        return super().gradient(rows, x, loss) if self.script is None else self.script(len(self.seen) - 1, x)


def walk(attack: APGD, net, x: Tensor, y: Tensor, script=None) -> tuple[list[Rows], list[Tensor]]:
    """Returns the rows after the start and after every step, and the points where the model was asked."""
    classifier = Classifier(net, output="logits")
    threat = attack.threat(classifier)
    problem = Noted(classifier, threat, Stream(0, attack.name), script=script)
    lower, upper = threat.limits(x)
    zero = torch.zeros(len(x), dtype=torch.int64)
    rows = Rows(
        x=x, ids=torch.arange(len(x)), goal=y, lower=lower, upper=upper, restart=zero, step=zero, broken=zero.bool()
    )
    with classifier.frozen():
        path = [attack.start(problem, rows)]
        for step in range(attack.steps):
            path.append(attack.step(problem, path[-1].having(step=zero + step)))
    return path, problem.seen


# Linf


def test_the_first_steps_on_a_hat_are_those_worked_out_by_hand():
    """Loss -|x - 5/8|, clean input 1/2, eps 1/4, 10 steps: checkpoints after 2, 3, 4, ... iterations.

    After 2 iterations one of two losses rose, which is not more than 3/4 of them: back to the best point, 3/4, with
    half the step. After 3 the loss rose: on. After 4 it fell: half the step, from the best. After 5 it rose, after 6
    it fell. The second term of each sum is 3/4 of the step to the projected point, the third 1/4 of the last movement.
    """

    def hat(step: int, x: Tensor) -> Gradient:
        return Gradient(torch.zeros(len(x), 2), -(x - 0.625).abs().sum(1), (0.625 - x).sign())

    x = torch.full((8, 1), 0.5, dtype=torch.float64)
    path, seen = walk(APGD(eps=0.25, steps=10), nn.Identity(), x, labels(8, 2), hat)
    from_above = [i for i in range(8) if seen[0][i] == 0.75]
    assert 0 < len(from_above) < 8
    expected = [
        0.75,
        0.25,
        0.25 + 0.375 - 0.125,
        0.75 - 0.1875 + 0.125,
        0.6875 - 0.1875 - 0.015625,
        0.6875 - 0.09375 + 0.0,
        0.59375 + 0.09375 - 0.0234375,
        0.59375 + 0.046875 + 0.0,
    ]
    sizes = [0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]
    for i in from_above:
        assert [float(point[i]) for point in seen[:8]] == expected
        assert [float(rows.step_size[i]) for rows in path[:8]] == sizes


def test_a_step_halves_when_the_best_stalls_but_not_twice_in_a_row():
    """Checkpoints of 100 steps: 22, 41, 57, 70, 80, 87, 93, 99. Every loss rises, save one fall after each of them.

    So more than 3/4 of the losses in every window rise and only stalling can halve the step: the best loss is that of
    iteration 22. At 22 it has risen; at 41 it has not; at 57 the step has just been halved; at 70 it has not been.
    """
    ends = [22, 41, 57, 70, 80, 87, 93, 99]
    window_of = np.searchsorted(ends, np.arange(101))  # a checkpoint belongs to the window it closes

    def script(step: int, x: Tensor) -> Gradient:
        value = step - 1000.0 * window_of[step]
        return Gradient(torch.zeros(len(x), 2), torch.full((len(x),), value).double(), torch.ones_like(x))

    x = torch.full((1, 3), 0.5, dtype=torch.float64)
    path, seen = walk(APGD(eps=0.25, steps=100), nn.Identity(), x, labels(1, 2), script)
    halved_after = [i for i in range(100) if path[i + 1].step_size < path[i].step_size]
    assert halved_after == [41, 70, 87, 99]
    for i in halved_after:
        assert path[i + 1].x_last.equal(seen[22])


# L1: the walk


@pytest.mark.parametrize(
    ("steps", "last_of_3", "last_of_2"), [(100, 29, 59), (10, 2, 5), (8, 1, 3), (4, 0, 1), (3, -1, -1), (1, -1, -1)]
)
def test_the_ball_shrinks_from_3_to_2_to_1_eps_after_30_and_60_percent_of_the_steps(steps, last_of_3, last_of_2):
    found = radius(steps, torch.arange(steps + 1)).tolist()
    assert found == [3.0 if i <= last_of_3 else 2.0 if i <= last_of_2 else 1.0 for i in range(steps + 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_point_lies_in_its_ball_and_box_and_uses_the_room_there(dtype):
    net, x, y = smooth_cnn(dtype=dtype).eval(), images(20, dtype), labels(20)
    path, _ = walk(APGD(norm="L1", eps=0.7, steps=40), net, x, y)
    for i, rows in enumerate(path):
        times = 3 if i < 12 else 2 if i < 24 else 1
        assert Threat(norm="L1", eps=0.7 * times * (1 + 1e-6 * (times > 1))).contains(rows.x_adv, x).all()
        assert i == 0 or (rows.x_adv - x).abs().flatten(1).sum(1).max() > 0.69 * times


def test_where_the_ball_shrinks_the_best_point_is_projected_and_the_walk_begins_anew():
    net, x, y = smooth_cnn().eval().requires_grad_(False), images(20), labels(20)
    path, seen = walk(APGD(norm="L1", eps=0.7, steps=40), net, x, y)
    for begin, change, times in ((0, 12, 2), (12, 24, 1)):
        losses = torch.stack([cross_entropy(net(point), y, reduction="none") for point in seen[begin:change]])
        best = torch.stack(seen[begin:change])[losses.argmax(0), torch.arange(20)]
        after = path[change]
        projected = Threat(norm="L1", eps=0.7 * times).project(best, x, after.lower, after.upper)
        torch.testing.assert_close(after.x_adv, projected, atol=1e-9, rtol=0)
        assert (losses.argmax(0) < change - begin - 1).any()  # not just the last point
        assert after.x_best.equal(after.x_adv)
        assert (after.stride == 1).all()
        assert after.loss_best.isinf().all()


def test_training_crafts_points_inside_eps():
    classifier = Classifier(smooth_cnn().eval(), output="logits")
    for steps in (1, 2, 3, 7):
        attack = APGD(norm="L1", eps=0.5, steps=steps)
        with classifier.frozen():
            x_adv = craft(attack, classifier, images(9), labels(9), torch.arange(9), seed=1)
        assert attack.threat(classifier).contains(x_adv, images(9)).all()


def boxed_point(x: np.ndarray, point: np.ndarray, eps: float) -> np.ndarray:
    """Returns the point of the L1 ball and the box nearest to `point`, by bisection."""
    delta = point - x
    room = np.where(delta < 0, x, 1 - x)
    low, high = 0.0, np.abs(delta).max()
    if np.minimum(np.abs(delta), room).sum() <= eps:
        return point.clip(0, 1)
    for _ in range(200):
        middle = (low + high) / 2
        inside = np.minimum((np.abs(delta) - middle).clip(0), room).sum() <= eps
        low, high = (low, middle) if inside else (middle, high)
    return x + np.sign(delta) * np.minimum((np.abs(delta) - high).clip(0), room)


def plain_l1_apgd(look: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray, start: np.ndarray, eps: float):
    """L1-APGD with 50 steps for one row as one plain loop; yields the points it looks at."""
    point, dimension = start, len(x)
    stride, width, checked, best = 1.0, dimension / 5, dimension, (-np.inf, start, start)
    for i in range(50):
        times = 3 if i < 15 else 2 if i < 30 else 1
        yield point
        loss, grad = look(point)
        if loss > best[0]:
            best = (loss, point, grad)
        if i in (14, 29):
            point = boxed_point(x, best[1], eps * (times - 1))
            checked = (np.abs(point - x) > 1e-6 * eps).sum()
            stride, width, best = 1.0, checked / 1.5, (-np.inf, point, grad)
            continue
        if (i - {3: 0, 2: 15, 1: 30}[times]) % 2 == 1:
            changed = (np.abs(best[1] - x) > 1e-6 * eps).sum()
            width = changed / 1.5
            if changed < 0.95 * checked:
                stride, (_, point, grad) = 1.0, best
            else:
                stride = max(stride / 1.5, 0.1)
            checked = changed
        free = np.where(grad > 0, point < 1 - 1e-6, point > 1e-6) & (grad != 0)
        order = sorted(np.flatnonzero(free), key=lambda j: -abs(grad[j]))
        least = abs(grad[order[max(1, round(width)) - 1]]) if len(order) >= width else 0
        push = np.where(np.abs(grad) >= least, np.sign(grad) if times > 1 else grad, 0)
        push = (push / max(np.abs(push[order]).sum(), 1e-300)).clip(-1, 1)
        point = boxed_point(x, point + stride * eps * times * push, eps * times)


def looker(net: nn.Module, label: int) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Returns a function from a point to the margin loss and its gradient there, as autograd has it."""

    def look(point: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(point).view(1, 1, 6, 6).requires_grad_()
        z = net(at)[0]
        loss = torch.cat([z[:label], z[label + 1 :]]).max() - z[label]
        return loss.item(), torch.autograd.grad(loss, at)[0].flatten().numpy()

    return look


@pytest.mark.parametrize("eps", quick(1.5, slow=(0.3, 4.0)))
def test_the_whole_walk_is_that_of_a_plain_loop_over_one_row(eps):
    net, x, y = smooth_cnn().eval().requires_grad_(False), images(12), labels(12)
    path, seen = walk(APGD(norm="L1", eps=eps, steps=50, loss="margin"), net, x, y)
    for row, label in enumerate(y.tolist()):
        clean, start = (point[row].flatten().numpy() for point in (x, path[0].x_adv))
        for step, point in enumerate(plain_l1_apgd(looker(net, label), clean, start, eps)):
            np.testing.assert_allclose(seen[step][row].flatten(), point, atol=1e-7, err_msg=f"{row}, {step}")


@pytest.mark.parametrize(
    ("changed", "checked", "goes_back"), [(2, 3, True), (2, 2, False), (19, 20, False), (3, 2, False)]
)
def test_a_row_goes_back_where_the_best_point_changes_fewer_coordinates(changed, checked, goes_back):
    """With 25 steps there is a check at every step; the 20th is in the ball of eps, and the box is far."""
    d = 24
    x = torch.full((1, d), 0.5, dtype=torch.float64)
    axis = torch.eye(d, dtype=torch.float64)
    best, here = x.clone(), x + 0.05 * axis[20:22].sum(0)
    best[0, :changed] += 0.1 / changed
    problem = Problem(Classifier(nn.Identity()), Threat(norm="L1", eps=0.2), Stream(0, "apgd"))
    rows = Rows(
        x=x, x_adv=here, x_best=best, grad_best=axis[23:], loss_best=torch.zeros(1).double(), step=torch.tensor([20]),
        lower=x * 0, upper=x * 0 + 1, stride=torch.full((1,), 0.6, dtype=x.dtype), width=torch.ones(1),
        touched=torch.tensor([checked]),
    )  # fmt: skip
    after = advance(problem, rows, axis[22:23], steps=25)
    point, slope, stride = (best, axis[23:], 1.0) if goes_back else (here, axis[22:23], 0.4)
    ahead = point + stride * 0.2 * slope
    assert after.stride.item() == pytest.approx(stride)
    assert after.width.item() == pytest.approx(changed / 1.5)
    expected = problem.threat.project(ahead, x, rows.lower, rows.upper)
    torch.testing.assert_close(after.x_adv, expected, atol=1e-9, rtol=0)


def step_of(grad: list[float], x: list[float], width: float, by_sign: bool) -> list[float]:
    point = torch.tensor([x], dtype=torch.float64)
    rows = Rows(lower=torch.zeros_like(point), upper=torch.ones_like(point))
    slopes = torch.tensor([grad], dtype=torch.float64)
    return direction(rows, point, slopes, torch.tensor([width]), torch.tensor([by_sign])).tolist()[0]


def test_a_step_uses_the_largest_entries_that_can_move_and_pushes_full_ones_against_the_box():
    middle = [0.5] * 4
    assert step_of([4.0, -3.0, 2.0, 1.0], middle, 2.0, by_sign=True) == [0.5, -0.5, 0, 0]
    assert step_of([4.0, -1.0, 0.5, 0.25], middle, 2.0, by_sign=False) == [0.8, -0.2, 0, 0]
    assert step_of([4.0, -3.0, 2.0, 1.0], middle, 0.1, by_sign=True) == [1, 0, 0, 0]
    assert step_of([4.0, -3.0, 2.0, 1.0], [1.0, 0.5, 0.5, 0.5], 2.0, by_sign=True) == [0.5, -0.5, 0.5, 0]
    assert step_of([-4.0, -3.0, 2.0, 1.0], [1.0, 0.5, 0.5, 0.5], 1.0, by_sign=True) == [-1, 0, 0, 0]
    assert step_of([9.0, -3.0, 1.0, 0.5], [1.0, 0.5, 0.5, 0.5], 2.0, by_sign=False) == [1, -0.75, 0.25, 0]
    assert step_of([0.0] * 4, middle, 2.0, by_sign=False) == [0] * 4
    assert step_of([1e-300, -2e-300, 0, 0], middle, 1.0, by_sign=False) == [0, -1, 0, 0]


def test_with_every_coordinate_full_the_point_stays():
    weight = torch.cat([torch.zeros(1, 5), torch.ones(1, 5)]).double()
    x = torch.ones(3, 5, dtype=torch.float64)
    found = APGD(norm="L1", eps=1.0, steps=20)(linear(weight, torch.tensor([9.0, 0.0])), x, torch.zeros(3).long())
    assert not found.success.any()
    assert found.x_adv.isfinite().all()


# L1: what it finds


def boxed_model(d: int, filled: float, seed: int) -> tuple[nn.Module, Tensor, float]:
    """Returns a linear model, an input of class 0 and its exact L1 distance to class 1 inside the box.

    The shortest way fills coordinates up to the box in the order of their weights; the boundary is where `filled` of
    them are full, so its distance is the room they had. A tenth of the inputs are exactly 0, a tenth exactly 1.
    """
    random = generator(seed)
    weight = torch.randn(d, generator=random, dtype=torch.float64)
    x = (torch.rand(d, generator=random, dtype=torch.float64) * 1.25 - 0.125).clamp(0, 1)
    room = torch.where(weight > 0, 1 - x, x)
    order = weight.abs().masked_fill(room == 0, 0).argsort(descending=True)
    parts = (filled - torch.arange(d)).clamp(0, 1).double()
    gap = (parts * weight.abs()[order] * room[order]).sum()
    net = linear(torch.stack([torch.zeros(d).double(), weight]), torch.stack([weight @ x + gap, gap * 0]))
    return net, x.unsqueeze(0), float((parts * room[order]).sum())


@pytest.mark.parametrize("d", quick(30, slow=(64, 200)))
@pytest.mark.parametrize("filled", [0.5, 2.3, 5.7, 11.2])
def test_linear_models_break_just_outside_the_exact_distance_in_the_box_and_never_inside(d, filled):
    for seed in range(2):
        net, x, exact = boxed_model(d, filled, seed)
        y = torch.zeros(1).long()
        assert APGD(norm="L1", eps=1.02 * exact)(net, x, y).success, seed
        assert not APGD(norm="L1", eps=0.999 * exact)(net, x, y).success


@pytest.mark.filterwarnings("ignore::DeprecationWarning:foolbox")
@pytest.mark.slow
def test_it_is_at_least_as_strong_as_every_other_l1_attack():
    foolbox = pytest.importorskip("foolbox")
    net, (x, y), eps = digits_cnn(), digits(100), 1.3
    theirs = [robust_accuracy(PGD(norm="L1", eps=eps, steps=100, share=s), net, x, y) for s in (0.02, 0.05, 0.2)]
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    peers = [
        foolbox.attacks.L1PGD(steps=100),
        foolbox.attacks.SparseL1DescentAttack(steps=100, rel_stepsize=0.05),
        foolbox.attacks.EADAttack(steps=100, binary_search_steps=4, decision_rule="L1"),
    ]
    for peer in peers:
        _, x_adv, _ = peer(model, x, y, epsilons=eps)
        inside = Threat(norm="L1", eps=eps * (1 + 1e-5)).contains(x_adv, x)
        right = (net(x).argmax(1) == y) & ~((net(x_adv).argmax(1) != y) & inside)
        theirs.append(float(right.double().mean()))
    assert 0.3 < min(theirs) < 0.7
    assert max(theirs[-3:]) < 1
    assert robust_accuracy(APGD(norm="L1", eps=eps), net, x, y) <= min(theirs) + 0.003


@pytest.mark.parametrize("targets", quick(0, slow=(3,)))
def test_batch_size_and_order_change_nothing_in_l1(targets):
    net, x, y = smooth_cnn().eval(), images(40), labels(40)
    attack = APGD(norm="L1", eps=0.7, steps=30, loss="dlr", targets=targets)
    whole = attack(net, x, y, seed=3)
    assert 0.2 < whole.success.double().mean() < 1
    order = torch.randperm(40, generator=generator(1))
    for size, rows in ((1, slice(0, 8)), (7, order), (40, order)):
        found = attack(net, x[rows], y[rows], ids=torch.arange(40)[rows], seed=3, batch_size=size)
        assert found.success.equal(whole.success[rows])
        assert found.steps.equal(whole.steps[rows])
        torch.testing.assert_close(found.x_adv, whole.x_adv[rows], atol=1e-9, rtol=0)


def test_targeted_it_reaches_the_class_it_is_given_in_l1():
    x, y = digits(40)
    target = (y + 1 + torch.arange(40) % 9) % 10
    found = APGD(norm="L1", eps=4.0)(digits_cnn(), x, y, target=target)
    with torch.no_grad():
        assert found.success.equal(digits_cnn()(found.x_adv).argmax(1) == target)
    assert found.success.double().mean() > 0.7
    assert (found.distance <= 4.0).all()
