"""The threat: projection and verification agree to the last bit, and radii are read exactly."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import generator

from robustkit.attacks.radius import eps_text
from robustkit.attacks.threat import Threat, ThreatViolation, parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.maths.norms import NORMS
from robustkit.maths.random_numbers import Stream

PIXEL = st.one_of(
    st.sampled_from([0.0, 1.0]),
    st.integers(0, 255).map(lambda level: np.float32(level) / np.float32(255)),
    st.floats(0, 1, width=32),
)
RADIUS = st.one_of(st.sampled_from(["8/255", "1/255", 0.3, 1e-3, 1e-7, 1e-12, 1e-40, 0.0]), st.floats(0, 1))


@st.composite
def situation(draw):
    """Returns a threat, clean rows, and points anywhere around them."""
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    bounds = draw(st.sampled_from([(0.0, 1.0), (-0.1, 1.3), (-3.0, 7.7)]))
    threat = Threat(norm=draw(st.sampled_from(NORMS)), eps=draw(RADIUS), bounds=bounds)
    shape = (2, draw(st.integers(1, 12)))
    x = torch.from_numpy(draw(hnp.arrays(np.float32, shape, elements=PIXEL))).to(dtype)
    x = (x * (bounds[1] - bounds[0]) + bounds[0]).clamp(*bounds)
    away = hnp.arrays(np.float32, shape, elements=st.one_of(st.sampled_from([0.0, 9.0]), st.floats(-2, 2, width=32)))
    scale = draw(st.sampled_from([1.0, threat.radius, 1e-3]))
    return threat, x, x + scale * torch.from_numpy(draw(away)).to(dtype)


@given(situation())
def test_every_projected_point_is_verified_without_tolerance(case):
    threat, x, anywhere = case
    found = threat.project(anywhere, x, *threat.limits(x))
    assert found.dtype == x.dtype
    threat.verify(found, x, "test")


@given(situation())
def test_points_well_inside_are_left_bit_for_bit(case):
    threat, x, anywhere = case
    inside = (x.double() + (anywhere.double() - x.double()) * 0.4).to(x.dtype).clamp(*threat.bounds)
    inside = torch.where(threat.contains(inside, x).unsqueeze(1), inside, x)
    well = threat.distance(inside, x) <= 0.99 * threat.radius
    moved = (threat.project(inside, x, *threat.limits(x)) - inside).abs()[well]
    # A point is x plus a difference, so it is rounded as the larger of itself and x is.
    assert (moved <= torch.finfo(x.dtype).eps * torch.maximum(inside[well].abs(), x[well].abs())).all()


@given(situation())
def test_projecting_twice_is_projecting_once_up_to_one_rounding(case):
    threat, x, anywhere = case
    limits = threat.limits(x)
    once = threat.project(anywhere, x, *limits)
    twice = threat.project(once, x, *limits)
    assert ((twice - once).abs() <= 2 * torch.finfo(x.dtype).eps * max(map(abs, threat.bounds))).all()
    if threat.norm == "Linf":
        assert twice.equal(once)


@given(situation())
def test_at_radius_zero_every_point_projects_to_x_bit_for_bit(case):
    threat, x, anywhere = case
    none = Threat(norm=threat.norm, eps=0, bounds=threat.bounds)
    assert none.project(anywhere, x, *none.limits(x)).equal(x)


@given(situation())
def test_the_projection_is_no_further_from_the_point_than_any_random_point_of_the_threat(case):
    threat, x, anywhere = case
    if threat.norm == "L2":  # scaling then clipping is inside but not always the nearest point
        return
    limits = threat.limits(x)
    found = threat.project(anywhere, x, *limits)
    stream, row = Stream(0, "test"), torch.arange(len(x))
    for step in range(5):
        other = threat.project(threat.random(x, stream, row, row, row + step), x, *limits)
        nearest, rival = (torch.linalg.vector_norm((p - anywhere).double(), dim=1) for p in (found, other))
        assert (nearest <= rival + 1e-5 * (1 + rival)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_unit_in_the_last_place_outside_the_ball_is_refused(dtype, norm, sign):
    threat = Threat(norm=norm, eps="8/255")
    x = torch.full((1, 3, 2, 2), 0.5, dtype=dtype)
    far = x.clone()
    far[0, 1, 1, 0] += sign
    edge = threat.project(far, x, *threat.limits(x))
    threat.verify(edge, x, "test")
    beyond = edge.clone()
    # L2 and L1 keep a margin of 1e-12 eps for the order of summation, more than one unit of float64.
    units = 1 if norm == "Linf" or dtype == torch.float32 else 2000
    for _ in range(units):
        beyond[0, 1, 1, 0] = torch.nextafter(beyond[0, 1, 1, 0], far[0, 1, 1, 0])
    assert threat.contains(edge, x).tolist() == [True]
    assert threat.contains(beyond, x).tolist() == [False]
    with pytest.raises(ThreatViolation, match=rf"^me: expected points within {norm} 8/255 .*got row 0 at 0\.0313"):
        threat.verify(beyond, x, "me")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("corner", "way"), [(0.0, -1.0), (1.0, 2.0)])
def test_one_unit_outside_the_box_is_refused(dtype, corner, way):
    threat = Threat(norm="L2", eps=3)
    x = torch.full((2, 5), corner, dtype=dtype)
    outside = x.clone()
    outside[1, 2] = torch.nextafter(outside[1, 2], torch.tensor(way, dtype=dtype))
    assert threat.contains(outside, x).tolist() == [True, False]
    with pytest.raises(ThreatViolation, match="row 1"):
        threat.verify(outside, x, "test")


@pytest.mark.parametrize("norm", NORMS)
def test_points_that_are_not_numbers_are_refused(norm):
    x = torch.full((2, 3), 0.5)
    broken = x.clone()
    broken[1, 1] = torch.nan
    assert Threat(norm=norm).contains(broken, x).tolist() == [True, False]


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_differ_between_rows_and_fill_the_ball(norm):
    threat = Threat(norm=norm, eps=0.25)
    x = torch.full((500, 3), 0.5, dtype=torch.float64)
    row, zero = torch.arange(500), torch.zeros(500, dtype=torch.int64)
    points = threat.random(x, Stream(0, "test"), row, zero, zero)
    assert threat.contains(points, x).all()
    assert len(points.unique(dim=0)) == 500
    assert threat.distance(points, x).max() > 0.24
    assert (points > 0.5).double().mean(0).numpy() == pytest.approx(0.5, abs=0.1)


def test_limits_are_the_box_except_in_linf_where_they_are_ball_and_box():
    x = torch.tensor([[0.0, 0.25, 1.0]])
    low, high = Threat(norm="Linf", eps=0.5).limits(x)
    assert low.tolist() == [[0, 0, 0.5]]
    assert high.tolist() == [[0.5, 0.75, 1]]
    low, high = Threat(norm="L1", eps=0.5, bounds=(-1, 2)).limits(x)
    assert low.tolist() == [[-1] * 3]
    assert high.tolist() == [[2] * 3]


def test_unbounded_inputs_have_only_a_ball():
    for norm in NORMS:
        threat = Threat(norm=norm, eps=2.0, bounds=(-np.inf, np.inf))
        x = torch.randn(4, 6, generator=generator()) * 100
        found = threat.project(x + 50, x, *threat.limits(x))
        threat.verify(found, x, "test")
        assert threat.distance(found, x).numpy() == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize(
    ("eps", "radius"),
    [
        *(("8/255", 8 / 255), (" 8/255 ", 8 / 255), ("0.3", 0.3), ("1e-3", 1e-3), ("0", 0.0)),
        *((0, 0.0), (Fraction(1, 3), 1 / 3), (12, 12.0), (0.1, 0.1)),
    ],
)
def test_a_radius_is_read_exactly(eps, radius):
    assert parse_eps(eps) == radius == Threat(norm="L2", eps=eps).radius


@pytest.mark.parametrize(
    "eps", ["8//255", "-1", -0.1, "nan", float("nan"), "-inf", "1/0", "abc", "", "1e999", None, [1]]
)
def test_what_is_no_radius_is_refused_in_one_line(eps):
    with pytest.raises(ConfigurationError, match=r"^eps: expected a number >= 0 or a fraction") as caught:
        Threat(norm="L2", eps=eps)
    assert repr(eps) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        *(("8/255", "8/255"), (" 0.30 ", "0.30"), (Fraction(8, 255), "8/255"), (8 / 255, "8/255"), (1 / 255, "1/255")),
        *((0.3, "0.3"), (0.2, "0.2"), (1.0, "1"), (12, "12"), (0, "0"), (0.123456789, "0.123456789")),
    ],
)
def test_a_radius_is_written_as_a_person_would_and_reads_back_the_same(eps, text):
    assert eps_text(eps) == text
    assert parse_eps(text) == parse_eps(eps)


def test_a_grey_level_radius_on_unit_inputs_is_refused():
    with pytest.raises(ConfigurationError, match=r"within the input range 0\.\.1, got 8; .* is written 8/255"):
        Threat(eps=8)
    Threat(eps=8, bounds=(0, 255))
    Threat(norm="L2", eps=8)
    Threat(eps=1)


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (float("nan"), 1)])
def test_bounds_must_be_in_order(bounds):
    with pytest.raises(ConfigurationError, match="low < high"):
        Threat(bounds=bounds)


@pytest.mark.parametrize(("norm", "near"), [("linf", "Linf"), ("L_2", "L2"), ("l1", "L1"), ("L-inf", "Linf")])
def test_an_unknown_norm_is_refused_with_a_suggestion(norm, near):
    with pytest.raises(ConfigurationError, match=f"among Linf, L2, L1, .* got '{norm}'; did you mean '{near}'"):
        Threat(norm=norm)


def test_a_threat_is_a_value():
    assert Threat(eps="8/255") == Threat(eps="8/255")
    assert len({Threat(), Threat(), Threat(norm="L2")}) == 2
    with pytest.raises(AttributeError):
        Threat().eps = 1
