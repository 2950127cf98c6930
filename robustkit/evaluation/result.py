"""What an evaluation found: one ledger, and every figure as a function of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustkit.attacks.names import accuracy_name, measured_alone, strength
from robustkit.base.errors import ConfigurationError
from robustkit.checks.diagnostic import Diagnostic, Quality, complete, quality
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.checks_after_attacks import checks_after_attacks
from robustkit.evaluation.curve import Curve
from robustkit.evaluation.gallery import Example
from robustkit.evaluation.ledger import Mask
from robustkit.evaluation.notebook_card import card
from robustkit.evaluation.part import Part, Setup
from robustkit.maths.calibration import Calibration, measure
from robustkit.maths.intervals import Proportion, confidence_sequence, proportion
from robustkit.model.classifier import as_classifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# These stand floors above, and are loaded only where a report is written or a figure drawn.
_REPORTS, _PLOTS = "robustkit.bundle.save", "robustkit.plots"


@dataclass(frozen=True, kw_only=True)
class Evaluation(Setup, Part):
    """Everything an evaluation found. All figures are computed from `ledger`.

    Attributes:
        data_sha256: Hash over ids, labels and inputs, whatever their order.
        found: The checks before the attacks, and the probes after them.
        total: How many samples all shards have together.
        stopped: Why the run stopped early, or None.
        examples: A few samples with their adversarial points.
        curve: Robust accuracy by radius on the samples of the probes, where those ran.
        probed: How many samples the probes looked at.
        probe_seconds: How long that took.
    """

    data_sha256: str
    found: tuple[Diagnostic, ...]
    total: int = 0
    stopped: str | None = None
    examples: tuple[Example, ...] = ()
    curve: Curve | None = None
    probed: int = 0
    probe_seconds: float = 0.0

    @property
    def ids_sha256(self) -> str:
        """Hash over the sorted sample ids."""
        return self.ledger.ids_sha256

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

        In a cascade: under this attack and those before it, as `remaining` says; `alone` never means that.
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

    def attacked(self, attack: str) -> Mask:
        """Returns which samples an attack, given by its label, went after.

        In a cascade those that no earlier attack broke; of an attack on near-boundary samples, those it began.
        """
        ledger, run = self.ledger, self._run(attack)
        given: Mask = ledger.right & (ledger[f"{attack}/prediction"] >= 0)
        if run.attack.close is None or (run.attack.minimal and not self.protocol.cascade):
            return given
        return given & ((ledger[f"{attack}/steps"] > 1) | ledger.broken_under(attack))

    def alone(self, attack: str) -> Proportion | None:
        """Returns the accuracy under one attack alone, given by its label; None where that was not measured.

        A later attack of a cascade never saw what earlier ones broke, so nobody knows what it would do alone.
        """
        place = self.runs.index(run := self._run(attack))
        alone = measured_alone(place, self.protocol.cascade, run.attack.settings())
        return self.accuracy(attack) if alone else None

    def remaining(self, attack: str) -> Proportion | None:
        """Returns the accuracy that is left after one attack of a cascade and those before it; None without one."""
        return self.accuracy(attack) if self.protocol.cascade else None

    def success_of_attacked(self, attack: str) -> Proportion:
        """Returns the share of the samples an attack went after that it brought to its goal."""
        return proportion(self.attack_success(attack).k, int(self.attacked(attack).sum()))

    def _run(self, attack: str) -> AttackRun:
        return next(run for run in self.runs if run.label == attack)

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
        after = checks_after_attacks(self.runs, self.ledger, self.protocol, self.found)
        # What attacks need of gradients is known better afterwards: score-based ones need none.
        found = [item for item in self.found if item.id != "Q07" or all(other.id != "Q07" for other in after)]
        return complete([*found, *after])

    @property
    def quality(self) -> Quality:
        """How far the evaluation can be trusted; never part of the robust accuracy itself."""
        return quality(self.diagnostics)

    def adversarial(self) -> tuple[Tensor, Tensor]:
        """Returns the ids (N,) and the worst points (N, ...) of all samples, on the CPU, in the order of the ledger.

        The worst point is the one on which the model is most clearly wrong, or least clearly right: `ledger.robust`
        tells which. Of a sample that no attack was given, it is the clean input.

        Raises:
            ConfigurationError: If the points were not kept.
        """
        if self.evidence is None:
            raise ConfigurationError("evaluation: expected the points, got none; evaluate with evidence=True")
        ids = self.ledger["id"]
        return torch.from_numpy(ids.copy()), self.evidence.worst(ids.tolist())

    def summary(self) -> dict[str, Any]:
        """Returns the figures by name, JSON-ready; shares as fractions with their counts and 95 % Wilson interval."""

        def said(share: Proportion) -> dict[str, Any]:
            return {"value": share.value, "k": share.k, "n": share.n, "interval": list(share.wilson)}

        return {
            "norm": self.threat.norm,
            "eps": self.threat.radius,
            "data": self.dataset.name,
            "protocol": self.protocol.label,
            "fingerprint": self.fingerprint,
            "quality": self.quality,
            "clean_accuracy": said(self.clean_accuracy),
            "robust_accuracy": said(self.robust_accuracy),
            "after": {run.label: said(self.accuracy(run.label)) for run in self.runs},
            "ece": {"clean": self.calibration().ece.value, "attacked": self.calibration(attacked=True).ece.value},
            "seconds": self.seconds,
        }

    def to_json(self) -> str:
        """Returns the summary as JSON."""
        return json.dumps(self.summary(), indent=2)

    def save(self, folder: str | Path, model: Any, *, name: str = "model", **details: Any) -> Path:
        """Writes the report and its evidence into a folder, which `robustkit.verify` checks, and returns the folder.

        Args:
            folder: A new one, or one that holds an earlier report.
            model: What was evaluated.
            name: What the report calls it.
            **details: What else `robustkit.report.build_audit` takes, such as `weights`.

        Raises:
            ConfigurationError: If nothing can be written there.
        """
        write = import_module(_REPORTS).save_evaluation
        path: Path = write(self, as_classifier(model), folder, name=name, **details)
        return path

    def plot(self, *, class_names: Sequence[str] | None = None) -> Figure:
        """Returns a figure of the usual six plots of `robustkit.plots`; `plot().savefig("six.png")` writes it.

        Args:
            class_names: In the order of the class indices; by default those of the data.

        Raises:
            ConfigurationError: If matplotlib is not installed, or there are names of another number of classes.
        """
        figure: Figure = import_module(_PLOTS).overview(self, class_names=class_names)
        return figure

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the ledger as arrays by column name."""
        return self.ledger.to_dict()

    def to_frame(self) -> Any:
        """Returns the ledger as a pandas DataFrame; raises ConfigurationError where pandas is not installed."""
        return self.ledger.to_frame()

    def _repr_html_(self) -> str:
        """Returns the figures for a notebook."""
        doubt = f"{self.quality}: likely too high" if self.quality in ("unreliable", "invalid") else None
        under = [
            (accuracy_name(run.label, self.protocol.cascade and place > 0), self.accuracy(run.label), True)
            for place, run in enumerate(self.runs)
        ]
        notes = [
            f"{self.threat.norm} {self.threat.eps} on {self.dataset.name}; protocol {self.protocol.label}: "
            f"{', '.join(strength(run.label, run.attack.settings()) for run in self.runs)}; evaluation "
            f"{self.quality}. Robust accuracy is an upper bound: a stronger attack can only lower it."
        ]
        shares = [("clean", self.clean_accuracy, False), *under, ("robust", self.robust_accuracy, True)]
        return card("Evaluation", notes, shares, doubt)

    def __repr__(self) -> str:
        """Returns the same, since the ledger has a row per sample."""
        return f"<Evaluation: {self}; {self.protocol.label}, {self.quality}>"

    def __str__(self) -> str:
        """Returns clean and robust accuracy in one line."""
        return f"clean {self.clean_accuracy}, robust {self.robust_accuracy} at {self.threat.norm} {self.threat.eps}"


def _share(hits: Mask) -> Proportion:
    return proportion(int(hits.sum()), len(hits))
