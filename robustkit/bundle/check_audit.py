"""The checks of one audit in a bundle, as deep as ledger, data and model allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError
from robustkit.bundle.attack_again import check_again, pick
from robustkit.bundle.check_method import untold
from robustkit.bundle.check_points import Samples
from robustkit.bundle.check_predictions import RULE, Answers, check_subject
from robustkit.bundle.check_records import check_records, flips
from robustkit.bundle.check_report import check_figures, read_ledger
from robustkit.bundle.check_selection import Unknown, check_selection, check_source, check_whole
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.restore import measured_on_the_way
from robustkit.bundle.verification_result import Notes
from robustkit.checks.joining import labelled
from robustkit.data.dataset import Dataset
from robustkit.data.sampling import indexed
from robustkit.evaluation.evidence import StoredEvidence
from robustkit.evaluation.result import Evaluation
from robustkit.model.classifier import Classifier
from robustkit.report.document.manifest import Part
from robustkit.report.document.report import Audit, Report

Model = Classifier | nn.Module | Callable[[Tensor], Any]
_UNTOLD = "every prediction, confidence and margin in the ledger"
_UNMEASURED = "that the points lie within the threat, and that inputs and labels are those of the data"


@dataclass(frozen=True)
class AuditCheck:
    """One audit of a bundle.

    Attributes:
        notes: Where findings are entered.
        folder: Of the bundle.
        report: The whole report.
        stated: The audit as it has it.
        part: The files of the audit.
        number: Its place in the report.
        again: How many robust samples to attack again.
        seed: Of their choice; a fresh one where it is None.
    """

    notes: Notes
    folder: Path
    report: Report
    stated: Audit
    part: Part
    number: int
    again: int = 0
    seed: int | None = None

    def make(self, model: Model | None, data: Any, weights: Path | None, batch_size: int) -> None:
        """Makes all checks that can be made."""
        notes, part = self.notes, self.part
        ledger = read_ledger(self.folder, part.ledger)
        if isinstance(ledger, Mismatch):
            notes.made("summaries", f"figures from {part.ledger}", [ledger])
            return
        evaluation, wrong = check_figures(self.stated, ledger, self.report, part.ledger, self._where)
        notes.made("summaries", f"figures from {part.ledger}, {len(ledger):,} samples", wrong)
        if evaluation is None:
            return
        for why in untold(self.stated, evaluation, self.report.environment, self._where):
            what = self._say("protocol, fingerprint and what the attacks are worth")
            notes.left_out("summaries", what, why, what)
        notes.trusted += _measured(self.stated, evaluation)
        classifier = _classifier(model, evaluation)
        differs = [] if classifier is None else list(check_subject(self.stated, classifier, weights))
        answers = None
        if classifier and not any(not m.edge for m in differs) and not self._random(evaluation):
            answers = Answers(classifier, evaluation, part.ledger, batch_size)
        wanted, seed = pick(evaluation, self.again, self.seed)
        mapped, shown = set[int](), {*flips(self.stated)}
        picked = self._geometry(evaluation, data, answers, batch_size, wanted | shown, mapped)
        if {one.id for one in self.stated.gallery if one.saliency or one.saliency_adversarial} - mapped:
            notes.trusted.append("pictures of saliency")
        if shown and picked:
            with answers.classifier.frozen() if answers else nullcontext():
                wrong = [*check_records(self.stated, evaluation, picked, answers)]
            notes.made("geometry", self._say("cheapest changes of records"), wrong)
            picked = [one for one in picked if one[2] in wanted]
        self._model(classifier, differs, answers, evaluation)
        if self.again:
            model = None if answers is None else answers.classifier
            check_again(notes, self._say, evaluation, model, picked, seed, batch_size)

    @property
    def _where(self) -> str:
        return f"report.json: audits[{self.number}]"

    def _say(self, what: str) -> str:
        return f"{self.part.name}: {what}" if len(self.report.audits) > 1 else what

    def _random(self, evaluation: Evaluation) -> bool:
        """Whether the model answers otherwise every time: it is random and was judged by a single draw."""
        return evaluation.draws == 1 and any(d.id == "Q05" and d.status == "fail" for d in self.stated.diagnostics)

    def _geometry(
        self,
        evaluation: Evaluation,
        data: Any,
        answers: Answers | None,
        batch_size: int,
        wanted: set[int],
        mapped: set[int],
    ) -> list[tuple[Tensor, int, int]]:
        """Checks points and data, and returns the samples that are to be attacked again; see `Samples`."""
        notes, file = self.notes, self.part.adversarials
        evidence: StoredEvidence | None = None
        if file is None:
            notes.trusted.append("the adversarial points, which were left out of the bundle")
        else:
            try:
                evidence = StoredEvidence(self.folder / file, evaluation.ledger.attacks)
            except ConfigurationError as error:
                broken = Mismatch(file, "adversarial points", str(error).partition(": ")[2])
                notes.made("geometry", f"points of {file}", [broken])
                return []
        points = f"{evidence.shape[0]:,} points: norm, box, " if evidence else ""
        what = self._say(f"{points}data and labels")
        if data is None:
            notes.left_out("geometry", what, "no data", _UNMEASURED)
            return []
        samples = Samples(
            self.stated, evaluation, evidence, self.part.ledger, file or "", answers, wanted=wanted, mapped=mapped
        )
        with answers.classifier.frozen() if answers else nullcontext():
            wrong = samples.check(data, batch_size)
        notes.made("geometry", what, wrong)
        if not wrong and samples.source is not None:
            self._origin(evaluation, samples.source, samples.seen, isinstance(data, Dataset))
        return samples.picked

    def _origin(self, evaluation: Evaluation, data: Dataset, seen: list[int], named: bool) -> None:
        """Checks that the samples are the stated selection, of data with the stated name."""
        notes, what = self.notes, self._say("selection of samples")
        try:
            notes.made("geometry", what, check_selection(self.stated, evaluation, data, seen, self._where))
        except Unknown as why:
            notes.left_out("geometry", what, str(why), "that the samples are not those that suited best")
        if indexed(data) is None:
            notes.trusted.append(self._say("the data as a whole, which cannot be read again"))
        else:
            self._whole(evaluation, data)
        if not named:
            notes.trusted.append("name and split of the data, which those given do not say")
            return
        what = self._say("name and split of the data")
        try:
            notes.made("geometry", what, [*check_source(self.stated, data, self._where)])
        except Unknown as why:
            notes.left_out("geometry", what, str(why), what)

    def _whole(self, evaluation: Evaluation, data: Dataset) -> None:
        """Checks that the data at hand are all that the samples were chosen from."""
        notes, claim = self.notes, self.stated.data.whole
        what = self._say("size and hash of all data that the samples were chosen from")
        if claim is None:
            if evaluation.early or evaluation.dataset.selection:
                notes.trusted.append(f"{what}, which the report does not state")
            return
        whole = labelled(data.whole or data, self.stated.subject.class_names)
        try:
            notes.made("geometry", what, check_whole(claim, whole, self._where))
        except Unknown as why:
            notes.left_out("geometry", what, str(why), what)

    def _model(
        self, classifier: Classifier | None, differs: list[Mismatch], answers: Answers | None, evaluation: Evaluation
    ) -> None:
        notes = self.notes
        if classifier is None:
            notes.left_out("model", self._say("weights and predictions"), "no model", _UNTOLD)
            return
        notes.remarks += [f"{m.where}: the file is another one, its tensors are the same" for m in differs if m.edge]
        if answers is None or not answers.passes:
            notes.made("model", self._say("weights"), differs)
            why = "random, and judged by one draw" if self._random(evaluation) else "no data"
            why = "another model" if any(not m.edge for m in differs) else why
            notes.left_out("model", self._say("predictions"), why, _UNTOLD)
            return
        wrong = [*answers.found]
        if answers.bins["clean"].n == len(evaluation.ledger):
            wrong += answers.calibration(self.stated, self._where, whole=self.part.adversarials is not None)
        if self.stated.subject.output not in ("auto", classifier.output):
            wrong.append(Mismatch("the model: output", self.stated.subject.output, classifier.output))
        notes.made("model", self._say(f"weights, {answers.passes:,} passes"), wrong)
        edge = [m for m in wrong if m.edge]
        if edge:
            count, first = sum(1 + m.more for m in edge), edge[0]
            notes.remarks.append(
                f"{count:,} figures of {self.part.ledger} differ within floating-point noise, the first "
                f"{first.where.partition(': ')[2]}, here {first.expected}, there {first.got}; {RULE}"
            )


def _classifier(model: Model | None, evaluation: Evaluation) -> Classifier | None:
    """Returns the model as a classifier; a bare module is taken to have the bounds and draws of the audit."""
    if isinstance(model, Classifier):
        if model.draws != evaluation.draws:
            raise ConfigurationError(
                f"verify: expected a classifier whose verdict is the mean of {evaluation.draws} draws, as in the "
                f"audit, got {model.draws}; say draws={evaluation.draws}"
            )
        return model
    return None if model is None else Classifier(model, bounds=evaluation.threat.bounds, draws=evaluation.draws)


def _measured(stated: Audit, evaluation: Evaluation) -> Iterator[str]:
    """Yields what this audit measured in passing, which its ledger does not tell."""
    if measured := measured_on_the_way(stated, evaluation):
        yield f"diagnostics measured in passing: {', '.join(measured)}"
