"""The shortest way to a hyperplane in a box: compared with linear programming and with trying every set of bounds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import generator
from scipy.optimize import linprog

from robustkit.maths.hyperplane import distance, shortest
from robustkit.maths.norms import NORMS, size

every_norm = pytest.mark.parametrize("norm", NORMS)
number = st.integers(-8, 8).map(lambda k: k / 4)
room = st.one_of(st.just(0.0), st.integers(1, 12).map(lambda k: k / 4))


@st.composite
def problems(draw):
    """Draws normal (d,), gap, lower (d,), upper (d,), many of whose entries are zero or equal."""
    d = draw(st.integers(1, 5))
    parts = [draw(st.lists(kind, min_size=d, max_size=d)) for kind in (number, room, room)]
    normal, down, up = (torch.tensor(part, dtype=torch.float64) for part in parts)
    return normal, draw(st.integers(-40, 40)) / 8, -down, up


def solve(normal, gap, lower, upper, norm):
    """Returns the solution for one row."""
    gap = torch.as_tensor([gap], dtype=torch.float64)
    return shortest(normal.unsqueeze(0), gap, lower.unsqueeze(0), upper.unsqueeze(0), norm)[0]


def gap_range(normal, gap, lower, upper):
    """Returns the least and the largest gap + <normal, delta> over the box."""
    ends = torch.stack([normal * lower, normal * upper])
    return gap + float(ends.amin(0).sum()), gap + float(ends.amax(0).sum())


def least_by_programming(normal, gap, lower, upper, norm):
    """Returns the least Linf or L1 size of a delta on the hyperplane in the box, by a linear programme."""
    n, d = normal.numpy(), len(normal)
    bounds = list(zip(lower.tolist(), upper.tolist(), strict=True))
    eye = np.eye(d)
    if norm == "Linf":  # variables delta, t with |delta_i| <= t
        cost, extra = np.r_[np.zeros(d), 1], np.ones((d, 1))
    else:  # variables delta, t_1 .. t_d with |delta_i| <= t_i
        cost, extra = np.r_[np.zeros(d), np.ones(d)], eye
    width = extra.shape[1]
    found = linprog(
        cost,
        A_ub=np.block([[eye, -extra], [-eye, -extra]]),
        b_ub=np.zeros(2 * d),
        A_eq=np.r_[n, np.zeros(width)][None],
        b_eq=[-gap],
        bounds=bounds + [(0, None)] * width,
    )
    assert found.success
    return found.fun


def least_by_trying(normal, gap, lower, upper):
    """Returns the least L2 size: every coordinate is at its lower bound, at its upper bound, or on the normal."""
    best = np.inf
    n, low, high = normal.numpy(), lower.numpy(), upper.numpy()
    for kind in product("lun", repeat=len(n)):
        free = np.array([k == "n" for k in kind])
        delta = np.where([k == "l" for k in kind], low, high) * ~free
        left = -gap - n @ delta
        steep = (n[free] ** 2).sum()
        if steep:
            delta[free] = left / steep * n[free]
        inside = (delta >= low - 1e-9).all() and (delta <= high + 1e-9).all()
        if inside and abs(n @ delta + gap) < 1e-9:
            best = min(best, np.linalg.norm(delta))
    return best


@every_norm
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_it_stays_in_the_box_and_comes_as_near_to_the_hyperplane_as_the_box_allows(norm, problem):
    normal, gap, lower, upper = problem
    delta = solve(normal, gap, lower, upper, norm)
    assert (delta >= lower).all()
    assert (delta <= upper).all()
    least, most = gap_range(*problem)
    nearest = min(max(0.0, least), most)
    assert float(gap + normal @ delta) == pytest.approx(nearest, abs=1e-12)


@every_norm
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_no_point_of_the_hyperplane_in_the_box_is_nearer(norm, problem):
    least, most = gap_range(*problem)
    if not least <= 0 <= most:
        return
    delta = solve(*problem, norm)
    expected = least_by_trying(*problem) if norm == "L2" else least_by_programming(*problem, norm)
    assert float(size(delta.unsqueeze(0), norm)) == pytest.approx(expected, abs=1e-9)


@every_norm
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_a_coordinate_moves_toward_the_hyperplane_or_not_at_all(norm, problem):
    normal, gap, _, _ = problem
    delta = solve(*problem, norm)
    assert (delta * normal * gap <= 0).all()
    assert (delta[normal == 0] == 0).all()
    if gap == 0:
        assert (delta == 0).all()


@every_norm
@pytest.mark.parametrize("far", [1e9, torch.inf])
def test_without_a_box_the_length_is_the_gap_over_the_dual_norm(norm, far):
    normal = torch.randn(20, 2, 5, generator=generator(), dtype=torch.float64)
    normal[:, 0, 0] = 0
    gap = torch.randn(20, generator=generator(1), dtype=torch.float64)
    room = torch.full_like(normal, far)
    delta = shortest(normal, gap, -room, room, norm)
    dual = {"Linf": 1, "L2": 2, "L1": torch.inf}[norm]
    expected = gap.abs() / torch.linalg.vector_norm(normal.flatten(1), dual, dim=1)
    assert delta.shape == normal.shape
    torch.testing.assert_close(size(delta, norm), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(distance(normal, gap, norm), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close((normal * delta).flatten(1).sum(1), -gap, rtol=1e-12, atol=0)


@every_norm
def test_a_box_open_to_one_side_only_is_used_on_that_side(norm):
    normal = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    lower, upper = torch.tensor([[0.0, 0.0]]), torch.tensor([[torch.inf, 0.5]])
    delta = shortest(normal, torch.tensor([-3.0]), lower, upper, norm)
    torch.testing.assert_close(delta, torch.tensor([[2.0, 0.5]]))
    assert (shortest(normal, torch.tensor([3.0]), lower, upper, norm) == 0).all()


def test_the_three_norms_spread_the_way_as_their_balls_do():
    normal = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64)
    room = torch.ones_like(normal)
    found = {norm: shortest(normal, torch.tensor([-3.5]), -room, room, norm)[0].tolist() for norm in NORMS}
    assert found["Linf"] == pytest.approx([0.5, 0.5, 0])
    assert found["L2"] == pytest.approx([0.42, 0.56, 0])
    assert found["L1"] == pytest.approx([0, 0.875, 0])


@every_norm
def test_a_zero_normal_moves_nothing_and_is_further_than_any_other(norm):
    normal = torch.zeros(3, 4, dtype=torch.float64)
    normal[2, 1] = 1e-30
    gap, room = torch.tensor([1.0, 0.0, 1.0]), torch.ones(3, 4)
    assert (shortest(normal, gap, -room, room, norm)[:2] == 0).all()
    far = distance(normal, gap, norm)
    assert far[0] > far[2] > 1e29
    assert not far.isnan().any()


@every_norm
@pytest.mark.parametrize("factor", [1e-150, 1e-30, 1e30, 1e150])
def test_the_scale_of_the_function_does_not_matter(norm, factor):
    normal = torch.randn(5, 9, generator=generator(), dtype=torch.float64)
    gap = 3 * torch.randn(5, generator=generator(1), dtype=torch.float64)
    room = torch.rand(5, 9, generator=generator(2), dtype=torch.float64)
    plain = shortest(normal, gap, -room, room, norm)
    torch.testing.assert_close(shortest(normal * factor, gap * factor, -room, room, norm), plain, rtol=1e-9, atol=1e-12)


@every_norm
def test_rows_do_not_know_of_each_other(norm):
    normal = torch.randn(9, 3, 4, 4, generator=generator(), dtype=torch.float64)
    gap = 5 * torch.randn(9, generator=generator(1), dtype=torch.float64)
    lower, upper = -torch.rand(normal.shape, generator=generator(2)), torch.rand(normal.shape, generator=generator(3))
    whole = shortest(normal, gap, lower, upper, norm)
    for i in range(9):
        one = shortest(normal[i : i + 1], gap[i : i + 1], lower[i : i + 1], upper[i : i + 1], norm)
        assert one[0].equal(whole[i])


@every_norm
def test_a_large_image_is_met_to_the_last_bits(norm):
    normal = torch.randn(2, 3, 150, 150, generator=generator(), dtype=torch.float32)
    x = torch.rand(normal.shape, generator=generator(1), dtype=torch.float64)
    gap = torch.tensor([900.0, -4000.0])
    delta = shortest(normal, gap, -x, 1 - x, norm)
    assert delta.dtype == torch.float64
    left = gap + (normal.double() * delta).flatten(1).sum(1)
    assert (left.abs() < 1e-9 * gap.abs()).all()
    assert ((x + delta == 0) | (x + delta == 1)).any()
