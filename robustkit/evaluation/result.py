"""What an evaluation found: one ledger, and every figure as a function of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from robustkit.attacks.protocols import Protocol
from robustkit.attacks.threat import Threat
from robustkit.checks.diagnostic import Diagnostic, Quality, complete, quality
from robustkit.data.dataset import Dataset
from robustkit.evaluation.afterwards import in_hindsight
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.curve import Curve
from robustkit.evaluation.evidence import Evidence
from robustkit.evaluation.gallery import Example, Gallery
from robustkit.evaluation.ledger import Ledger, Mask
from robustkit.evaluation.notebook_card import card
from robustkit.maths.calibration import Calibration, ClasswiseBins, measure
from robustkit.maths.intervals import Proportion, confidence_sequence, proportion


@dataclass
class Evaluation:
    """Everything an evaluation found. All figures are computed from `ledger`.

    Attributes:
        ledger: One row per sample.
        threat: What the attacks might change.
        protocol: The attacks as they were asked for.
        fingerprint: Of the protocol, its versions and the precision; see `Protocol.fingerprint`.
        runs: The attacks with their costs.
        examples: A few samples with their adversarial points.
        evidence: The points behind the verdicts, where they were kept.
        curve: Robust accuracy by radius on the samples of the probes, where those ran.
        probed: How many samples the probes looked at.
        probe_seconds: How long that took.
        num_classes: Number of classes of the model.
        input_shape: Shape of one input.
        dataset: Name, split and notes of the data; its samples are not kept.
        seed: Seed of the run.
        draws: How many passes of the model each verdict is the mean of.
        on_grid: Whether the clean inputs are 8-bit images, so that the ledger knows verdicts after rounding, too.
        accelerated: Whether the attacks searched on a faster copy of the model.
        early: Whether the run was allowed to stop early, its samples coming in random order.
        stopped: Why it did, or None.
        planned: How many samples there were to look at, if known.
        ids_sha256: Hash over the sorted sample ids.
        data_sha256: Hash over ids, labels and inputs, whatever their order.
        data_sum: What that is the hash of.
        places: Place of every row of the ledger in the data, from 0, ascending; of a shard only its own.
        total: How many samples all shards have together.
        settings: What parts of one evaluation have in common, as text.
    """

    ledger: Ledger
    threat: Threat
    protocol: Protocol
    fingerprint: str
    runs: tuple[AttackRun, ...]
    num_classes: int
    input_shape: tuple[int, ...]
    dataset: Dataset
    seed: int
    draws: int
    ids_sha256: str
    data_sha256: str
    found: tuple[Diagnostic, ...]
    clean_bins: ClasswiseBins
    attacked_bins: ClasswiseBins
    on_grid: bool = False
    accelerated: bool = False
    early: bool = False
    stopped: str | None = None
    planned: int | None = None
    examples: tuple[Example, ...] = ()
    evidence: Evidence | None = None
    seconds: float = 0.0
    curve: Curve | None = None
    probed: int = 0
    probe_seconds: float = 0.0
    data_sum: int = 0
    places: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    total: int = 0
    gallery: Gallery | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def clean_accuracy(self) -> Proportion:
        """Share of all samples that are right without an attack."""
        return _share(self.ledger.right)

    @property
    def robust_accuracy(self) -> Proportion:
        """Share of all samples that are right under every attack; an upper bound of the true robust accuracy."""
        return _share(self.ledger.robust)

    @property
    def robust_accuracy_stored(self) -> Proportion | None:
        """The same after rounding every adversarial point to 8 bits; None unless the clean inputs are such.

        An upper bound once more: points found between the levels may lose by the rounding what a search on the levels
        themselves (`levels=256`) would keep.
        """
        return _share(self.ledger.robust_stored) if self.on_grid else None

    @property
    def anytime_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the robust accuracy that allows for stopping at any time; None for a fixed number."""
        robust = self.robust_accuracy
        return confidence_sequence(robust.k, robust.n) if self.early else None

    def accuracy(self, attack: str) -> Proportion:
        """Returns the share of all samples that are right under one attack, given by its label.

        In a cascade: under this attack and those before it.
        """
        return _share(self.ledger.right_under(attack))

    def attack_success(self, attack: str | None = None) -> Proportion:
        """Returns the share of the initially right samples that an attack, or any of them, brought to its goal."""
        ledger, target = self.ledger, self.threat.target
        labels = [attack] if attack else [run.label for run in self.runs]
        hits = [
            ledger.broken_under(label) if target is None else ledger[f"{label}/prediction"] == target
            for label in labels
        ]
        return _share(np.any(hits, axis=0)[ledger.right])

    def per_class(self) -> list[tuple[int, Proportion, Proportion]]:
        """Returns class, clean accuracy and robust accuracy for every class; classes without samples have n = 0."""
        right, robust, labels = self.ledger.right, self.ledger.robust, self.ledger["label"]
        return [(k, _share(right[labels == k]), _share(robust[labels == k])) for k in range(self.num_classes)]

    def calibration(self, attacked: bool = False) -> Calibration:
        """Returns the calibration on clean samples, or on the worst point found for each sample."""
        prefix = "worst" if attacked else "clean"
        ledger = self.ledger
        return measure(
            ledger[f"{prefix}_confidence"],
            ledger[f"{prefix}_prediction"] == ledger["label"],
            ledger[f"{prefix}_nll"],
            ledger[f"{prefix}_brier"],
            classwise=self.attacked_bins if attacked else self.clean_bins,
            seed=self.seed,
        )

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Every check of the evaluation, also those that were not run."""
        after = in_hindsight(self.runs, self.ledger, self.protocol, self.found)
        # What attacks need of gradients is known better afterwards: score-based ones need none.
        found = [item for item in self.found if item.id != "Q07" or all(other.id != "Q07" for other in after)]
        return complete([*found, *after])

    @property
    def quality(self) -> Quality:
        """How far the evaluation can be trusted; never part of the robust accuracy itself."""
        return quality(self.diagnostics)

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the ledger as arrays by column name."""
        return self.ledger.to_dict()

    def to_frame(self) -> Any:
        """Returns the ledger as a pandas DataFrame; raises ConfigurationError where pandas is not installed."""
        return self.ledger.to_frame()

    def _repr_html_(self) -> str:
        """Returns the figures for a notebook."""
        doubt = f"{self.quality}: likely too high" if self.quality in ("unreliable", "invalid") else None
        under = [(run.label, self.accuracy(run.label), True) for run in self.runs]
        notes = [
            f"{self.threat.norm} {self.threat.eps} on {self.dataset.name}; attacks: {self.protocol.label}; evaluation "
            f"{self.quality}. Robust accuracy is an upper limit: a stronger attack can only lower it."
        ]
        shares = [("clean", self.clean_accuracy, False), *under, ("robust", self.robust_accuracy, True)]
        return card("Evaluation", notes, shares, doubt)

    def __str__(self) -> str:
        """Returns clean and robust accuracy in one line."""
        return f"clean {self.clean_accuracy}, robust {self.robust_accuracy} at {self.threat.norm} {self.threat.eps}"


def _share(hits: Mask) -> Proportion:
    return proportion(int(hits.sum()), len(hits))
