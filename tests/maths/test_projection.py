"""Projection and rounding against slow references and exact cases."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import generator

from robustkit.maths.norms import size
from robustkit.maths.projection import cube, project_l1, project_l2, shift

COORDINATE = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 0.5]), st.floats(-3, 3))


@st.composite
def boxed(draw):
    """Returns delta, its lowest and its highest allowed value, and a radius, for a few rows."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 7)))
    delta = draw(hnp.arrays(float, shape, elements=COORDINATE))
    room = hnp.arrays(float, shape, elements=st.one_of(st.just(0.0), st.floats(0, 1)))
    eps = draw(st.one_of(st.sampled_from([0.0, 1e-9, 0.1, 1.0, 30.0]), st.floats(0, 4)))
    return delta, -draw(room), draw(room), eps


def reference_l1(delta, lower, upper, eps):
    """The nearest point of ball and box of one row, by bisection on the multiplier of the norm."""

    def at(t):
        return np.clip(np.sign(delta) * np.maximum(np.abs(delta) - t, 0), lower, upper)

    if np.abs(at(0)).sum() <= eps:
        return at(0)
    below, above = 0.0, np.abs(delta).max()
    for _ in range(200):
        middle = (below + above) / 2
        below, above = (middle, above) if np.abs(at(middle)).sum() > eps else (below, middle)
    return at(above)


@given(boxed())
def test_l1_projection_is_the_nearest_point_of_ball_and_box(problem):
    delta, lower, upper, eps = problem
    found = project_l1(torch.from_numpy(delta), eps, torch.from_numpy(lower), torch.from_numpy(upper)).numpy()
    expected = np.stack([reference_l1(*row, eps) for row in zip(delta, lower, upper, strict=True)])
    assert found == pytest.approx(expected, abs=1e-11)
    assert (found >= lower).all()
    assert (found <= upper).all()
    assert (np.abs(found).sum(1) <= eps).all()


@pytest.mark.parametrize("dimension", [20, 3000, 150_528])
def test_l1_projection_of_many_coordinates_meets_the_radius_and_beats_clipping(dimension):
    delta = torch.randn(3, dimension, generator=generator(), dtype=torch.float64)
    upper = torch.rand(3, dimension, generator=generator(1), dtype=torch.float64)
    lower, eps = upper - 1, dimension**0.5
    found = project_l1(delta, eps, lower, upper)
    assert (size(found, "L1") <= eps).all()
    assert size(found, "L1").numpy() == pytest.approx(eps, rel=1e-11)
    ball_only = project_l1(delta, eps, torch.full_like(delta, -torch.inf), torch.full_like(delta, torch.inf))
    clipped = ball_only.clamp(lower, upper)
    assert (size(delta - found, "L2") < size(delta - clipped, "L2") - 1e-6).all()


def test_l1_projection_onto_the_ball_alone_is_soft_thresholding():
    delta = torch.tensor([[3.0, -1.0, 0.5]], dtype=torch.float64)
    far = torch.full_like(delta, 100)
    assert project_l1(delta, 2.0, -far, far).numpy() == pytest.approx(np.array([[2.0, 0.0, 0.0]]), abs=1e-11)
    assert project_l1(delta, 3.0, -far, far).numpy() == pytest.approx(np.array([[2.5, -0.5, 0.0]]), abs=1e-11)


@given(
    hnp.arrays(float, (2, 5), elements=COORDINATE),
    st.one_of(st.sampled_from([0.0, 1e-300, 1e-9]), st.floats(1e-100, 9)),
)
def test_l2_projection_scales_into_the_ball_and_leaves_inner_points_alone(delta, eps):
    delta = np.where(np.abs(delta) < 1e-150, 0.0, delta)  # whose squares are no numbers any more
    found = project_l2(torch.from_numpy(delta), eps).numpy()
    for row, moved in zip(delta, found, strict=True):
        length = np.linalg.norm(row)
        expected = row if length <= eps * (1 - 1e-11) else row * eps / length
        assert moved == pytest.approx(expected, rel=1e-11, abs=1e-200)
        assert np.linalg.norm(moved) <= eps


@given(
    hnp.arrays(np.float32, (9,), elements=st.floats(0, 1, width=32)),
    st.floats(0, 1),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_cube_ends_are_the_last_representable_points_inside(x, eps, dtype):
    x = torch.from_numpy(x).to(dtype)
    low, high = cube(x, eps, (0.0, 1.0))
    assert low.dtype == high.dtype == dtype
    for end, way in ((low, -torch.inf), (high, torch.inf)):
        assert ((end.double() - x.double()).abs() <= eps).all()
        beyond = torch.nextafter(end, torch.full_like(end, way))
        for point, centre in zip(beyond.tolist(), x.tolist(), strict=True):
            assert abs(Fraction(point) - Fraction(centre)) > Fraction(eps) or not 0 <= point <= 1


@given(
    hnp.arrays(np.float32, (6,), elements=st.floats(0, 1, width=32)),
    hnp.arrays(float, (6,), elements=st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 8 / 255, -1e-9]))),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_shift_never_goes_further_than_told_and_misses_by_one_unit_at_most(x, delta, dtype):
    x, delta = torch.from_numpy(x).to(dtype), torch.from_numpy(delta)
    found = shift(x, delta)
    assert found.dtype == dtype
    moved = (found.double() - x.double()).abs()
    assert (moved <= delta.abs()).all()
    assert (delta.abs() - moved <= torch.finfo(dtype).eps * 2).all()


def test_cube_ends_at_the_bounds():
    x = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    low, high = cube(x, 0.5, (0.0, 1.0))
    assert low.tolist() == [0, 0, 0.5]
    assert high.tolist() == [0.5, 0.75, 1]
