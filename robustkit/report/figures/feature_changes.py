"""What an attack did to rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from robustkit.base.per_coordinate import PerCoordinate
from robustkit.report.document.gallery import ChangedRow, FeatureChange
from robustkit.report.figures.pictures import answers

if TYPE_CHECKING:
    from robustkit.attacks.threat import Threat
    from robustkit.evaluation.gallery import Example

MOST = 8  # features of a row that are listed


def feature_changes(
    clean: ArrayLike, adversarial: ArrayLike, eps: PerCoordinate | None, names: Sequence[str] | None = None
) -> tuple[tuple[FeatureChange, ...], int]:
    """Returns the features moved most, the first of equals first, and how many were moved in all.

    Args:
        clean: A row before the attack, shape (F,).
        adversarial: The same after it.
        eps: The perturbation radius of every feature where they differ: changes are compared in units of it.
        names: Of the features.
    """
    before, after = (np.asarray(values, dtype=np.float64) for values in (clean, adversarial))
    moved = np.abs(after - before)
    changed = int(np.count_nonzero(moved))
    if eps is not None:
        unit = np.broadcast_to(np.array(eps.values).reshape(eps.shape), moved.shape)
        moved = np.divide(moved, unit, out=np.zeros_like(moved), where=unit > 0)
    most = np.argsort(-moved, kind="stable")[: min(MOST, changed)]
    listed = (FeatureChange(int(i), names[i] if names else None, float(before[i]), float(after[i])) for i in most)
    return tuple(listed), changed


def changed_row(
    example: Example, names: Sequence[str], threat: Threat, features: Sequence[str] | None
) -> ChangedRow | None:
    """Returns an example as the report lists it, None where it is no row of a table, or the table has a schema.

    Args:
        example: The sample with its worst point.
        names: Of the classes.
        threat: The threat model.
        features: Names of the features, where they are known.
    """
    if example.x.ndim != 1 or threat.schema is not None:
        return None
    eps = threat.eps if isinstance(threat.eps, PerCoordinate) else None
    known = features if features and len(features) == len(example.x) else None
    listed, changed = feature_changes(example.x.numpy(), example.x_adv.numpy(), eps, known)
    return ChangedRow(**answers(example, names, threat), features=listed, changed=changed)
