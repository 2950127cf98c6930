"""The largest risks that the data of an audit show, each with the section that holds the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robustkit.maths.intervals import Proportion, holm, proportion, tail
from robustkit.report.document.report import Audit
from robustkit.report.text import sentences
from robustkit.report.text.failed_checks import failed_checks
from robustkit.report.text.words import counts, interval, percent, shorten

MOST = 3
_LEVEL = 0.05
_CONFIDENT = 0.1  # of the errors: fewer are no reason to distrust the confidence
_SHORT = 40  # letters of somebody's own words inside a sentence


@dataclass(frozen=True)
class Risk:
    """A short name, one sentence from the data, and the section with the evidence.

    `p_value` is the probability that samples show as much where there is nothing; None where the sentence is about
    these samples alone. `bound` is the lower confidence bound of the share that is wrong for this reason, None for what
    puts more than a share in question.
    """

    name: str
    text: str
    evidence: str
    p_value: float | None = None
    bound: float | None = None


def risks(audit: Audit) -> list[Risk]:
    """Returns at most three risks, each from a stated condition.

    First come an evaluation that failed its checks, requirements not met and classes without samples; then the largest
    share of wrong predictions that the samples leave no doubt of.
    """
    return sorted(found(audit), key=lambda risk: -1.0 if risk.bound is None else 1 - risk.bound)[:MOST]


def found(audit: Audit) -> list[Risk]:
    """Returns all risks, one of each name.

    What the choice of samples may bring about is a risk only where chance is ruled out. Of those with one name, such as
    the classes, the clearest counts, its p value times how many were looked at; what remains below 5 % with Holm's
    correction over all names is stated.
    """
    by_name: dict[str, list[Risk]] = {}
    for risk in considered(audit):
        by_name.setdefault(risk.name, []).append(risk)
    clearest = [min(same, key=lambda risk: risk.p_value or 0.0) for same in by_name.values()]
    tested = [risk for risk in clearest if risk.p_value is not None]
    looks = [min((risk.p_value or 0.0) * len(by_name[risk.name]), 1.0) for risk in tested]
    chance = {risk.name for risk, p_value in zip(tested, holm(looks), strict=True) if p_value >= _LEVEL}
    return [risk for risk in clearest if risk.name not in chance]


def considered(audit: Audit) -> list[Risk]:
    """Returns everything that was looked at, whether or not it is more than chance."""
    # Where the evaluation failed, nothing may be said that repeats its numbers.
    sources = _IN_DOUBT if sentences.doubtful(audit) else _SOURCES
    return [risk for source in sources for risk in source(audit)]


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
            "Requirement not met", f"{shorten(missed[0].rule, 80)}{more}: {missed[0].message.rstrip('.')}.", "gates"
        )
    elif audit.verdict.requirement == "not met" and audit.verdict.rule:
        yield Risk("Requirement not met", f"The measured numbers miss {shorten(audit.verdict.rule, 80)}.", "attacks")


def _adversarial_examples(audit: Audit) -> Iterator[Risk]:
    hit = audit.worst_case.attack_success
    if hit.value:
        yield Risk(
            "Adversarial examples exist",
            f"Attacks succeeded on {percent(hit.value)} of the {sentences.noun(audit)} that were initially correct "
            f"({interval(hit)}; {counts(hit)}).",
            "attacks",
            bound=hit.wilson[0],
        )


def _empty_classes(audit: Audit) -> Iterator[Risk]:
    empty = [row.name for row in audit.per_class if not row.clean.n]
    if empty:
        named = ", ".join(shorten(name, _SHORT) for name in empty[:3]) + (", ..." if len(empty) > 3 else "")
        yield Risk(
            "Classes without samples",
            f"{len(empty):,} of {len(audit.per_class):,} classes have no sample here ({named}): nothing is known of "
            "them.",
            "classes",
        )


def _confident_errors(audit: Audit) -> Iterator[Risk]:
    share = confident_share(audit)
    if share.n:
        yield Risk(
            "Confident errors under attack",
            f"Under attack, {percent(share.value)} of the wrong predictions have more than 90\N{NO-BREAK SPACE}% "
            f"confidence ({interval(share)}; {counts(share)}): a confidence threshold would not catch them.",
            "confidence",
            _p_above(audit, share.k, share.n, _CONFIDENT),
            audit.calibration.attacked.confident_errors.wilson[0],
        )


def _small_radius(audit: Audit) -> Iterator[Risk]:
    allowed, n, name = audit.threat.eps_value, audit.data.n, "A smaller eps is enough"
    if audit.nearest and (half := audit.nearest.deciles[4]) is not None and half < allowed:
        text = f"Half of the {sentences.noun(audit)} break within {half:.3g}, {percent(half / allowed)} of eps."
        inside = sum(decile is not None and decile < allowed for decile in audit.nearest.deciles)
        broken = proportion(inside * n // 10, n)
        yield Risk(name, text, "curve", _p_above(audit, broken.k, n, 0.5), broken.wilson[0])
    elif audit.curve:
        for point in audit.curve.points:
            k, n = point.accuracy.k, point.accuracy.n
            if n and point.eps_value < allowed:
                text = (
                    f"At {shorten(point.eps, 20)}, {percent(point.eps_value / allowed)} of eps, robust accuracy is "
                    f"already down to {percent(point.accuracy.value)} ({interval(point.accuracy)})."
                )
                p_value = _p_above(audit, n - k, n, 1 - (audit.clean.value or 0) / 2)
                yield Risk(name, text, "curve", p_value, 1 - point.accuracy.wilson[1])


def _weak_class(audit: Audit) -> Iterator[Risk]:
    from scipy.stats import hypergeom  # takes longer to load than all else here

    whole = audit.worst_case.accuracy
    for row in sentences.ranked(audit):
        k, n = row.robust.k, row.robust.n
        inside, outside = _effective(audit, k, n), _effective(audit, whole.k - k, whole.n - n)
        yield Risk(
            "One class is weaker than the rest",
            f"\N{LEFT DOUBLE QUOTATION MARK}{shorten(row.name, _SHORT)}\N{RIGHT DOUBLE QUOTATION MARK} has "
            f"{percent(row.robust.value)} accuracy under attack ({interval(row.robust)}), all classes together "
            f"{percent(whole.value)}.",
            "classes",
            float(hypergeom.cdf(inside[0], inside[1] + outside[1], inside[0] + outside[0], inside[1])),
            1 - row.robust.wilson[1],
        )


def _weak_slice(audit: Audit) -> Iterator[Risk]:
    for row in sentences.ranked_slices(audit):
        if row.p_value is None:
            continue
        below = (row.robust.value or 0) < (audit.worst_case.accuracy.value or 0)
        yield Risk(
            "One data slice is weaker than the rest",
            f"{shorten(row.column, _SHORT)} = {shorten(row.value, _SHORT)}: {percent(row.robust.value)} under "
            f"attack ({interval(row.robust)}; p = {row.p_holm:.2g}, Holm-corrected for all slices).",
            "slices",
            row.p_value if below else 1.0,
            1 - row.robust.wilson[1],
        )


def _shared_failures(audit: Audit) -> Iterator[Risk]:
    if audit.ensemble is None:
        return
    rows, shares = audit.ensemble.transfer, zip(audit.ensemble.clean, audit.ensemble.robust, strict=True)
    across = [value for i, row in enumerate(rows) for j, value in enumerate(row) if i != j]
    mean = sum(across) / len(across) if across else 0.0
    if across:
        # Pairs of members share their samples: the smallest number of broken ones counts, once.
        broken = min(clean.k - robust.k for clean, robust in shares)
        text = f"On average, {percent(mean)} of one member's adversarial examples also break another member."
        p_value = _p_above(audit, int(mean * broken), broken, 0.5)
        bound = proportion(int(mean * broken), broken).wilson[0]
        yield Risk("Ensemble members fail together", text, "ensemble", p_value, bound)


def _p_above(audit: Audit, k: int, n: int, limit: float) -> float:
    """Returns the exact probability of `k` or more of `n` where the true share is no more than `limit`."""
    k, n = _effective(audit, k, n)
    return tail(k, n, limit)


def _effective(audit: Audit, k: int, n: int) -> tuple[int, int]:
    """Returns counts as large as samples that share origins are worth, by the interval that allows for that."""
    worst = audit.worst_case
    if worst.clustered is None:
        return k, n
    plain, wide = (high - low for low, high in (worst.accuracy.wilson, worst.clustered))
    worth = min((plain / wide) ** 2, 1.0) if wide else 1.0
    return int(k * worth), int(n * worth)


def _few_samples(audit: Audit) -> Iterator[Risk]:
    low, high = audit.worst_case.accuracy.wilson
    if high - low > 0.1:
        text = (
            f"With {audit.data.n:,} samples, the interval of the accuracy under attack spans {100 * (high - low):.0f} "
            "points."
        )
        yield Risk("Few samples", text, "data", bound=0.0)


_SOURCES = (
    _unreliable,
    _requirements,
    _adversarial_examples,
    _empty_classes,
    _confident_errors,
    _small_radius,
    _weak_class,
    _weak_slice,
    _shared_failures,
    _few_samples,
)
_IN_DOUBT = (_unreliable, _requirements, _adversarial_examples, _empty_classes, _confident_errors, _few_samples)
