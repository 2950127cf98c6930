"""The figures of an audit that a requirement can be about, by name, each with the interval that decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robustkit.attacks.names import labels, measured_alone
from robustkit.maths.calibration import Calibration, Estimate
from robustkit.maths.intervals import Proportion, confidence_sequence, one_sided
from robustkit.report.document.report import Audit, ClassRow, SliceRow
from robustkit.report.text.attack_rows import attack_rows

if TYPE_CHECKING:
    from robustkit.attacks.protocols import Protocol

SHARES = ("clean_accuracy", "robust_accuracy", "robust_accuracy_stored", "attack_success_rate")
FIGURES = ("ece", "adaptive_ece", "mce", "brier", "nll", "signed_gap", "aurc")
AFTER = "robust_accuracy_after"  # an attack of a cascade and all those before it
_EXACT = "one-sided 95 %"


@dataclass(frozen=True)
class Measure:
    """One figure.

    Attributes:
        value: None where it was not measured.
        low: No larger value is compatible with the sample from below; see `basis`.
        high: The same from above.
        n: Samples it rests on.
        basis: What the two ends are, in a few words.
        share: Its counts, where it is a share whose ends are exact one-sided bounds.
        hits: "k of n", where it is a share.
        family: Whether it is one of many of its kind: a class or a slice.
        chance: The value a perfectly calibrated model would show, for calibration errors that have one.
    """

    value: float | None
    low: float
    high: float
    n: int
    basis: str
    share: Proportion | None = None
    hits: str | None = None
    family: bool = False
    chance: float | None = None


def names(
    classes: Iterable[str] = (),
    protocol: Protocol | None = None,
    slices: Iterable[tuple[str, str]] = (),
    radii: Iterable[str] = (),
) -> tuple[str, ...]:
    """Returns every name a requirement may use, for an audit with these classes, attacks, slices and radii.

    Of an attack, only what it is sure to measure: in a cascade its own figures for the first, what remains for all.


    Args:
        classes: Names of the classes.
        protocol: The attacks.
        slices: Columns and values of the groups file.
        radii: Of the curve, as typed.
    """
    figures = [f"{name}{side}" for side in ("", "_attacked") for name in (*FIGURES, "confident_errors")]
    attacks = protocol.attacks if protocol else ()
    cascade = protocol is not None and protocol.cascade
    called = labels(attacks) if attacks else []
    alone = [c for i, c in enumerate(called) if measured_alone(i, cascade, attacks[i].settings())]
    parts = [*classes, *(f"{column}={value}" for column, value in slices)]
    return (
        *(*SHARES, *figures),
        *(f"accuracy[{attack}]" for attack in alone),
        *(f"attack_success_rate[{attack}]" for attack in alone),
        *(f"{AFTER}[{attack}]" for attack in called if cascade),
        *(f"{name}[{part}]" for name in ("clean_accuracy", "robust_accuracy") for part in parts),
        *(f"robust_accuracy[eps={radius}]" for radius in radii),
    )


def measures(audit: Audit) -> dict[str, Measure]:
    """Returns every figure of the audit under its name."""
    worst, early = audit.worst_case, audit.method.early
    found = {
        "clean_accuracy": _share(audit.clean, early, audit.clean_clustered),
        "robust_accuracy": _share(worst.accuracy, early, worst.clustered),
        "robust_accuracy_stored": _share(worst.stored, early),
        "attack_success_rate": _share(worst.attack_success, early),
    }
    for side, calibration in (("", audit.calibration.clean), ("_attacked", audit.calibration.attacked)):
        found |= {f"{name}{side}": _figure(calibration, name) for name in FIGURES}
        found[f"confident_errors{side}"] = _share(calibration.confident_errors, early)
    for attack in attack_rows(audit):
        one = attack.result
        if attack.alone:
            found[f"accuracy[{one.name}]"] = _share(attack.alone, early)
            found[f"attack_success_rate[{one.name}]"] = _share(one.attack_success, early)
        if audit.method.cascade:
            found[f"{AFTER}[{one.name}]"] = _share(one.accuracy, early)
    parts: list[tuple[str, ClassRow | SliceRow]] = [(row.name, row) for row in audit.per_class]
    for name, row in [*parts, *((f"{row.column}={row.value}", row) for row in audit.slices)]:
        found[f"clean_accuracy[{name}]"] = _share(row.clean, early, family=True)
        found[f"robust_accuracy[{name}]"] = _share(row.robust, early, family=True)
    for point in audit.curve.points if audit.curve else ():
        found[f"robust_accuracy[eps={point.eps}]"] = _share(point.accuracy, early)
    if worst.clustered is None:
        return found
    # Only clean and robust accuracy have an interval over origins; the others say that theirs is not one.
    for name, measure in found.items():
        if name not in ("clean_accuracy", "robust_accuracy"):
            found[name] = dataclasses.replace(measure, basis=f"{measure.basis}, not corrected for common origins")
    return found


def _share(
    share: Proportion | None, early: bool, clustered: tuple[float, float] | None = None, family: bool = False
) -> Measure:
    """Returns a share with exact one-sided bounds, widened for optional stopping and common origins."""
    if share is None or share.value is None:
        return Measure(None, 0.0, 1.0, 0, _EXACT, family=family)
    low, high = one_sided(share.k, share.n)
    wider = [interval for interval in (confidence_sequence(share.k, share.n) if early else None, clustered) if interval]
    corrected = [what for what, given in (("optional stopping", early), ("common origins", clustered)) if given]
    basis = f"95 %, corrected for {' and '.join(corrected)}" if corrected else _EXACT
    return Measure(
        share.value,
        min([low, *(interval[0] for interval in wider)]),
        max([high, *(interval[1] for interval in wider)]),
        share.n,
        basis,
        share=None if wider else share,
        hits=f"{share.k:,} of {share.n:,}",
        family=family,
    )


def _figure(calibration: Calibration, name: str) -> Measure:
    estimate: Estimate = getattr(calibration, name)
    chance = calibration.ece_if_calibrated.mean if name == "ece" else None
    basis = "95 %, bootstrap"
    if estimate.low is None or estimate.high is None:
        return Measure(None, float("-inf"), float("inf"), calibration.n, basis, chance=chance)
    return Measure(estimate.value, estimate.low, estimate.high, calibration.n, basis, chance=chance)
