"""The largest risks that the data of an audit show, each with the section that holds the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robustkit.maths.intervals import Proportion, proportion
from robustkit.report.document.report import Audit
from robustkit.report.text import sentences
from robustkit.report.text.failed_checks import failed_checks
from robustkit.report.text.words import counts, interval, percent, shorten

MOST = 5
_SHORT = 40  # letters of somebody's own words inside a sentence


@dataclass(frozen=True)
class Risk:
    """A short name, one sentence from the data, and the section with the evidence."""

    name: str
    text: str
    evidence: str


def risks(audit: Audit) -> list[Risk]:
    """Returns at most five risks, the ones that weigh most on a decision first; each follows from a stated condition.

    In order: an evaluation that failed its checks, requirements not met, adversarial examples, confident errors, a
    radius at which half is lost, classes and slices below the total, members that fail together, too few samples.
    """
    # Where the evaluation failed, nothing may be said that repeats its numbers.
    sources = _IN_DOUBT if sentences.doubtful(audit) else _SOURCES
    return [risk for source in sources for risk in source(audit)][:MOST]


def confident_share(audit: Audit, attacked: bool = True) -> Proportion:
    """Returns which share of the wrong predictions has more than 90 % confidence."""
    side = audit.calibration.attacked if attacked else audit.calibration.clean
    return proportion(side.confident_errors.k, side.n - side.accuracy.k)


def _unreliable(audit: Audit) -> Iterator[Risk]:
    if doubt := sentences.doubtful(audit):
        named = " ".join(text for _, text in failed_checks(audit)[:2])
        yield Risk(
            "The result may be too optimistic", f"The accuracy under attack is {doubt}. {named}".rstrip(), "checks"
        )


def _requirements(audit: Audit) -> Iterator[Risk]:
    missed = [gate for gate in audit.gates if gate.status == "not met"]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        yield Risk(
            "Requirement not met", f"{shorten(missed[0].rule, 80)}{more}: {missed[0].message.rstrip('.')}.", "attacks"
        )
    elif audit.verdict.requirement == "not met" and audit.verdict.rule:
        yield Risk("Requirement not met", f"The measured numbers miss {shorten(audit.verdict.rule, 80)}.", "attacks")


def _adversarial_examples(audit: Audit) -> Iterator[Risk]:
    hit = audit.worst_case.attack_success
    if hit.value:
        yield Risk(
            "Adversarial examples exist",
            f"Attacks succeeded on {percent(hit.value)} of the {sentences.noun(audit)} that were initially correct "
            f"({counts(hit)}).",
            "attacks",
        )


def _confident_errors(audit: Audit) -> Iterator[Risk]:
    share = confident_share(audit)
    if share.value is not None and share.value > 0.1:
        yield Risk(
            "Confident errors under attack",
            f"Under attack, {percent(share.value)} of the wrong predictions have more than 90\N{NO-BREAK SPACE}% "
            f"confidence ({counts(share)}): a confidence threshold would not catch them.",
            "confidence",
        )


def _small_radius(audit: Audit) -> Iterator[Risk]:
    allowed = audit.threat.eps_value
    if audit.nearest and (half := audit.nearest.deciles[4]) is not None and half < allowed:
        text = f"Half of the {sentences.noun(audit)} break within {half:.3g}, {percent(half / allowed)} of eps."
        yield Risk("A smaller eps is enough", text, "curve")
    elif audit.curve:
        for point in audit.curve.points:
            value = point.accuracy.value
            if value is not None and point.eps_value < allowed and value < (audit.clean.value or 0) / 2:
                text = (
                    f"At {shorten(point.eps, 20)}, {percent(point.eps_value / allowed)} of eps, robust accuracy is "
                    f"already down to {percent(value)}."
                )
                yield Risk("A smaller eps is enough", text, "curve")
                return


def _weak_class(audit: Audit) -> Iterator[Risk]:
    ranked, whole = sentences.ranked(audit), audit.worst_case.accuracy.value
    if ranked and whole is not None and ranked[0].robust.wilson[1] < whole:
        worst = ranked[0]
        yield Risk(
            "One class is weaker than the rest",
            f"\N{LEFT DOUBLE QUOTATION MARK}{shorten(worst.name, _SHORT)}\N{RIGHT DOUBLE QUOTATION MARK} has "
            f"{percent(worst.robust.value)} accuracy under attack ({interval(worst.robust)}), all classes together "
            f"{percent(whole)}.",
            "classes",
        )


def _weak_slice(audit: Audit) -> Iterator[Risk]:
    clear = [row for row in audit.slices if row.p_holm is not None and row.p_holm < 0.05]
    below = [row for row in clear if (row.robust.value or 0) < (audit.worst_case.accuracy.value or 0)]
    if below:
        worst = min(below, key=lambda row: row.robust.value or 0)
        yield Risk(
            "One data slice is weaker than the rest",
            f"{shorten(worst.column, _SHORT)} = {shorten(worst.value, _SHORT)}: {percent(worst.robust.value)} under "
            f"attack ({interval(worst.robust)}; p = {worst.p_holm:.2g}, Holm-corrected for all slices).",
            "slices",
        )


def _shared_failures(audit: Audit) -> Iterator[Risk]:
    if audit.ensemble is None:
        return
    rows = audit.ensemble.transfer
    across = [value for i, row in enumerate(rows) for j, value in enumerate(row) if i != j]
    if across and sum(across) / len(across) > 0.5:
        mean = sum(across) / len(across)
        text = f"On average, {percent(mean)} of one member's adversarial examples also break another member."
        yield Risk("Ensemble members fail together", text, "ensemble")


def _few_samples(audit: Audit) -> Iterator[Risk]:
    low, high = audit.worst_case.accuracy.wilson
    if high - low > 0.1:
        text = (
            f"With {audit.data.n:,} samples, the interval of the accuracy under attack spans {100 * (high - low):.0f} "
            "points."
        )
        yield Risk("Few samples", text, "data")


_SOURCES = (
    _unreliable,
    _requirements,
    _adversarial_examples,
    _confident_errors,
    _small_radius,
    _weak_class,
    _weak_slice,
    _shared_failures,
    _few_samples,
)
_IN_DOUBT = (_unreliable, _requirements, _adversarial_examples, _confident_errors, _few_samples)
