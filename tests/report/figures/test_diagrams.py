"""The diagrams of the report."""

from __future__ import annotations

import dataclasses

from report_examples import audit

from robustkit.report.figures.diagrams import convergence


def test_every_loss_curve_says_how_much_it_still_moved_at_the_end():
    attack = audit().attacks[1]
    flat, rising = (dataclasses.replace(attack, loss_path=path) for path in ((1.0,) * 9, tuple(range(11))))
    figure = str(convergence([flat, rising], "it"))
    assert ">9 steps, nothing moved<" in figure
    assert ">11 steps, 10.0\N{NO-BREAK SPACE}% in the last tenth<" in figure
