"""Verifying a bundle: four checks, each deeper than the one before, and no attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from robustkit.bundle.answers import RULE, Answers, check_subject
from robustkit.bundle.findings import Mismatch
from robustkit.bundle.manifest import NAME, Manifest, Part
from robustkit.bundle.opening import check_files, opened
from robustkit.bundle.restore import measured_on_the_way, unknown_attacks
from robustkit.bundle.samples import Samples
from robustkit.bundle.summaries import check_audit, check_pages, check_report, read_ledger, read_report
from robustkit.classifier import Classifier
from robustkit.errors import ConfigurationError
from robustkit.evaluation import Evaluation
from robustkit.evidence import StoredEvidence
from robustkit.report.document import Audit, Report

Level = Literal["files", "summaries", "geometry", "model"]
Status = Literal["holds", "false", "not checked"]
Model = Classifier | nn.Module | Callable[[Tensor], Any]


@dataclass(frozen=True)
class Check:
    """What was looked at, and whether all of it holds; `note` says why it could not be checked."""

    level: Level
    what: str
    status: Status
    note: str = ""


@dataclass(frozen=True)
class Verification:
    """What came of a check.

    Attributes:
        bundle: Its path.
        checks: Everything that was looked at, the shallow first.
        false: Every claim that does not hold, each kind once.
        remarks: What differs by no more than the arithmetic of another machine may do.
        trusted: What nobody can tell from the bundle, or not without model and data.
    """

    bundle: str
    checks: tuple[Check, ...]
    false: tuple[Mismatch, ...]
    remarks: tuple[str, ...]
    trusted: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked is false."""
        return not self.false


def verify(
    bundle: str | Path,
    classifier: Model | list[Model | None] | None = None,
    data: Any = None,
    *,
    weights: Path | list[Path | None] | None = None,
    batch_size: int = 256,
) -> Verification:
    """Returns which claims of a bundle hold, which are false, and which have to be taken on trust.

    Four checks: the files are the ones that were written; every figure of the report follows from the ledger, by the
    code that made it; with `data`, every stored point lies inside the threat around its sample, measured in float64
    without tolerance; with `classifier`, too, one pass over samples and points gives what the ledger says of them. No
    attack is run: that a sample which stands cannot be broken remains a claim.

    Args:
        bundle: A folder that `save_bundle` wrote, or its .zip archive.
        classifier: The model. Here and below: one of each for every audit, in a list, where there are several.
        data: The samples, in whatever order, as for `robustkit.evaluate`; more than were audited do no harm.
        weights: The weight file, to be hashed.
        batch_size: Rows the model sees at once.

    Raises:
        ConfigurationError: If there is no bundle, or the arguments do not fit it.
    """
    with opened(bundle) as folder:
        manifest, wrong = check_files(folder)
        run = _Run(folder, [], list(wrong), [], [])
        run.note("files", f"{len(manifest.files) if manifest else 'no'} files, their hashes, and {NAME}", wrong)
        if manifest is not None:
            count = len(manifest.audits)
            given = zip(*(_each(name, value, count) for name, value in
                          (("classifier", classifier), ("data", data), ("weights", weights))), strict=True)
            run.report(manifest, list(given), batch_size)
    found = [m for m in run.false if not m.edge]
    return Verification(
        str(bundle), tuple(run.checks), tuple(found), tuple(run.remarks), tuple(dict.fromkeys(run.trusted))
    )


def _each(name: str, value: Any, count: int) -> list[Any]:
    """Returns one value for each audit."""
    if count == 1 or value is None:
        return [value] * count
    if not isinstance(value, list) or len(value) != count:
        raise ConfigurationError(f"verify: expected {name} for each of {count} audits, in a list; give one each or none")
    return value


@dataclass
class _Run:
    """One verification as it goes."""

    folder: Path
    checks: list[Check]
    false: list[Mismatch]
    remarks: list[str]
    trusted: list[str]

    def note(self, level: Level, what: str, wrong: list[Mismatch] | None, note: str = "") -> None:
        """Enters a check; None where it could not be made."""
        status: Status = "not checked" if wrong is None else "false" if any(not m.edge for m in wrong) else "holds"
        self.checks.append(Check(level, what, status, note))

    def add(self, level: Level, what: str, wrong: list[Mismatch]) -> None:
        """Enters a check that was made, with what it found."""
        self.false += [m for m in wrong if not m.edge]
        self.note(level, what, wrong)

    def report(self, manifest: Manifest, given: list[tuple[Any, Any, Any]], batch_size: int) -> None:
        """Checks the report as a whole and each of its audits."""
        report = read_report(self.folder)
        if isinstance(report, Mismatch):
            self.add("summaries", "the report", [report])
            return
        self.add("summaries", "manifest, hashes and pictures from report.json", list(check_report(self.folder, manifest, report)))
        drawn = check_pages(self.folder, report)
        if drawn is None:
            self.note("summaries", "report.html and report.md from report.json", None, "drawn by other versions")
        else:
            self.add("summaries", "report.html and report.md from report.json", drawn)
        self.trusted += _always(report)
        for number, (stated, part, arguments) in enumerate(zip(report.audits, manifest.audits, given, strict=False)):
            _AuditRun(self, report, stated, part, number).check(*arguments, batch_size)


@dataclass
class _AuditRun:
    """The checks of one audit."""

    run: _Run
    report: Report
    stated: Audit
    part: Part
    number: int

    def check(self, model: Model | None, data: Any, weights: Path | None, batch_size: int) -> None:
        """Makes all that can be made."""
        run, part = self.run, self.part
        where = f"report.json: audits[{self.number}]"
        ledger = read_ledger(run.folder, part.ledger)
        if isinstance(ledger, Mismatch):
            run.add("summaries", self._say(f"figures from {part.ledger}"), [ledger])
            return
        evaluation, wrong = check_audit(self.stated, ledger, self.report, part.ledger, where)
        run.add("summaries", self._say(f"every figure from {part.ledger}, {len(ledger):,} samples"), wrong)
        if evaluation is None:
            return
        run.trusted += _unseen(self.stated, evaluation)
        classifier = self._classifier(model, evaluation)
        differs = [] if classifier is None else list(check_subject(self.stated, classifier, weights))
        answers = None
        if classifier is not None and not differs and self._repeatable(evaluation):
            answers = Answers(classifier, evaluation, part.ledger, batch_size)
        self._samples(evaluation, data, answers, batch_size)
        self._model(classifier, differs, answers, evaluation, where)

    def _say(self, what: str) -> str:
        return f"{self.part.name}: {what}" if len(self.report.audits) > 1 else what

    def _classifier(self, model: Model | None, evaluation: Evaluation) -> Classifier | None:
        if model is None or isinstance(model, Classifier):
            if model is not None and model.draws != evaluation.draws:
                raise ConfigurationError(
                    f"verify: expected a classifier whose verdict is the mean of {evaluation.draws} draws, as in the "
                    f"audit, got {model.draws}; say draws={evaluation.draws}"
                )
            return model
        return Classifier(model, bounds=evaluation.threat.bounds, draws=evaluation.draws)

    def _repeatable(self, evaluation: Evaluation) -> bool:
        """Whether the model gives the same answers again: not if it is random and was judged by a single draw."""
        return evaluation.draws > 1 or all(d.id != "Q05" or d.status != "fail" for d in self.stated.diagnostics)

    def _samples(self, evaluation: Evaluation, data: Any, answers: Answers | None, batch_size: int) -> None:
        run, part = self.run, self.part
        evidence: StoredEvidence | None = None
        if part.adversarials is None:
            run.trusted.append("the adversarial points, which were left out of the bundle")
        else:
            try:
                evidence = StoredEvidence(run.folder / part.adversarials, evaluation.ledger.attacks)
            except ConfigurationError as error:
                broken = Mismatch(part.adversarials, "adversarial points", str(error).partition(": ")[2])
                run.add("geometry", self._say("the adversarial points"), [broken])
                return
        what = f"norm and box of {evidence.shape[0]:,} points, data, labels and ids" if evidence else "data, labels and ids"
        if data is None:
            run.note("geometry", self._say(what), None, "no data: give --data")
            run.trusted.append("that the points lie within the threat, and that inputs and labels are those of the data")
            return
        samples = Samples(self.stated, evaluation, evidence, part.ledger, part.adversarials or "", answers)
        with answers.classifier.frozen() if answers else nullcontext():
            wrong = samples.check(data, batch_size)
        run.add("geometry", self._say(what), wrong)

    def _model(self, classifier: Classifier | None, differs: list[Mismatch], answers: Answers | None,
               evaluation: Evaluation, where: str) -> None:
        run, untold = self.run, "every prediction, confidence and margin in the ledger"
        if classifier is None:
            run.note("model", self._say("weights and predictions"), None, "no model: give --model")
            run.trusted.append(untold)
            return
        if answers is None or not answers.passes:
            run.add("model", self._say("weights"), differs)
            if not differs:
                random = not self._repeatable(evaluation)
                note = "the model is random and was judged by one draw" if random else "no data: give --data"
                run.note("model", self._say("predictions"), None, note)
            run.trusted.append(untold)
            return
        wrong = list(answers.found)
        if answers.bins["clean"].n == len(evaluation.ledger):
            wrong += answers.calibration(self.stated, where, self.part.adversarials is not None)
        if classifier.output != self.stated.subject.output:
            wrong.append(Mismatch("the model: output", self.stated.subject.output, classifier.output))
        run.add("model", self._say(f"weights, and what {answers.passes:,} passes say"), wrong)
        edge = [m for m in wrong if m.edge]
        if edge:
            count = sum(1 + m.more for m in edge)
            run.remarks.append(f"{count:,} figures of {self.part.ledger} differ within floating-point noise, first "
                               f"{edge[0].where.partition(': ')[2]}: here {edge[0].expected}, there {edge[0].got}; {RULE}")


def _always(report: Report) -> Iterator[str]:
    """Yields what no bundle can show."""
    yield "that a sample which stands cannot be broken: no attack was run"
    yield "when, where and by which command the audit was made, and how long it took"
    yield "steps, queries, passes, loss paths and rechecked verdicts of the attacks"
    yield "margins and distances of points that changed no prediction, which are not kept"
    if any(audit.subject.defences for audit in report.audits):
        yield "the defences that are named"
    if any(audit.curve for audit in report.audits):
        yield "the accuracy curve"
    if any(audit.nearest for audit in report.audits):
        yield "the nearest distances"
    if any(audit.verdict.rule for audit in report.audits):
        yield "the verdict on the requirement"


def _unseen(stated: Audit, evaluation: Evaluation) -> Iterator[str]:
    """Yields what this audit measured in passing."""
    measured = measured_on_the_way(stated, evaluation)
    if measured:
        yield f"diagnostics measured in passing: {', '.join(measured)}"
    if unknown := unknown_attacks(evaluation):
        yield f"diagnostics and coverage, as {', '.join(unknown)} is not known here"


