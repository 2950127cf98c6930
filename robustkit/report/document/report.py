"""The report as plain data: frozen dataclasses are the schema, their JSON is the truth, views only show it.

Unknown is ``None``, never missing. Fractions are stored, percent is for print. Changing a field's meaning
raises the major number of `SCHEMA`, adding a field or rewording a text the minor one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robustkit.base.per_coordinate import PerCoordinate
from robustkit.base.settings import Scalar
from robustkit.checks.diagnostic import Diagnostic as Diagnostic
from robustkit.checks.diagnostic import Quality
from robustkit.maths.calibration import Calibration
from robustkit.maths.intervals import Proportion
from robustkit.report.document.about import About
from robustkit.report.document.across import AcrossThreats
from robustkit.report.document.data import Data as Data
from robustkit.report.document.gallery import ChangedRow, GalleryItem
from robustkit.report.document.ledger_summaries import Confusion, Margins, RiskCoverage
from robustkit.report.document.table import Layout, Schema, Table

SCHEMA = "robustkit.report/1.6"


@dataclass(frozen=True)
class Subject:
    """The system under test: what was loaded, from which file, and how its input and output were read."""

    name: str
    source: str | None
    architecture: str
    parameters: int
    weights_sha256: str | None
    weights_file_sha256: str | None
    defences: tuple[str, ...]
    preprocess: tuple[str, ...]
    output: str
    dtype: str
    device: str
    num_classes: int
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class ThreatModel:
    """Who the attacker is, in the words of NIST AI 100-2; `eps` as typed ("8/255"), `eps_value` as used.

    Where they differ by coordinate, `eps_value` is the largest, `bounds` the range that holds all others, two fields
    have the numbers themselves, an eps of 0 where nothing may change; changes are measured in units of the largest, so
    that half of it counts twice. `schema` says what a legal record is, `layout` which inputs lie in a row.
    All None elsewhere and in reports before 1.5.
    """

    goal: str
    knowledge: str
    access: str
    norm: str
    eps: str
    eps_value: float
    bounds: tuple[float, float]
    target: int | None
    exclusions: tuple[str, ...]
    eps_per_coordinate: PerCoordinate | None = None
    bounds_per_coordinate: tuple[float | PerCoordinate, float | PerCoordinate] | None = None
    schema: Schema | None = None
    layout: Layout | None = None


@dataclass(frozen=True)
class Verdict:
    """Requirement, quality of the evaluation and what was not tested; never merged into one score.

    `rule` is the requirement as given ("robust_accuracy >= 0.45"): no outcome is coloured without its limit.
    """

    requirement: Literal["met", "not met", "undecided", "none given"]
    quality: Quality
    coverage: tuple[str, ...]
    rule: str | None = None


@dataclass(frozen=True)
class Method:
    """How the attacks were chosen and samples classified.

    `changes` is how the attacks differ from the published `protocol`; results compare where `fingerprint` agrees. In a
    `cascade` an attack runs only on samples no earlier attack broke. A prediction is the mean of `draws` EOT samples.
    A run that was allowed to stop early took its samples in random order and says why it `stopped`, of how many
    `planned`. Where it was `accelerated`, attacks searched on a copy with batch norms folded and channels last; every
    outcome comes from the model itself.
    Probing the evaluation afterwards took `probe_seconds`, None where that was left out.
    """

    protocol: str
    fingerprint: str
    cascade: bool
    changes: tuple[str, ...]
    draws: int
    early: bool
    stopped: str | None
    planned: int | None
    accelerated: bool
    probe_seconds: float | None = None


@dataclass(frozen=True)
class AttackResult:
    """One attack, every setting resolved: `accuracy` over all samples, `attack_success` over those initially correct.

    In a cascade `accuracy` counts what the attacks before it broke, too, and `attack_success` only its own. What was
    measured is named by the last three fields: `alone` is the accuracy under this attack alone, None where nobody knows
    it, because the attack never saw what earlier ones broke, or went after near-boundary samples only; `remaining` is
    the accuracy left after this attack and those before it in a cascade, None without one; `success_of_attacked` counts
    the samples it went after and no others. All three are None in reports before 1.4.

    `loss_path` is the mean of the best loss so far over the attacked rows after each step.
    `rechecked_changes` counts outcomes that a second pass over the stored adversarial input did not confirm.
    """

    name: str
    implementation: str
    source: str
    params: dict[str, Scalar]
    seed: int
    accuracy: Proportion
    attack_success: Proportion
    forwards: int
    backwards: int
    seconds: float
    steps_to_break: float | None
    loss_path: tuple[float, ...]
    rechecked_changes: int
    zero_gradient_rows: int
    nonfinite_gradient_rows: int
    alone: Proportion | None = None
    remaining: Proportion | None = None
    success_of_attacked: Proportion | None = None


@dataclass(frozen=True)
class WorstCase:
    """Right under every attack, per sample; `broken_by` counts for each attack the samples it broke.

    `stored` is the accuracy after rounding every adversarial input to 8 bits, where the clean inputs are such images.
    `anytime` is the interval of the accuracy that allows for stopping early, `clustered` the one that allows for
    samples that share an origin.
    """

    accuracy: Proportion
    attack_success: Proportion
    broken_by: dict[str, int]
    stored: Proportion | None = None
    anytime: tuple[float, float] | None = None
    clustered: tuple[float, float] | None = None


@dataclass(frozen=True)
class CurvePoint:
    """Robust accuracy at one radius; `eps` as typed, `eps_value` as used."""

    eps: str
    eps_value: float
    accuracy: Proportion


@dataclass(frozen=True)
class AccuracyCurve:
    """Robust accuracy against the radius, ascending; a sample broken at one radius is not attacked at a larger one."""

    norm: str
    protocol: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Nearest:
    """The distance within which each tenth of the samples, 10 % to 90 %, can be broken; None where it was not found."""

    norm: str
    attacks: tuple[str, ...]
    deciles: tuple[float | None, ...]


@dataclass(frozen=True)
class ClassRow:
    """Clean and robust accuracy of one class."""

    index: int
    name: str
    clean: Proportion
    robust: Proportion


@dataclass(frozen=True)
class SliceRow:
    """Clean and robust accuracy where a column of the groups file has one value.

    `p_value` is of "robust accuracy is the same on all other samples", `p_holm` the same with all slices of the audit
    counted in; both are None where there are no other samples.
    """

    column: str
    value: str
    clean: Proportion
    robust: Proportion
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True)
class GateResult:
    """One requirement and whether it is met, with the uncertainty of the sample counted in.

    `bound` is the end of the interval that was held against the limit; `needed` the number of samples that would settle
    an undecided one if `value` stays what it is. `p_value` is the exact one-sided p value of what contradicts the value
    (that the requirement is not met, or that it is), `p_holm` the same with all gates on classes and slices counted in.
    """

    rule: str
    status: Literal["met", "not met", "undecided"]
    value: float | None
    bound: float | None
    needed: int | None
    message: str
    p_value: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class CalibrationPair:
    """Calibration on the clean samples and on each sample's worst point; `attacked_made_by` says whose."""

    clean: Calibration
    attacked: Calibration
    attacked_made_by: str


@dataclass(frozen=True)
class Ensemble:
    """The members, each with its own accuracy; `transfer[i][j]` is the share of what breaks i that breaks j, too.

    `disagreement` is the mean share of samples on which two members answer differently without an attack.
    """

    members: tuple[str, ...]
    combine: str
    clean: tuple[Proportion, ...]
    robust: tuple[Proportion, ...]
    transfer: tuple[tuple[float, ...], ...]
    disagreement: float


@dataclass(frozen=True)
class Audit:
    """Everything measured about one model on one data set under one threat.

    `clean_clustered` is the interval of the clean accuracy that allows for samples that share an origin. Images are in
    the `gallery`, rows of a table in `changed_rows`, which reports before 1.6 do not have.
    """

    subject: Subject
    data: Data
    threat: ThreatModel
    verdict: Verdict
    method: Method
    clean: Proportion
    attacks: tuple[AttackResult, ...]
    worst_case: WorstCase
    per_class: tuple[ClassRow, ...]
    calibration: CalibrationPair
    diagnostics: tuple[Diagnostic, ...]
    gallery: tuple[GalleryItem, ...]
    curve: AccuracyCurve | None = None
    nearest: Nearest | None = None
    confusion: Confusion | None = None
    margins: Margins | None = None
    risk_coverage: RiskCoverage | None = None
    clean_clustered: tuple[float, float] | None = None
    slices: tuple[SliceRow, ...] = ()
    gates: tuple[GateResult, ...] = ()
    ensemble: Ensemble | None = None
    changed_rows: tuple[ChangedRow, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Artefact:
    """A file that belongs to the report (the ledger, say) and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Report:
    """One or more audits, the environment they ran in and the command that repeats them.

    `result_sha256` is over the canonical JSON of `audits` without timings, device and saliency maps: two runs that
    found the same agree in it. `about` is what the people concerned say; it is no finding and not in the hash.
    """

    schema: str
    id: str
    title: str
    created: str
    tool: str
    command: str | None
    seed: int
    environment: dict[str, Scalar]
    audits: tuple[Audit, ...]
    artefacts: tuple[Artefact, ...]
    result_sha256: str
    about: About | None = None
    across: AcrossThreats | None = None

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: a view, loaded when it is asked for, for the document knows none."""
        from robustkit.report import report_card

        return report_card(self)
