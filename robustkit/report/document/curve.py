"""The accuracy curve and the nearest distances, as a report holds them: knowing what the evaluation found, too."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from robustkit.attacks.radius import eps_text, unit_of
from robustkit.attacks.threat import parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.evaluation.curve import Curve, Distances
from robustkit.evaluation.result import Evaluation
from robustkit.report.document.report import AccuracyCurve, CurvePoint, Nearest

_Found = TypeVar("_Found", Curve, Distances)


def curve_of(curve: Curve, evaluation: Evaluation) -> AccuracyCurve:
    """Returns what a report says about the curve of the model that was evaluated."""
    curve = _informed(curve, evaluation)
    points = zip(curve.radii, curve.accuracy, strict=True)
    return AccuracyCurve(
        norm=curve.norm,
        protocol=curve.label,
        points=tuple(CurvePoint(eps_text(eps), parse_eps(eps), accuracy) for eps, accuracy in points),
    )


def nearest_of(distances: Distances, evaluation: Evaluation) -> Nearest:
    """Returns what a report says about minimal distances for the model that was evaluated."""
    distances = _informed(distances, evaluation)
    deciles = [distances.quantile(tenth / 10) for tenth in range(1, 10)]
    return Nearest(
        norm=distances.norm,
        attacks=distances.attacks,
        deciles=tuple(value if np.isfinite(value) else None for value in deciles),
    )


def _informed(found: _Found, evaluation: Evaluation) -> _Found:
    """Returns it with the nearer points that the evaluation found, so that no report contradicts itself.

    Raises:
        ConfigurationError: If one of them has an eps per coordinate and the other another one, or none.
    """
    if found.unit != unit_of(evaluation.threat.eps):
        raise ConfigurationError(
            f"report: expected curve and distances in the unit of the evaluation, whose eps is {evaluation.threat.eps},"
            f" got {found.unit or 'one eps for all coordinates'}; give their attacks the same eps, in any size"
        )
    comparable = evaluation.threat.target is None and found.norm == evaluation.threat.norm
    return found.informed(evaluation.ledger) if comparable else found
