"""What the model says of clean inputs and stored points, beside what the ledger says it said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustkit.bundle.failure_messages import Findings, Mismatch
from robustkit.bundle.stored_points import Chosen
from robustkit.evaluation.outcome import Judge
from robustkit.evaluation.result import Evaluation
from robustkit.maths.calibration import ClasswiseBins, columns
from robustkit.maths.losses import margin
from robustkit.model.classifier import Classifier
from robustkit.report.document.environment import build_subject
from robustkit.report.document.report import Audit

SAME_MACHINE, ANY_MACHINE = 1e-5, 1e-3  # noise of a logit, as a share of the spread of its row
RULE = (
    "two logits closer than 2e-3 of their spread (16 units of its precision in a shorter format) may change places on "
    "another machine"
)


class Answers:
    """Compares predictions, confidences, margins and scores, allowing for the noise of floating point.

    Every figure may move as far as the noise of the logits carries it. What differs more than it would on the same
    machine but no more than on any (`ANY_MACHINE`, as the doctor's Q04) is a remark.

    Args:
        classifier: The model, inside its `frozen()` context when it is asked.
        evaluation: Restored from its ledger.
        ledger_file: Name of the ledger.
        batch_size: Rows the model sees at once.
    """

    def __init__(self, classifier: Classifier, evaluation: Evaluation, ledger_file: str, batch_size: int) -> None:
        self.classifier, self.evaluation, self.file = classifier, evaluation, ledger_file
        self.judge = Judge(classifier, evaluation.threat, evaluation.seed, batch_size)
        self.bins = {part: ClasswiseBins(evaluation.num_classes) for part in ("clean", "attacked")}
        self.slack = {part: [0.0, 0.0] for part in self.bins}
        self.found = Findings()
        self.passes = 0

    def check(self, x: Tensor, y: Tensor, ids: Tensor, at: Any, sample: list[str], chosen: Chosen | None) -> None:
        """Asks the model about some samples (N, ...) with labels and ids, at places `at` of the ledger."""
        clean = self._ask(x, ids)
        self._scores("clean", clean, y, at, sample)
        if chosen is None:
            return
        points, owner = self._ask(chosen.points, ids[chosen.owner]), chosen.owner
        self._scores("attacked", points[chosen.worst], y, at, sample)
        stored, ledger = None, self.evaluation.ledger
        rounded = [ledger[f"{label}/stored_prediction"][at] >= 0 for label in chosen.of]
        grid = self.evaluation.threat.stored
        if grid is not None and (self.evaluation.on_grid or np.any(rounded)):
            stored = self._ask(grid.snap(chosen.points, x[owner]), ids[owner])
        for label, place in chosen.of.items():
            rows = (place >= 0).nonzero().squeeze(1)
            if not len(rows):
                continue
            z, names, where = points[place[rows]], [sample[row] for row in rows.tolist()], at[rows.numpy()]
            self._predictions(f"{label}/prediction", z, where, names)
            if stored is not None:
                said = np.flatnonzero(self.evaluation.on_grid | (ledger[f"{label}/stored_prediction"][where] >= 0))
                z_said, names_said = stored[place[rows]][said], [names[row] for row in said]
                self._predictions(f"{label}/stored_prediction", z_said, where[said], names_said)
            confidence, gap = self.classifier.probabilities(z).amax(dim=1).numpy(), margin(z, y[rows])[0].numpy()
            self._figures(f"{label}/confidence", confidence, confidence * (1 - confidence), z, where, names)
            self._figures(f"{label}/margin", gap, np.ones(len(gap)), z, where, names)

    def calibration(self, stated: Audit, where: str, whole: bool) -> Iterator[Mismatch]:
        """Yields which classwise calibration errors are not what all the model's probabilities give."""
        for part in ("clean", "attacked") if whole else ("clean",):
            claimed = getattr(stated.calibration, part).classwise_ece.value
            bins = self.bins[part]
            actual = bins.ece()
            same, other = (slack / (bins.n * bins.num_classes) + 1e-9 for slack in self.slack[part])
            if (gap := abs(actual - claimed)) > same:
                place = f"{where}.calibration.{part}.classwise_ece"
                yield Mismatch(place, f"{actual:.6g}", f"{claimed:.6g}", edge=gap <= other)

    def _ask(self, x: Tensor, ids: Tensor) -> Tensor:
        self.passes += len(x)
        device = self.classifier.device
        return self.judge(x.to(device), ids.to(device)).cpu()

    def _noise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns by how much a logit of each row (N, K) may differ on the same machine, and on another."""
        eps = torch.finfo(self.classifier.model_dtype).eps
        spread, size = z.amax(dim=1) - z.amin(dim=1), z.abs().amax(dim=1)
        same = SAME_MACHINE * spread + 4 * eps * size
        return same, max(ANY_MACHINE, 8 * eps) * spread + 16 * eps * size

    def _predictions(self, column: str, z: Tensor, at: Any, sample: list[str]) -> None:
        stated, actual = self.evaluation.ledger[column][at], z.argmax(dim=1)
        noise = self._noise(z)[1]
        for row in np.flatnonzero(stated != actual.numpy()):
            there = 0 <= stated[row] < z.shape[1]
            edge = there and bool(z[row, actual[row]] - z[row, stated[row]] <= 2 * noise[row])
            self.found.add(f"{self.file}: {column}", sample[row], int(actual[row]), int(stated[row]), edge)

    def _figures(self, column: str, actual: Any, slope: Any, z: Tensor, at: Any, sample: list[str]) -> None:
        """Compares a figure whose change is at most `slope` times that of the difference of two logits."""
        stated = self.evaluation.ledger[column][at]
        # Half as much again, because the slope holds for small changes.
        same, other = (3 * noise.numpy() * slope + 1e-9 for noise in self._noise(z))
        gap = np.abs(stated - actual)
        for row in np.flatnonzero(~(gap <= same)):
            edge = bool(gap[row] <= other[row])
            self.found.add(f"{self.file}: {column}", sample[row], float(actual[row]), float(stated[row]), edge)

    def _scores(self, part: str, z: Tensor, y: Tensor, at: Any, sample: list[str]) -> None:
        """Compares prediction, confidence, likelihood and Brier score, and keeps count of the classwise error."""
        prefix = "worst" if part == "attacked" else part
        one_vs_rest = self.classifier.one_vs_rest
        p = self.classifier.probabilities(z).numpy()
        figures = columns(p, y.numpy(), one_vs_rest)
        self._predictions(f"{prefix}_prediction", z, at, sample)
        own = np.eye(p.shape[1])[y]
        slopes = {
            "confidence": figures.confidence * (1 - figures.confidence),
            "nll": 1 - (p * own).sum(axis=1),
            "brier": 2 * (np.abs(p - own) * p * (1 - p)).sum(axis=1),
        }
        if one_vs_rest:  # both are of rows divided by their sum, whose logarithms move at most twice as far as a logit
            slopes |= {"nll": np.full(len(p), 2.0), "brier": np.full(len(p), 4.0)}
        for name, slope in slopes.items():
            self._figures(f"{prefix}_{name}", getattr(figures, name), slope, z, at, sample)
        bins = self.bins[part]
        bins.add(p, y.numpy(), one_vs_rest)
        for kind, noise in enumerate(self._noise(z)):
            # Noise moves each probability a little, and one near the edge between two bins into the other.
            moved, steps = 2 * noise.numpy()[:, None] * p * (1 - p), p * bins.bins
            inner = (np.rint(steps) > 0) & (np.rint(steps) < bins.bins)
            near = inner & (np.abs(steps - np.rint(steps)) <= moved * bins.bins)
            self.slack[part][kind] += float(moved.sum() + 2 * (near * np.abs(p - own)).sum())


def check_subject(stated: Audit, classifier: Classifier, weights: Any) -> Iterator[Mismatch]:
    """Yields how a model differs from the one described; of its names only what it says itself is compared."""
    said = stated.subject
    actual = build_subject(classifier, said.class_names, said.name, said.source, weights, said.defences)
    fields = ["weights_sha256", "architecture", "parameters", "preprocess", "dtype"]
    fields += ["weights_file_sha256"] if weights is not None and said.weights_file_sha256 is not None else []
    for field in fields:
        claim, fact = getattr(said, field), getattr(actual, field)
        if claim != fact:
            cut = 12 if "sha256" in field else None
            same = field == "weights_file_sha256" and said.weights_sha256 == actual.weights_sha256
            yield Mismatch(f"the model: {field}", str(claim)[:cut], str(fact)[:cut], edge=same)
