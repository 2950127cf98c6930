"""What an evaluation counts while it runs: parts of the samples, which add up to the whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from robustkit.attacks.names import labels
from robustkit.attacks.protocols import Protocol
from robustkit.attacks.threat import Threat
from robustkit.data.dataset import Dataset
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.evidence import Evidence
from robustkit.evaluation.gallery import Gallery
from robustkit.evaluation.ledger import Ledger
from robustkit.maths.calibration import ClasswiseBins


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all parts of one evaluation have in common, known before the first attack.

    Attributes:
        threat: What the attacks may change.
        protocol: The attacks as they were asked for.
        fingerprint: Of the protocol, its versions and the precision; see `Protocol.fingerprint`.
        num_classes: Number of classes of the model.
        input_shape: Shape of one input.
        dataset: Name, split and notes of the data; its samples are not kept.
        seed: Seed of the run.
        draws: Passes of a random model (EOT samples) that every outcome is the mean of.
        accelerated: Whether the attacks search on a faster copy of the model.
        early: Whether the run may stop early, its samples coming in random order.
        planned: How many samples there are to look at, if known.
        settings: All that decides the results, as text.
    """

    threat: Threat
    protocol: Protocol
    fingerprint: str
    num_classes: int
    input_shape: tuple[int, ...]
    dataset: Dataset
    seed: int
    draws: int
    accelerated: bool = False
    early: bool = False
    planned: int | None = None
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was found on some of the samples.

    Attributes:
        ledger: One row per sample.
        runs: The attacks with their costs.
        clean_bins: Calibration by class on clean inputs.
        attacked_bins: The same on the worst point found for each sample.
        on_grid: Whether the clean inputs are 8-bit images, so that the ledger knows outcomes after rounding, too.
        gallery: A few samples with their worst points.
        evidence: The points behind the outcomes, where they are kept.
        places: Place of every row of the ledger in the data, from 0, ascending.
        data_sum: Sum of the hashes of ids, labels and inputs, whatever their order.
        seconds: Time it took.
    """

    ledger: Ledger
    runs: tuple[AttackRun, ...]
    clean_bins: ClasswiseBins
    attacked_bins: ClasswiseBins
    on_grid: bool = True
    gallery: Gallery | None = None
    evidence: Evidence | None = None
    places: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    data_sum: int = 0
    seconds: float = 0.0

    @classmethod
    def empty(cls, setup: Setup, examples: int, evidence: bool) -> Part:
        """Returns the part without a sample.

        Args:
            setup: Of the evaluation.
            examples: How many broken samples to keep in the gallery.
            evidence: Whether to keep the points behind the outcomes.
        """
        names = labels(setup.protocol.attacks)
        return cls(
            ledger=Ledger(names, relaxed=setup.threat.schema is not None),
            runs=tuple(AttackRun(*run) for run in zip(setup.protocol.attacks, names, strict=True)),
            clean_bins=ClasswiseBins(setup.num_classes),
            attacked_bins=ClasswiseBins(setup.num_classes),
            gallery=Gallery(examples, setup.num_classes),
            evidence=Evidence(names) if evidence else None,
        )
