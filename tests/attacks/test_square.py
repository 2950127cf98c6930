"""The Square Attack: its windows, its ways to propose, and what it finds."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import digits, digits_cnn, generator, images, labels, linear, robust_accuracy, smooth_cnn
from quick import quick
from torch import Tensor, nn

from robustkit.attacks import PGD, Square, create
from robustkit.attacks.engine import Engine
from robustkit.attacks.rows import Problem, Rows
from robustkit.attacks.square import AHEAD, Window, _length, as_images, placed, sides
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import batches
from robustkit.loading.data import load_data
from robustkit.maths.losses import margin
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

NORMS = ("Linf", "L2", "L1")
SHAPES = ((1, 6, 6), (3, 8, 5), (2, 4, 11), (2, 9), (7,), (1,), (2, 3, 4, 5), (1, 1, 1))


def started(attack: Square, classifier: Classifier, x: Tensor, y: Tensor, seed: int = 0) -> tuple[Problem, Rows]:
    """Returns what the engine would hand to the first `step`."""
    threat = attack.threat(classifier)
    problem = Problem(classifier, threat, Stream(seed, attack.name))
    lower, upper = threat.limits(x)
    zero = torch.zeros(len(x), dtype=torch.int64)
    rows = Rows(x=x, ids=torch.arange(len(x)), goal=y, lower=lower, upper=upper, restart=zero, step=zero)
    return problem, attack.start(problem, rows)


def proposals(attack: Square, classifier: Classifier, x: Tensor, y: Tensor, steps: int) -> list[Rows]:
    """Returns the rows after the start and after each of `steps` steps."""
    problem, rows = started(attack, classifier, x, y)
    path = [rows]
    for step in range(steps):
        rows = attack.step(problem, rows.having(step=torch.full_like(rows.step, step)))
        path.append(rows)
    return path


def indifferent(classes: int = 3) -> Classifier:
    """Returns a classifier that always says class 0, whatever it sees."""
    return Classifier(lambda x: torch.eye(classes, dtype=x.dtype)[0].expand(len(x), -1), num_classes=classes)


def greys(n: int, *shape: int) -> Tensor:
    """Returns inputs so far from 0 and 1 that the box does not matter."""
    return 0.3 + 0.4 * torch.rand(n, *shape, generator=generator(5), dtype=torch.float64)


def smooth_images(n: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Returns a smooth network, images, and as labels what it predicts for them."""
    net, x = smooth_cnn().eval(), images(n)
    with torch.no_grad():
        return net, x, net(x).argmax(1)


# Large enough to break some, small enough to spare others of `smooth_images`.
MEDIUM = {"Linf": 0.1, "L2": 0.3, "L1": 0.8}


# The schedule


@pytest.mark.parametrize(
    ("queries", "rescale", "last_of_each"),
    [
        (10_000, False, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)),
        (10_000, True, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)),
        (5000, False, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)),
        (5000, True, (5, 25, 100, 250, 500, 1000, 2000, 3000, 4000)),
        (1000, True, (1, 5, 20, 50, 100, 200, 400, 600, 800)),
    ],
)
def test_the_share_halves_right_after_the_documented_iterations(queries, rescale, last_of_each):
    attack = Square(queries=queries, p_init=0.8, rescale_schedule=rescale)
    last = torch.tensor(last_of_each)
    expected = 0.8 / 2 ** torch.arange(9, dtype=torch.float64)
    assert attack.share(last).tolist() == expected.tolist()
    assert attack.share(last + 1).tolist() == (expected / 2).tolist()
    assert attack.share(torch.tensor([1])).item() == 0.8


def test_autoattack_s_budget_ends_with_windows_of_a_128th_of_the_first_share():
    assert Square(queries=5000).share(torch.tensor(4999)).item() == 0.8 / 128


@pytest.mark.parametrize(
    ("share", "size", "odd", "expected"),
    [
        (0.8, (28, 28), False, (25, 25)),
        (0.8 / 512, (28, 28), False, (1, 1)),
        (0.4, (28, 28), False, (18, 18)),
        (0.4, (28, 28), True, (19, 19)),
        (1.0, (28, 28), True, (28, 28)),
        (1.0, (6, 6), False, (6, 6)),
        (0.97, (28, 28), False, (28, 28)),
        (1e-6, (28, 28), False, (1, 1)),
        (1e-6, (28, 28), True, (3, 3)),
        (1e-6, (2, 28), True, (2, 3)),
        (1e-6, (1, 2), True, (1, 2)),
        (0.05, (5, 80), False, (4, 4)),
        (0.5, (5, 80), False, (5, 40)),
        (0.5, (80, 5), False, (40, 5)),
        (0.25, (1, 100), False, (1, 25)),
        (0.25, (1, 1), False, (1, 1)),
    ],
)
def test_windows_cover_their_share_and_are_square_where_the_image_allows_it(share, size, odd, expected):
    height, width = sides(torch.tensor([share], dtype=torch.float64), *size, odd=odd)
    assert (height.item(), width.item()) == expected


def test_windows_start_uniformly_at_every_place_they_fit():
    n = 6000
    u = Stream(0, "square").uniform((2,), torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.ones(n).long())
    side = torch.full((n,), 3)
    x = torch.zeros(1, 1, 5, 6)
    mask = Window(torch.cat(placed(u, (side, side + 1), x), dim=1), like=x).mask.flatten(1)
    assert (mask.sum(1) == 12).all()
    kinds, counts = mask.unique(dim=0, return_counts=True)
    assert len(kinds) == 3 * 3
    assert (counts / n - 1 / 9).abs().max() < 0.015


# Linf


def test_the_first_linf_point_is_made_of_vertical_stripes_at_the_ends_of_the_ball():
    x = images(200)
    attack = Square(eps=0.1)
    _, rows = started(attack, indifferent(), x, labels(200))
    bright = rows.x_adv == rows.upper
    assert ((rows.x_adv == rows.lower) ^ bright).all()
    assert (bright == bright[:, :, :1]).all()
    assert (bright[:, 0, 0].double().mean(0) - 0.5).abs().max() < 0.1
    assert len(bright[:, 0, 0].unique(dim=0)) > 50


def test_a_linf_proposal_repaints_one_window_of_the_announced_side_with_one_colour_per_channel():
    x, steps = greys(40, 3, 12, 12), torch.arange(40) * 23
    attack = Square(eps=0.1)
    problem, rows = started(attack, indifferent(), x, labels(40, 3))
    after = attack.step(problem, rows.having(step=steps))
    expected = sides(attack.share(steps + 1), 12, 12)[0]
    assert len(expected.unique()) > 4
    for row in range(len(x)):
        changed = (after.x_adv[row] != rows.x_adv[row]).any(0).nonzero()
        low, high = changed.min(0).values, changed.max(0).values + 1
        assert (high - low <= expected[row]).all()
        # A colour that differs fills the whole window with one end of the ball.
        fresh = after.x_adv[row, :, low[0] : high[0], low[1] : high[1]]
        ends = fresh == after.upper[row, :, low[0] : high[0], low[1] : high[1]]
        assert (ends.flatten(1).all(1) | ~ends.flatten(1).any(1)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_linf_proposal_changes_something(shape):
    attack = Square(eps=0.1, queries=200, rescale_schedule=True)
    for rows in proposals(attack, indifferent(), greys(8, *shape), labels(8, 3), 60)[1:]:
        assert (rows.x_adv != rows.x_best).flatten(1).any(1).all()


@pytest.mark.parametrize(("begin", "colourings"), [("lit", 3), ("mixed", 4)])
def test_linf_colours_are_uniform_among_those_that_change_the_window(begin, colourings):
    n = 4000
    x = torch.full((n, 2, 3, 3), 0.5, dtype=torch.float64)
    attack = Square(eps=0.1, p_init=1.0)
    problem, rows = started(attack, indifferent(), x, labels(n, 3))
    first = rows.upper.clone()
    if begin == "mixed":
        first[:, :, 0, 0] = rows.lower[:, :, 0, 0]
    after = attack.step(problem, rows.having(x_adv=first, x_best=first))
    kinds, counts = after.x_adv.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == colourings
    assert (counts / n - 1 / colourings).abs().max() < 0.03


# L2


def paper_eta(h: int, order: int = 2) -> np.ndarray:
    """Returns eta of the paper, entry by entry, with the two halves side by side."""

    def half(h1: int, h2: int) -> np.ndarray:
        n = h1 // 2
        grid = np.zeros((h1, h2))
        for r in range(1, h1 + 1):
            for s in range(1, h2 + 1):
                m = n - max(abs(r - h1 // 2 - 1), abs(s - h2 // 2 - 1))
                grid[r - 1, s - 1] = sum(1 / (n + 1 - k) ** (4 // order) for k in range(m + 1))
        return grid

    both = np.concatenate([half(h, h // 2), -half(h, h - h // 2)], axis=1)
    return both / np.linalg.norm(both.ravel(), order)


@pytest.mark.parametrize("h", [3, 4, 5, 7, 11])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("order", [2, 1])
def test_bumps_are_the_eta_of_the_paper(h, turned, order):
    u, x = torch.tensor([[0.7, 0.7]], dtype=torch.float64), torch.zeros(1, 1, 12, 13, dtype=torch.float64)
    window = Window(torch.cat(placed(u, (torch.tensor([h]),) * 2, x), dim=1), like=x)
    bump = window.bump(torch.tensor([turned]), order)[0, 0].numpy()
    top, left = int(0.7 * (13 - h)), int(0.7 * (14 - h))
    expected = np.zeros((12, 13))
    expected[top : top + h, left : left + h] = paper_eta(h, order).T if turned else paper_eta(h, order)
    np.testing.assert_allclose(bump, expected, atol=1e-12)


@pytest.mark.parametrize("order", [2, 1])
def test_the_first_l2_or_l1_point_is_a_5_by_5_grid_of_bumps_of_size_eps(order):
    x = greys(50, 2, 17, 26)
    attack = Square(norm=f"L{order}", eps=0.5)
    _, rows = started(attack, indifferent(), x, labels(50, 3))
    delta = rows.x_adv - x
    assert delta.flatten(1).norm(order, dim=1).numpy() == pytest.approx(0.5, abs=1e-9)
    assert (delta[:, :, 0] == 0).all()
    assert (delta[:, :, 16:] == 0).all()
    assert (delta[:, :, 1:16, 25] == 0).all()
    tiles = delta[:, :, 1:16, :25].unflatten(3, (5, 5)).unflatten(2, (5, 3)).permute(0, 1, 2, 4, 3, 5).flatten(4)
    assert tiles.norm(order, dim=-1).numpy() == pytest.approx(0.5 / 50 ** (1 / order), abs=1e-9)
    assert len((tiles.reshape(-1, 15) * 1e6).round().unique(dim=0)) == 2 * 2


def paper_algorithm_3(
    delta: np.ndarray, windows: list[tuple[slice, slice]], eta: np.ndarray, rho: np.ndarray, eps: float, p: int
):
    """Returns the new perturbation by algorithm 3, line by line, for one image (C, H, W); L1 counts without squares."""
    nu = delta.copy()
    w1, w2 = windows
    unused = eps**p - (np.abs(nu) ** p).sum()
    for i in range(len(nu)):
        norm = np.linalg.norm(nu[i][w1].ravel(), p)
        temp = rho[i] * eta + nu[i][w1] / norm
        union = np.zeros(nu[i].shape, dtype=bool)
        union[w1] = union[w2] = True
        available = ((np.abs(nu[i][union]) ** p).sum() + unused / len(nu)) ** (1 / p)
        nu[i][w2] = 0
        nu[i][w1] = temp / np.linalg.norm(temp.ravel(), p) * available
    return nu


@pytest.mark.parametrize(("norm", "p", "eps"), [("L2", 2, 0.8), ("L1", 1, 1.5)])
def test_l2_and_l1_proposals_follow_algorithm_3_line_by_line(norm, p, eps):
    n, channels, height, width = 30, 3, 11, 14
    x, steps = greys(n, channels, height, width), torch.arange(n) * 17
    attack = Square(norm=norm, eps=eps)
    problem, rows = started(attack, indifferent(), x, labels(n, 3))
    noise = torch.randn(x.shape, generator=generator(1), dtype=x.dtype)
    best = x + 0.7 * eps * noise / noise.flatten(1).norm(p, dim=1).view(-1, 1, 1, 1)
    after = attack.step(problem, rows.having(x_adv=best, x_best=best, step=steps))
    u = problem.stream.uniform((5 + channels,), rows.ids, rows.restart, steps + 1).numpy()
    side = sides(attack.share(steps + 1), height, width, odd=True)[0].tolist()
    assert len(set(side)) > 2
    for row, s in enumerate(side):
        places = [(int(u[row, k] * (height - s + 1)), int(u[row, k + 1] * (width - s + 1))) for k in (0, 2)]
        windows = [(slice(top, top + s), slice(left, left + s)) for top, left in places]
        eta = paper_eta(s, p).T if u[row, 4] < 0.5 else paper_eta(s, p)
        rho = np.where(u[row, 5:] < 0.5, -1, 1)
        moved = x[row].numpy() + paper_algorithm_3((best - x)[row].numpy(), windows, eta, rho, eps, p)
        np.testing.assert_allclose(after.x_adv[row].numpy(), moved.clip(0, 1), atol=1e-9)


@pytest.mark.parametrize(("norm", "p"), [("L2", 2), ("L1", 1)])
def test_l2_and_l1_proposals_use_the_whole_radius_away_from_the_box(norm, p):
    attack = Square(norm=norm, eps=0.25, queries=100, rescale_schedule=True)
    x = greys(20, 3, 9, 9)
    for rows in proposals(attack, indifferent(), x, labels(20, 3), 30):
        assert (rows.x_adv - x).flatten(1).norm(p, dim=1).numpy() == pytest.approx(0.25, abs=1e-9)


# All norms


@given(
    norm=st.sampled_from(NORMS),
    shape=st.sampled_from(SHAPES),
    eps=st.sampled_from((0.0, 1e-9, 1e-3, 8 / 255, 0.3, 1.0)),
    dtype=st.sampled_from((torch.float32, torch.float64)),
    p_init=st.floats(1e-6, 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_every_proposal_lies_inside_the_threat(norm, shape, eps, dtype, p_init, seed):
    x = (torch.rand(5, *shape, generator=generator(seed), dtype=dtype) * 1.5 - 0.25).clamp(0, 1)
    attack = Square(norm=norm, eps=eps, p_init=p_init, queries=50, rescale_schedule=True)
    weight = torch.randn(3, x[0].numel(), generator=generator(seed), dtype=dtype)
    classifier = Classifier(linear(weight), num_classes=3)
    for rows in proposals(attack, classifier, x, labels(5, 3), 12):
        assert rows.x_adv.shape == x.shape
        assert rows.x_adv.dtype == dtype
        assert attack.threat(classifier).contains(rows.x_adv, x).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_the_loss_of_the_accepted_point_never_moves_towards_the_defender(norm, loss):
    net, x, y = smooth_images(20)
    classifier = Classifier(net, output="logits")
    attack = Square(norm=norm, eps=MEDIUM[norm], loss=loss, queries=100, rescale_schedule=True)
    with classifier.frozen():
        path = proposals(attack, classifier, x, y, 60)
        best = [margin(classifier.logits(rows.x_best), y)[0] for rows in path]
    held = torch.stack([rows.loss_best for rows in path[1:]])
    assert (held.diff(dim=0) >= 0).all()
    assert (held[-1] > held[0]).float().mean() > 0.8
    if loss == "margin":
        torch.testing.assert_close(torch.stack(best[1:]), held)


@pytest.mark.parametrize("norm", quick("Linf", slow=("L2", "L1")))
def test_batch_size_and_order_change_nothing(norm):
    net, x, y = smooth_images(64)
    attack = Square(norm=norm, eps=MEDIUM[norm], queries=15, restarts=2)
    whole = attack(net, x, y, seed=3)
    assert 0.2 < whole.success.double().mean() < 1
    order = torch.randperm(64, generator=generator(1))
    for size, rows in ((1, slice(0, 8)), (64, order), (7, order)):
        ids = torch.arange(64)[rows]
        found = attack(net, x[rows], y[rows], ids=ids, seed=3, batch_size=size)
        torch.testing.assert_close(found.x_adv, whole.x_adv[rows], atol=1e-9, rtol=0)
        assert torch.equal(found.success, whole.success[rows])
        assert torch.equal(found.steps, whole.steps[rows])


@pytest.mark.parametrize("norm", NORMS)
def test_samples_restarts_and_seeds_all_draw_their_own_numbers(norm):
    x, y = greys(1, 1, 12, 12).expand(2, -1, -1, -1), labels(2, 3)
    attack = Square(norm=norm, eps=0.1)
    problem, rows = started(attack, indifferent(), x, y)
    other_seed, _ = started(attack, indifferent(), x, y, seed=1)
    again = attack.start(problem, rows.having(restart=rows.restart + 1))
    reseeded = attack.start(other_seed, rows)
    for one, other in ((rows.x_adv[0], rows.x_adv[1]), (rows.x_adv, again.x_adv), (rows.x_adv, reseeded.x_adv)):
        assert not torch.equal(one, other)
    same = rows.having(x_adv=rows.x_adv[:1].expand_as(x), x_best=rows.x_best[:1].expand_as(x))
    first, second = attack.step(problem, same).x_adv
    later = attack.step(problem, same.having(step=rows.step + 1)).x_adv[0]
    assert not torch.equal(first, second)
    assert not torch.equal(first, later)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("queries", [1, 2, 17])
def test_an_unbroken_row_costs_exactly_its_queries_and_no_gradient(norm, queries):
    classifier = indifferent()
    classifier.output = "logits"
    found = Square(norm=norm, queries=queries, restarts=3)(classifier, images(4), torch.zeros(4).long())
    assert not found.success.any()
    assert found.steps.tolist() == [3 * queries] * 4
    assert (classifier.tally.forwards, classifier.tally.backwards) == (4 * 3 * queries, 0)


@pytest.mark.parametrize("norm", NORMS)
def test_no_random_number_is_used_twice(norm, monkeypatch):
    drawn = []
    uniform = Stream.uniform

    def noted(stream: Stream, shape, ids: Tensor, restart: Tensor, step: Tensor, draw: int = 0) -> Tensor:
        drawn.extend(zip(ids.tolist(), restart.tolist(), step.tolist(), strict=True))
        return uniform(stream, shape, ids, restart, step, draw)

    monkeypatch.setattr(Stream, "uniform", noted)
    Square(norm=norm, queries=5, restarts=3)(indifferent(), images(2), torch.zeros(2).long())
    assert len(drawn) == len(set(drawn)) == 2 * 3 * (1 + AHEAD)  # the start, and the plan of the first iterations


class Undifferentiable(torch.autograd.Function):
    """The identity, which raises when somebody asks for its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        raise AssertionError("a gradient was asked for")


class Guarded(nn.Module):
    """A network behind `Undifferentiable`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(Undifferentiable.apply(x))


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_is_ever_asked_for(norm):
    net, x, y = smooth_images(8)
    guarded = Guarded(net)
    with pytest.raises(AssertionError, match="a gradient was asked for"):
        PGD(norm=norm, eps=MEDIUM[norm])(guarded, x, y)
    attack = Square(norm=norm, eps=MEDIUM[norm], queries=20)
    assert torch.equal(attack(guarded, x, y).x_adv, attack(net, x, y).x_adv)


def test_it_breaks_a_model_of_steps_as_well_as_the_smooth_one():
    weight = torch.randn(3, 36, generator=generator(2))

    def in_numpy(x: Tensor) -> Tensor:
        return torch.from_numpy(np.floor(x.detach().flatten(1).numpy() * 64) / 64 @ weight.numpy().T)

    x = greys(30, 1, 6, 6).float()
    y = linear(weight)(x).argmax(1)
    attack = Square(eps=0.1, queries=200, rescale_schedule=True)
    stepped, smooth = (robust_accuracy(attack, model, x, y) for model in (in_numpy, linear(weight)))
    assert smooth < 0.5
    assert abs(stepped - smooth) < 0.1


@pytest.mark.parametrize(
    ("norm", "shape", "queries", "outside"),
    [
        ("Linf", (1, 6, 6), 400, 1.05),
        ("Linf", (2, 4, 7), 400, 1.05),
        ("Linf", (30,), 400, 1.05),
        pytest.param("L2", (30,), 1000, 1.3, marks=pytest.mark.slow),
        # Weights are white noise here, to which smooth bumps are hard to fit.
        pytest.param("L2", (1, 6, 6), 400, 2.0, marks=pytest.mark.slow),
        ("L2", (2, 4, 7), 400, 2.0),
        pytest.param("L1", (30,), 1000, 1.3, marks=pytest.mark.slow),
        pytest.param("L1", (1, 6, 6), 1000, 2.0, marks=pytest.mark.slow),
        pytest.param("L1", (2, 4, 7), 1000, 2.0, marks=pytest.mark.slow),
    ],
)
def test_on_linear_models_it_succeeds_outside_the_exact_distance_and_never_inside(norm, shape, queries, outside):
    x = greys(1, *shape)
    x = x.expand(12, *x.shape[1:])
    weight = torch.randn(2, x[0].numel(), generator=generator(4), dtype=torch.float64)
    normal = weight[1] - weight[0]
    length = normal.norm({"Linf": 1, "L2": 2, "L1": torch.inf}[norm])
    # The bias puts the boundary at this distance from x in the norm, far from the box.
    distance = 0.1
    bias = torch.stack([normal @ x[0].flatten() + distance * length, torch.zeros(())])
    net = linear(weight, bias)
    y = torch.zeros(12, dtype=torch.int64)
    common = {"norm": norm, "queries": queries, "rescale_schedule": True}
    assert Square(eps=distance * outside, **common)(net, x, y).success.all()
    assert not Square(eps=distance * 0.999, **common)(net, x, y).success.any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_targeted_it_reaches_the_class_it_is_given(norm, loss):
    weight = torch.randn(4, 36, generator=generator(6), dtype=torch.float64)
    x, net = greys(40, 1, 6, 6), linear(weight)
    y = net(x).argmax(1)
    target = (y + 1 + torch.arange(40) % 3) % 4
    eps = {"Linf": 0.25, "L2": 1.5, "L1": 6.0}[norm]
    attack = Square(norm=norm, eps=eps, loss=loss, queries=300, rescale_schedule=True)
    found = attack(net, x, y, target=target)
    assert found.success.double().mean() > 0.9
    assert (net(found.x_adv).argmax(1) == target)[found.success].all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_inputs_of_any_shape_can_be_attacked(norm, shape):
    x = greys(16, *shape)
    weight = torch.randn(3, x[0].numel(), generator=generator(7), dtype=torch.float64)
    net = linear(weight, -weight.sum(1) / 2)
    y = net(x).argmax(1)
    found = Square(norm=norm, eps=0.7, queries=150, rescale_schedule=True)(net, x, y)
    assert found.x_adv.shape == x.shape
    assert found.success.any()


def test_tables_sequences_and_volumes_are_seen_as_images():
    assert as_images(torch.zeros(2, 7)).shape == (2, 1, 1, 7)
    assert as_images(torch.zeros(2, 3, 7)).shape == (2, 3, 1, 7)
    assert as_images(torch.zeros(2, 3, 5, 7)).shape == (2, 3, 5, 7)
    assert as_images(torch.zeros(2, 3, 4, 5, 7)).shape == (2, 3, 20, 7)


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_returns_the_input_bit_for_bit(norm):
    x = images(6, torch.float32)
    assert torch.equal(Square(norm=norm, eps=0, queries=10)(smooth_cnn(dtype=torch.float32), x, labels(6)).x_adv, x)


@pytest.mark.parametrize("norm", NORMS)
def test_more_queries_never_help_the_defender(norm):
    net, x, y = smooth_images(60)
    accuracies = [robust_accuracy(Square(norm=norm, eps=MEDIUM[norm], queries=q), net, x, y) for q in (1, 5, 25)]
    assert accuracies[0] > accuracies[1] > accuracies[2]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"p_init": 0}, r"square: expected p_init in \(0, 1\], got 0; correct it"),
        ({"p_init": 1.5}, r"square: expected p_init in \(0, 1\], got 1.5; correct it"),
        ({"p_init": float("nan")}, r"square: expected p_init in \(0, 1\], got nan; correct it"),
        ({"queries": 0}, r"square: expected queries to be an integer >= 1, got 0; correct it"),
        ({"queries": 2.5}, r"square: expected queries to be an integer >= 1, got 2.5; correct it"),
        ({"loss": "margins"}, r"loss: expected one of ce, margin, dlr, got 'margins'; did you mean 'margin'\?"),
        ({"norm": "L0"}, r"square: expected a norm among Linf, L2, L1, got 'L0'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(field, message):
    with pytest.raises(ConfigurationError, match=message):
        Square(**field)


def test_it_can_be_named_on_the_command_line_and_says_what_it_is():
    attack = create("square:queries=100,p_init=0.3,rescale_schedule=true", norm="L2", eps="1/2")
    assert attack == Square(queries=100, p_init=0.3, rescale_schedule=True, norm="L2", eps="1/2")
    assert Square.kind == "black-box"
    assert Square().settings()["queries"] == 5000


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.3), ("L2", 2.0)])
def test_robust_accuracy_agrees_with_torchattacks_within_two_points(
    norm, eps, shared_data, pretrained, record_property
):
    torchattacks = pytest.importorskip("torchattacks")
    net = pretrained("mnist_cnn_a_adv")
    batch = next(iter(batches(load_data(str(shared_data / "data" / "mnist" / "test.npz")), 100)))
    ours, theirs, seconds = [], [], [0.0, 0.0]
    for seed in (0, 1):
        begin = time.perf_counter()
        ours.append(robust_accuracy(Square(norm=norm, eps=eps, queries=1000), net, batch.x, batch.y, seed=seed))
        middle = time.perf_counter()
        peer = torchattacks.Square(net, norm=norm, eps=eps, n_queries=1000, p_init=0.8, resc_schedule=False, seed=seed)
        x_adv = peer(batch.x, batch.y)
        seconds = [seconds[0] + middle - begin, seconds[1] + time.perf_counter() - middle]
        with torch.no_grad():
            right = (net(batch.x).argmax(1) == batch.y) & (net(x_adv).argmax(1) == batch.y)
        theirs.append(float(right.double().mean()))
    record_property("figures", f"ours {ours} in {seconds[0]:.1f} s, torchattacks {theirs} in {seconds[1]:.1f} s")
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.0201)


def test_a_trial_gives_up_only_the_rows_that_lag_behind():
    x, y = digits(40)
    classifier = Classifier(digits_cnn())
    attack, whole = Square(eps=0.05, queries=60, trial=20), Square(eps=0.05, queries=60)
    with classifier.frozen():
        results = []
        for engine, clean, rival in (
            (Engine(attack, classifier), -1e-9, -1e-9),
            (Engine(attack, classifier), -1e-9, -1e9),
            (Engine(attack, classifier), -1e9, 1e9),  # it has left nearly nothing of the lead
            (Engine(attack, classifier), -torch.inf, -torch.inf),  # nothing is known
            (Engine(whole, classifier), -1e-9, 1e9),
        ):
            engine.submit(x, torch.arange(40), y, torch.full((40,), clean), torch.full((40,), rival))
            done = Rows.join(list(engine.run(drain=True)))
            results.append(done.take(done.position.argsort()))
    lagging, *others, all_of_them = results
    assert lagging.queries.max() == 20  # nothing catches up with such a rival
    assert not (lagging.broken & ~all_of_them.broken).any()
    for other in others:
        for name in ("x_adv", "broken", "queries", "margin"):
            assert getattr(other, name).equal(getattr(all_of_them, name))


def test_a_trial_needs_one_start_and_the_margin():
    for change in ({"loss": "ce"}, {"restarts": 2}, {"target": 1}):
        with pytest.raises(ConfigurationError, match="expected no trial"):
            Square(trial=10, **change)


def test_a_radius_of_thousands_divided_by_the_length_of_nothing_is_finite():
    nothing = torch.zeros(1, 1, 1, 4)
    assert bool((1e6 * nothing / _length(nothing, (1, 2, 3), 1)).isfinite().all())
    assert bool((torch.tensor(1e6) / _length(nothing, (1, 2, 3), 1)).isfinite().all())
