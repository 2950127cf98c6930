"""The curves of the report."""

from __future__ import annotations

import dataclasses

from report_examples import audit

from robustkit.maths.intervals import proportion
from robustkit.report import AccuracyCurve, CurvePoint
from robustkit.report.figures.curves import accuracy_curve


def drawn(*left: int) -> str:
    """The curve of an audit at 8/255 on which so many of 500 samples are left at 4, 8, 12, ... of 255."""
    points = [CurvePoint(f"{4 * i}/255", 4 * i / 255, proportion(k, 500)) for i, k in enumerate(left, 1)]
    return str(accuracy_curve(dataclasses.replace(audit(), curve=AccuracyCurve("Linf", "fast", tuple(points))), "it"))


def test_the_axis_ends_where_no_sample_is_left():
    figure = drawn(300, 100, 0, 0, 0)
    assert ">12/255<" in figure
    assert ">16/255<" not in figure
    assert "eps (Linf), no sample left beyond" in figure
    assert "20/255: 0.0" in figure  # the description names every point


def test_the_axis_holds_the_eps_of_the_audit_and_every_radius_with_samples():
    assert ">8/255<" in drawn(0, 0, 0)
    assert ">12/255<" in drawn(300, 100, 5)
    assert "no sample left" not in drawn(300, 100, 0)
