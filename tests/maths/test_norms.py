"""The geometry of the three norms against slow references and exact cases."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import generator

from robustkit.maths.norms import NORMS, cube, in_ball, per_row, project_l1, project_l2, shift, size, steepest

ORDER = {"Linf": np.inf, "L2": 2, "L1": 1}
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


@pytest.mark.parametrize("norm", NORMS)
def test_size_is_the_norm_of_every_row_in_float64(norm):
    delta = torch.randn(4, 3, 2, 2, generator=generator())
    found = size(delta, norm)
    assert found.dtype == torch.float64
    expected = [np.linalg.norm(row.double().flatten().numpy(), ORDER[norm]) for row in delta]
    assert found.numpy() == pytest.approx(np.array(expected), rel=1e-14)


def test_per_row_broadcasts_over_the_other_axes():
    assert per_row(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape == (2, 1, 1)


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


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
def test_steepest_step_has_length_one_whatever_the_scale_of_the_gradient(norm, scale):
    grad = torch.randn(5, 3, 4, generator=generator()) * scale
    assert (grad.flatten(1).abs().amax(1) > 0).all()
    assert size(steepest(grad, norm, share=0.3), norm).numpy() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_step_gains_what_the_dual_norm_promises(norm):
    grad = torch.randn(5, 12, generator=generator(), dtype=torch.float64)
    dual = {"Linf": 1, "L2": 2, "L1": np.inf}[norm]
    gain = (grad * steepest(grad, norm, share=0)).sum(1)
    assert gain.numpy() == pytest.approx(torch.linalg.vector_norm(grad, dual, dim=1).numpy(), rel=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_rows_without_gradient_stay_where_they_are(norm):
    grad = torch.zeros(2, 4)
    grad[1, 2] = -3
    assert steepest(grad, norm, share=1).tolist() == [[0] * 4, [0, 0, -1, 0]]


def test_l1_step_uses_the_largest_movable_coordinates_only():
    grad = torch.tensor([[5.0, -4.0, 3.0, 0.1]])
    movable = torch.tensor([[False, True, True, True]])
    assert steepest(grad, "L1", movable, share=0.25).tolist() == [[0, -1, 0, 0]]
    assert steepest(grad, "L1", movable, share=0.5).numpy() == pytest.approx(np.array([[0, -4 / 7, 3 / 7, 0]]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dimension", [1, 2, 7])
def test_points_of_the_ball_are_uniform(norm, dimension):
    """Uniform means: radius**d is uniform, the signs are fair, and no coordinate is special."""
    n = 20_000
    uniform = torch.rand(n, dimension, generator=generator(), dtype=torch.float64)
    normal = torch.randn(n, dimension, generator=generator(1), dtype=torch.float64)
    points = in_ball(uniform, normal, norm)
    radius = size(points, norm)
    assert (radius <= 1).all()
    assert scipy.stats.kstest((radius**dimension).numpy(), "uniform").pvalue > 1e-3
    assert points.mean(0).abs().max() < 4 / n**0.5
    directions = (points / radius.unsqueeze(1)).numpy()
    # By symmetry every coordinate has the law of the first one of a direct construction.
    direct = np.random.default_rng(0).uniform(-1, 1, (400_000, dimension))
    direct = direct[np.linalg.norm(direct, ORDER[norm], axis=1) <= 1]
    if norm == "L1":
        direct = np.random.default_rng(0).laplace(size=(n, dimension))
    elif norm == "L2":
        direct = np.random.default_rng(0).normal(size=(n, dimension))
    direct = direct / np.linalg.norm(direct, ORDER[norm], axis=1, keepdims=True)
    if dimension > 1:
        for coordinate in range(dimension):
            assert scipy.stats.ks_2samp(directions[:, coordinate], direct[:, 0]).pvalue > 1e-3
