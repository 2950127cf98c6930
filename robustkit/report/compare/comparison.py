"""Two audits of the same samples, before and after, joined sample by sample: this resolves small differences."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from robustkit.attacks.names import accuracy_name, attack_name
from robustkit.base.errors import ConfigurationError
from robustkit.evaluation.ledger import Ledger, Mask
from robustkit.maths.confidence_ranking import bin_of
from robustkit.maths.intervals import Proportion, bootstrap, holm, proportion
from robustkit.maths.paired_test import Paired, paired
from robustkit.report.document.open_audit import OpenedAudit, open_audit
from robustkit.report.document.report import AccuracyCurve, Audit
from robustkit.report.text.sentences import doubtful, protocol

SCHEMA = "robustkit.comparison/1.1"
BINS = 15
WORST = "worst case"


@dataclass(frozen=True)
class Side:
    """One of the two audits: where it comes from and what it found."""

    name: str
    report: str
    created: str
    quality: str
    doubt: str | None
    norm: str
    eps: str
    protocol: str
    curve: AccuracyCurve | None
    clean: Proportion


@dataclass(frozen=True)
class Change:
    """Accuracy before and after: without an attack, under one, or under all of them.

    With `remaining` it is what an attack of a cascade and those before it left, not that attack's alone.
    """

    name: str
    before: Proportion
    after: Proportion
    paired: Paired
    remaining: bool = False

    @property
    def title(self) -> str:
        """What to call it on a page."""
        return accuracy_name(self.name, self.remaining)


@dataclass(frozen=True)
class ClassChange:
    """The same for the samples of one class; `p_holm` is of the robust accuracy, Holm-corrected for all classes."""

    name: str
    clean: Paired
    robust: Paired
    p_holm: float


@dataclass(frozen=True)
class FigureChange:
    """A calibration figure before and after; `low` and `high` are the 95 % paired bootstrap interval of the change."""

    name: str
    attacked: bool
    before: float
    after: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What changed between two audits of the same samples.

    `caveats` say what keeps the rows from being the effect of the change to the model. `lost` are the
    samples that withstood every attack before and do not after, `lost_clean` those that were correct without an attack.
    """

    schema: str
    before: Side
    after: Side
    data: str
    data_sha256: str
    n: int
    caveats: tuple[str, ...]
    rows: tuple[Change, ...]
    classes: tuple[ClassChange, ...]
    figures: tuple[FigureChange, ...]
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    lost_clean: tuple[str, ...]
    seed: int


def compare(
    before: str | Path,
    after: str | Path,
    *,
    before_name: str | None = None,
    after_name: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Returns what changed from one audit to another of the same samples, such as before and after a defense.

    Args:
        before: Folder of an audit (report.json and its ledger), or the report.json in it.
        after: The same of the other.
        before_name: Which model of the first report, where it has several.
        after_name: Which model of the second.
        seed: Of the bootstrap.

    Raises:
        ConfigurationError: If a file is missing, was changed or is another model's, or the two did not see the same
            samples.
    """
    first, second = open_audit(before, before_name, "--before"), open_audit(after, after_name, "--after")
    one, two = first.audit.data, second.audit.data
    if one.sha256 != two.sha256:
        same = "the same ids with other inputs or labels" if one.ids_sha256 == two.ids_sha256 else "other ids"
        raise ConfigurationError(
            f"compare: expected two audits of the same samples, got {one.n} of {one.name} and {two.n} of {two.name} "
            f"({same}); audit both with the same data, --limit and --seed"
        )
    a, b = first.ledger, second.ledger
    at = rows_as_in(a, b)
    common = [attack for attack in a.attacks if attack in b.attacks]
    counted = [_counted(part) for part in (first, second)]
    alike = [attack for attack in common if counted[0][attack] == counted[1][attack]]
    pairs = [("no attack", a.right, b.right[at], False)]
    pairs += [(name, a.right_under(name), b.right_under(name)[at], len(counted[0][name]) > 1) for name in alike]
    pairs += [(WORST, a.robust, b.robust[at], False)]
    ids = np.array(a.names or a["id"].astype(str), dtype=object)
    return Comparison(
        schema=SCHEMA,
        before=_side(first),
        after=_side(second),
        data=one.name,
        data_sha256=one.sha256,
        n=len(a),
        caveats=tuple(_caveats(first, second, common, [attack for attack in common if attack not in alike])),
        rows=tuple(
            Change(name, _share(x), _share(y), paired_outcomes(x, y), remaining) for name, x, y, remaining in pairs
        ),
        classes=_classes(first.audit, a["label"], (a.right, b.right[at]), (a.robust, b.robust[at])),
        figures=tuple(_figures(a, b, at, seed)),
        lost=tuple(ids[a.robust & ~b.robust[at]].tolist()),
        gained=tuple(ids[~a.robust & b.robust[at]].tolist()),
        lost_clean=tuple(ids[a.right & ~b.right[at]].tolist()),
        seed=seed,
    )


def comparison_json(comparison: Comparison) -> str:
    """Returns the comparison as JSON, ending with a newline."""
    return TypeAdapter(Comparison).dump_json(comparison, indent=2).decode() + "\n"


def _side(part: OpenedAudit) -> Side:
    audit = part.audit
    return Side(
        name=audit.subject.name,
        report=part.report.id,
        created=part.report.created,
        quality=audit.verdict.quality,
        doubt=doubtful(audit),
        norm=audit.threat.norm,
        eps=audit.threat.eps,
        protocol=protocol(audit),
        curve=audit.curve,
        clean=audit.clean,
    )


def _counted(part: OpenedAudit) -> dict[str, tuple[str, ...]]:
    """Returns for each attack whose successes its accuracy counts: its own, and in a cascade those of all before it."""
    names = part.ledger.attacks
    return {name: names[: place + 1] if part.audit.method.cascade else (name,) for place, name in enumerate(names)}


def _caveats(first: OpenedAudit, second: OpenedAudit, common: Sequence[str], unlike: Sequence[str]) -> list[str]:
    """Returns what a fair reader would want to be told."""
    a, b = first.audit, second.audit
    said = []
    for side, audit in (("before", a), ("after", b)):
        if doubt := doubtful(audit):
            said.append(f"The evaluation {side} is {doubt}; do not use its rows under attack.")
    threats = [f"{one.threat.norm} {one.threat.eps}, {one.threat.goal}" for one in (a, b)]
    if threats[0] != threats[1]:
        said.append(
            f"The threat models differ ({threats[0]} and {threats[1]}): the rows under attack are not comparable."
        )
    if a.threat.knowledge != b.threat.knowledge:
        kinds = [one.threat.knowledge.split(":")[0] for one in (a, b)]
        said.append(
            f"The attackers differ: {kinds[0]} before, {kinds[1]} after. A weaker attacker breaks less of any model."
        )
    alone = [sorted({*x.ledger.attacks} - {*common}) for x in (first, second)]
    for side, names in zip(("before", "after"), alone, strict=True):
        if names:
            said.append(f"Only {side} was attacked by {_named(names)}: the worst cases are over different attacks.")
    settings = [attack_settings(audit) for audit in (a, b)]
    other = [name for name in common if settings[0][name] != settings[1][name]]
    if other:
        said.append(f"The settings of {_named(other)} differ between the two.")
    if a.method.cascade or b.method.cascade:
        said.append("In a cascade, an attack runs on what earlier ones did not break; rows after one count theirs.")
    if unlike:
        said.append(f"No row for {_named(unlike)}: the attacks that ran before it are not the same on both sides.")
    if a.method.draws != b.method.draws:
        said.append(f"Predictions are means of {a.method.draws} EOT samples before and {b.method.draws} after.")
    if a.method.early or b.method.early:
        said.append(
            "A run was allowed to stop early; p values and intervals here are not corrected for optional stopping."
        )
    if a.worst_case.clustered or b.worst_case.clustered:
        said.append("Samples share origins; p values and intervals here do not account for that.")
    if first.report.tool != second.report.tool:
        said.append(f"The tool versions differ: {first.report.tool} before, {second.report.tool} after.")
    if a.subject.weights_sha256 and a.subject.weights_sha256 == b.subject.weights_sha256:
        said.append("Both models have the same weights.")
    return said


def _named(labels: Sequence[str]) -> str:
    return ", ".join(map(attack_name, labels))


def attack_settings(audit: Audit) -> dict[str, dict[str, Any]]:
    """Returns by attack the settings that both sides should share; a surrogate is a different model by nature."""
    return {one.name: {key: value for key, value in one.params.items() if key != "surrogate"} for one in audit.attacks}


def _share(hits: Mask) -> Proportion:
    return proportion(int(hits.sum()), len(hits))


def rows_as_in(a: Ledger, b: Ledger) -> npt.NDArray[np.int64]:
    """Returns where in `b` the samples of `a` stand, in the order of `a`."""
    order = {id: row for row, id in enumerate(b["id"].tolist())}
    return np.array([order[id] for id in a["id"].tolist()], dtype=np.int64)


def paired_outcomes(before: Mask, after: Mask) -> Paired:
    """Returns the paired difference of two outcomes of the same samples."""
    return paired((before & after).sum(), (before & ~after).sum(), (~before & after).sum(), len(before))


def _classes(
    audit: Audit, labels: npt.NDArray[Any], clean: tuple[Mask, Mask], robust: tuple[Mask, Mask]
) -> tuple[ClassChange, ...]:
    """Returns the classes that have samples, the one that lost most robust accuracy first."""
    known = [index for index in range(len(audit.subject.class_names)) if (labels == index).any()]
    parts = [(labels == index, audit.subject.class_names[index]) for index in known]
    tables = [
        (name, paired_outcomes(clean[0][at], clean[1][at]), paired_outcomes(robust[0][at], robust[1][at]))
        for at, name in parts
    ]
    adjusted = holm([table[2].p_value for table in tables])
    rows = [ClassChange(*table, p) for table, p in zip(tables, adjusted, strict=True)]
    return tuple(sorted(rows, key=lambda row: row.robust.difference or 0.0))


def _figures(a: Ledger, b: Ledger, at: npt.NDArray[np.int64], seed: int) -> list[FigureChange]:
    """Returns calibration clean and attacked; both sides are resampled together, so that what they share cancels."""
    found = []
    for prefix in ("clean", "worst"):
        sides = [_columns(ledger, prefix, rows) for ledger, rows in ((a, np.arange(len(a))), (b, at))]
        before, after = (_calibration(side, np.ones((1, len(a))))[0] for side in sides)
        low, high = bootstrap(functools.partial(_change, sides), len(a), seed=seed)
        for i, name in enumerate(("ece", "signed_gap", "brier", "nll")):
            figures = (before[i], after[i], after[i] - before[i], low[i], high[i])
            found.append(FigureChange(name, prefix == "worst", *map(float, figures)))
    return found


def _change(sides: Sequence[tuple[Any, ...]], weights: Any) -> npt.NDArray[np.float64]:
    before, after = (_calibration(side, weights) for side in sides)
    return after - before


def _columns(ledger: Ledger, prefix: str, rows: Any) -> tuple[Any, ...]:
    confidence = np.clip(ledger[f"{prefix}_confidence"][rows], 0, 1)
    excess = confidence - (ledger[f"{prefix}_prediction"] == ledger["label"])[rows]
    in_bin = np.eye(BINS)[bin_of(confidence, BINS)]
    return in_bin, excess, ledger[f"{prefix}_brier"][rows], ledger[f"{prefix}_nll"][rows]


def _calibration(columns: tuple[Any, ...], weights: Any) -> npt.NDArray[np.float64]:
    """Returns calibration error, signed gap, Brier score and negative log-likelihood (r, 4) under weights (r, n)."""
    in_bin, excess, *scores = columns
    ece = np.abs((weights * excess) @ in_bin).sum(axis=1)
    sums = np.stack([ece, *(weights @ column for column in (excess, *scores))], axis=1)
    return np.asarray(sums / weights.sum(axis=1, keepdims=True))
