"""The geometry of the three norms against slow references and exact cases."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from nets import generator

from robustkit.maths.norms import NORMS, has_room, in_ball, per_row, size, steepest, where_rows

ORDER = {"Linf": np.inf, "L2": 2, "L1": 1}


@pytest.mark.parametrize("norm", NORMS)
def test_size_is_the_norm_of_every_row_in_float64(norm):
    delta = torch.randn(4, 3, 2, 2, generator=generator())
    found = size(delta, norm)
    assert found.dtype == torch.float64
    expected = [np.linalg.norm(row.double().flatten().numpy(), ORDER[norm]) for row in delta]
    assert found.numpy() == pytest.approx(np.array(expected), rel=1e-14)


def test_per_row_broadcasts_over_the_other_axes():
    assert per_row(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape == (2, 1, 1)


@pytest.mark.parametrize("chosen", [[True, False, True], [False, True, False], [True] * 3, [False] * 3])
def test_where_rows_takes_the_chosen_rows_of_the_first_and_the_others_of_the_second(chosen):
    a, b = torch.arange(12.0).view(3, 2, 2), -1 - torch.arange(12.0).view(3, 2, 2)
    found = where_rows(torch.tensor(chosen), a, b)
    for row, first in enumerate(chosen):
        assert torch.equal(found[row], (a if first else b)[row])


def test_where_rows_copies_nothing_where_all_rows_agree():
    a, b = torch.zeros(2, 3), torch.ones(2, 3)
    assert where_rows(torch.tensor([True, True]), a, b) is a
    assert where_rows(torch.tensor([False, False]), a, b) is b


def test_there_is_room_only_on_the_side_the_gradient_points_to():
    lower, upper = torch.full((1, 6), 0.25), torch.full((1, 6), 0.75)
    x = torch.tensor([[0.25, 0.25, 0.75, 0.75, 0.5, 0.5]])
    grad = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]])
    assert has_room(x, grad, lower, upper).tolist() == [[True, False, False, True, True, True]]


def test_rounding_noise_is_no_room_and_an_open_side_always_has_some():
    lower, upper = torch.zeros(1, 3, dtype=torch.float64), torch.full((1, 3), 2.0, dtype=torch.float64)
    x = torch.tensor([[2 - 1e-6, 2 - 3e-6, 1e-6]], dtype=torch.float64)  # the noise is 1e-6 of the width 2
    grad = torch.tensor([[1.0, 1.0, -1.0]], dtype=torch.float64)
    assert has_room(x, grad, lower, upper).tolist() == [[False, True, False]]
    open_end = torch.full_like(upper, torch.inf)
    assert has_room(x, grad, -open_end, open_end).all()
    assert has_room(x, grad, lower, open_end).tolist() == [[True, True, False]]


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
