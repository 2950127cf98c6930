"""The third and fourth check: every sample and every stored point against the data, and what the model says of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation, RobustkitError
from robustkit.bundle.check_pictures import wrong_pictures, wrong_rows, wrong_saliency
from robustkit.bundle.check_predictions import Answers
from robustkit.bundle.failure_messages import Findings, Mismatch, same_number
from robustkit.bundle.stored_points import Chosen
from robustkit.checks.joining import labelled
from robustkit.data.dataset import Batch, Dataset, batches, samples_sha256, samples_sum
from robustkit.data.labels import as_labels
from robustkit.data.sampling import indexed, narrowed
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.evidence import Index, StoredEvidence
from robustkit.evaluation.gallery import with_saliency
from robustkit.evaluation.ledger import Mask
from robustkit.evaluation.result import Evaluation
from robustkit.report.document.report import Audit


@dataclass
class Samples:
    """Looks at the samples of one audit, some at a time, whatever order the data come in.

    Attributes:
        stated: The audit as the report has it.
        evaluation: Restored from its ledger.
        evidence: Its adversarial points, where they were kept.
        ledger_file: Name of the ledger.
        points_file: Name of the file with the points.
        answers: Asks the model, where there is one.
        found: What is false about data and points.
        points: How many of them were looked at.
        source: The data, with the labels of the audit, once they were read.
        seen: The ids that came from data which cannot be indexed, in order.
        wanted: Ids of samples that are to be attacked again.
        picked: Those samples: input, label and id.
        mapped: Ids of samples of the gallery whose saliency maps were compared.
    """

    stated: Audit
    evaluation: Evaluation
    evidence: StoredEvidence | None
    ledger_file: str
    points_file: str
    answers: Answers | None = None
    found: Findings = field(default_factory=Findings)
    points: int = 0
    source: Dataset | None = None
    seen: list[int] = field(default_factory=list)
    wanted: set[int] = field(default_factory=set)
    picked: list[tuple[Tensor, int, int]] = field(default_factory=list)
    mapped: set[int] = field(default_factory=set)

    def check(self, data: Any, batch_size: int) -> list[Mismatch]:
        """Goes through the data once and returns what is false; of the model, see `answers`."""
        ledger = self.evaluation.ledger
        self._places = {int(id): place for place, id in enumerate(ledger["id"])}
        self._names = ledger.names or [str(id) for id in ledger["id"]]
        self._sum, self._on_grid = 0, True
        if self.evidence is not None:
            wrong = self._columns(self.evidence)
            if wrong:
                return [wrong]
        missing, self.seen = set(self._places), list[int]()
        try:
            self.source = labelled(data, self.stated.subject.class_names, self.evaluation.threat.bounds)
            streamed = indexed(self.source) is None
            to_the_end = streamed and self.evaluation.dataset.selection is None and not self.evaluation.early
            for batch in batches(narrowed(self.source, missing), batch_size):
                self.seen += batch.ids.tolist() if streamed else []
                rows = [row for row, id in enumerate(batch.ids.tolist()) if id in missing]
                if rows:
                    missing -= set(batch.ids[rows].tolist())
                    names = None if batch.names is None else [batch.names[row] for row in rows]
                    self._look(Batch(batch.x[rows], as_labels(batch.y)[rows], batch.ids[rows], names))
                if not missing and not to_the_end:
                    break
        except RobustkitError as error:
            return [Mismatch("the data", "samples like those of the audit", str(error))]
        return [*self.found, *self._whole(missing)]

    def _columns(self, evidence: StoredEvidence) -> Mismatch | None:
        """Returns why the points cannot belong to this ledger, if they cannot."""
        ids = np.sort(self.evaluation.ledger["id"])
        if evidence.ids.numpy().tolist() != ids.tolist():
            return Mismatch(f"{self.points_file}: ids", f"the {len(ids)} samples of {self.ledger_file}", "others")
        if evidence.shape[1:] != self.evaluation.input_shape:
            return Mismatch(
                f"{self.points_file}: points", f"shape {self.evaluation.input_shape}", f"{evidence.shape[1:]}"
            )
        return None

    def _whole(self, missing: set[int]) -> list[Mismatch]:
        """Returns what is false about the data as a whole."""
        if missing:
            first = self._names[self._places[min(missing)]]
            return [Mismatch("the data", f"sample {first}", "none", more=len(missing) - 1)]
        found = []
        actual, stated = samples_sha256(self._sum), self.evaluation.data_sha256
        if actual != stated:
            found.append(
                Mismatch("the data", f"SHA-256 {stated[:12]}... over ids, labels and inputs", f"{actual[:12]}...")
            )
        if self.evaluation.on_grid and not self._on_grid:
            found.append(
                Mismatch("report.json: worst_case.stored", "none, since inputs are no 8-bit images", "a figure")
            )
        return found

    def _look(self, batch: Batch) -> None:
        ledger, ids = self.evaluation.ledger, batch.ids
        if tuple(batch.x.shape[1:]) != self.evaluation.input_shape:
            raise InvalidEvaluation(f"inputs of shape {tuple(batch.x.shape[1:])}")
        at = np.array([self._places[id] for id in ids.tolist()])
        sample = [self._names[place] for place in at]
        columns = zip(batch.x, batch.y.tolist(), ids.tolist(), strict=True)
        self.picked += [one for one in columns if one[2] in self.wanted]
        threat = self.evaluation.threat
        dtype = (
            self.evidence.dtype if self.evidence else self.answers.classifier.dtype if self.answers else torch.float32
        )
        x = batch.x.detach().to("cpu", dtype)  # as the model was given it
        x = x.clamp(*threat.ends(x))
        y = batch.y.cpu()
        self._sum += samples_sum(x, y, ids)
        stored = threat.stored
        self._on_grid = self._on_grid and stored is not None and x.ndim > 2 and bool(stored.on_grid(x).all())
        for row in np.flatnonzero(ledger["label"][at] != y.numpy()).tolist():
            self.found.add(f"{self.ledger_file}: label", sample[row], int(y[row]), int(ledger["label"][at[row]]))
        if batch.names and batch.names != sample:
            other = next(row for row, name in enumerate(batch.names) if name != sample[row])
            self.found.add(f"{self.ledger_file}: name", sample[other], batch.names[other], sample[other])
        chosen = None
        if self.evidence is not None:
            chosen = Chosen(self.evidence, ids)
            self.points += len(chosen.places)
            self._geometry(chosen, x, at, sample)
            worst = chosen.points[chosen.worst]
            pictures = wrong_pictures(self.stated.gallery, ids.tolist(), x, worst, threat.range)
            rows = wrong_rows(self.stated.changed_rows, ids.tolist(), x, worst, self.stated.threat.eps_per_coordinate)
            for what, row in (*pictures, *rows):
                self.found.add(f"report.json: {what}", sample[row], "what data and points give", "another")
        if self.answers is not None:
            self.answers.check(x, y, ids, at, sample, chosen)
            if chosen is not None:
                self._saliency(self.answers, x, chosen.points[chosen.worst], ids.tolist())

    def _saliency(self, answers: Answers, x: Tensor, worst: Tensor, ids: list[int]) -> None:
        """Compares the saliency maps of the gallery with those that the model gives at samples and worst points."""
        shown = [
            dataclasses.replace(example, x=x[row], x_adv=worst[row])
            for example in self.evaluation.examples
            if example.id in ids and (row := ids.index(example.id)) >= 0
        ]
        drawn = [one for one in with_saliency(answers.judge.problem, shown) if one.saliency is not None]
        for what, id, edge in wrong_saliency(self.stated.gallery, drawn):
            self.found.add(f"report.json: {what}", self._names[self._places[id]], "that of the model", "another", edge)
        self.mapped.update(one.id for one in drawn)

    def _geometry(self, chosen: Chosen, x: Tensor, at: Index, sample: list[str]) -> None:
        """Measures the points of every attack in float64, without tolerance."""
        by = self.evaluation.ledger["worst_attack"][at]
        for row in np.flatnonzero(by < 0).tolist():
            if not torch.equal(chosen.points[chosen.worst[row]], x[row]):
                self._wrong_point("point", sample[row], "its clean input, as no attack changed it", "another")
        for index, run in enumerate(self.evaluation.runs):
            place = chosen.of[run.label]
            for row in np.flatnonzero((by == index) & (place != chosen.worst).numpy()).tolist():
                self._wrong_point("worst point", sample[row], f"that of {run.label}", "another")
            self._kept(run.label, (place >= 0).numpy(), at, sample)
            rows = (place >= 0).nonzero().squeeze(1)
            if len(rows):
                self._measure(run, chosen.points[place[rows]], x[rows], at[rows.numpy()], [sample[r] for r in rows])

    def _kept(self, label: str, there: Mask, at: Index, sample: list[str]) -> None:
        """Checks that every point which changed a prediction is there, and none of a sample that was not attacked."""
        ledger = self.evaluation.ledger
        predicted = ledger[f"{label}/prediction"][at]
        changed = (predicted >= 0) & (predicted != ledger["label"][at])
        for row in np.flatnonzero(changed & ~there).tolist():
            self._wrong_point(label, sample[row], f"the point that made it {predicted[row]}", "none")
        for row in np.flatnonzero(there & (predicted < 0)).tolist():
            self._wrong_point(label, sample[row], "no point, as it was not attacked", "one")

    def _measure(self, run: AttackRun, points: Tensor, x: Tensor, at: Index, sample: list[str]) -> None:
        """Measures points (N, ...) of one attack."""
        threat = dataclasses.replace(self.evaluation.threat, levels=run.attack.levels)
        far = self.evaluation.threat.distance(points, x).tolist()
        for row in (~threat.contains(points, x)).nonzero().squeeze(1).tolist():
            low, high = float(points[row].min()), float(points[row].max())
            got = f"{far[row]:.9g} with values {low:.9g}..{high:.9g}"
            self._wrong_point(run.label, sample[row], f"one within {threat.norm} {threat.eps} and {threat.bounds}", got)
        stated = self.evaluation.ledger[f"{run.label}/distance"][at].tolist()
        for row, pair in enumerate(zip(far, stated, strict=True)):
            if not same_number(*pair):
                self.found.add(f"{self.ledger_file}: {run.label}/distance", sample[row], *pair)

    def _wrong_point(self, what: str, sample: str, expected: str, got: str) -> None:
        self.found.add(f"{self.points_file}: {what}", sample, expected, got)
