"""`evaluate_union`: one model under several threat models, each with its number, and the worst case over all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from robustkit.attacks.radius import eps_text
from robustkit.attacks.threat import Eps, Threat
from robustkit.base.errors import ConfigurationError
from robustkit.bundle.save import save_bundle
from robustkit.evaluation.ledger import Mask
from robustkit.evaluation.result import Evaluation
from robustkit.evaluator import evaluate
from robustkit.maths.intervals import Proportion
from robustkit.maths.norms import Norm
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.report.build import build_audit, build_report
from robustkit.report.document.across import AcrossThreats, across_threats

_FIXED = ("classifier", "data", "attacks", "norm", "eps")  # of evaluate, given otherwise here
_APART = ("until", "budget", "shard", "folder", "finished")  # of it, made for one threat model


@dataclass(frozen=True, repr=False)
class ThreatUnion:
    """What attacks leave of the accuracy of one model under several threat models, on the same samples.

    Attributes:
        evaluations: One for each threat model, complete in itself: every sample was attacked under each.
    """

    evaluations: tuple[Evaluation, ...]

    @property
    def threats(self) -> tuple[str, ...]:
        """What the threat models are called, such as "Linf 8/255"."""
        return tuple(threat_name(one.threat) for one in self.evaluations)

    @property
    def worst_case(self) -> AcrossThreats:
        """Accuracy under all threat models, and how many samples were broken under each, and under that one alone."""
        return across_threats(self.threats, [one.ledger for one in self.evaluations])

    @property
    def clean_accuracy(self) -> Proportion:
        """Share of all samples that are right without an attack."""
        return self.evaluations[0].clean_accuracy

    @property
    def robust_accuracy(self) -> Proportion:
        """Share of all samples that are right under every attack of every threat model."""
        return self.worst_case.accuracy

    @property
    def broken(self) -> dict[str, Mask]:
        """Which samples were broken under each threat model, in the order of the first ledger."""
        ids = self.evaluations[0].ledger["id"]
        found = {}
        for name, one in zip(self.threats, self.evaluations, strict=True):
            order = np.argsort(one.ledger["id"])
            place = order[np.searchsorted(one.ledger["id"], ids, sorter=order)]
            found[name] = (one.ledger.right & ~one.ledger.robust)[place]
        return found

    def save(self, folder: str | Path, model: Any, *, name: str = "model", **details: Any) -> Path:
        """Writes one report on all threat models with its evidence, which `robustkit.verify` checks.

        Args:
            folder: A new one, or one that holds an earlier report.
            model: What was evaluated.
            name: What the report calls it.
            **details: What else `robustkit.report.build_audit` takes, such as `weights`.

        Raises:
            ConfigurationError: If nothing can be written there.
        """
        classifier = as_classifier(model)
        audits = [
            build_audit(one, classifier, name=f"{name} ({threat})", **details)
            for one, threat in zip(self.evaluations, self.threats, strict=True)
        ]
        report = build_report(audits, title=name, seed=self.evaluations[0].seed, across=self.worst_case)
        return save_bundle(report, self.evaluations, folder)

    def __str__(self) -> str:
        """Returns clean and robust accuracy, together and under each threat model, in one line."""
        each = ", ".join(
            f"{name} {one.robust_accuracy}" for name, one in zip(self.threats, self.evaluations, strict=True)
        )
        return f"clean {self.clean_accuracy}, robust {self.robust_accuracy} under all of: {each}"

    def __repr__(self) -> str:
        return f"<ThreatUnion: {self}>"


def threat_name(threat: Threat) -> str:
    """Returns what a threat model is called, such as "L2 0.5"."""
    return f"{threat.norm} {eps_text(threat.eps)}"


def evaluate_union(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    threats: Sequence[tuple[Norm, Eps]],
    attacks: Sequence[str] | str = "fast",
    **options: Any,
) -> ThreatUnion:
    """Returns what attacks leave of the accuracy of a model under each of several threat models, and under all of them.

    Tramer & Boneh 2019, arXiv 1904.13000, section 2: the attacker of the union takes whichever model of perturbations
    breaks the sample. Every sample is attacked under every threat model, so that each number is its own.

    Args:
        classifier: As for `robustkit.evaluate`.
        data: The same; read once for each threat model.
        threats: Two or more pairs of a norm and its eps, such as [("Linf", "8/255"), ("L2", 0.5), ("L0", 10)].
        attacks: By name, made anew for each threat model.
        **options: Of `robustkit.evaluate`, but those that stop early or share the work of one threat model.

    Raises:
        ConfigurationError: If there are fewer than two threat models, or one is there twice, or an option is not known.
        InvalidEvaluation: As by `robustkit.evaluate`.
    """
    pairs = [_pair(one) for one in threats] if isinstance(threats, list | tuple) else []
    if len(pairs) < 2:
        raise ConfigurationError(
            f"union: expected two or more pairs of norm and eps, got {threats!r}; such as"
            " [('Linf', '8/255'), ('L2', 0.5)]"
        )
    known = [name for name in inspect.signature(evaluate).parameters if name not in (*_FIXED, *_APART)]
    if strange := [name for name in options if name not in known]:
        raise ConfigurationError(
            f"union: expected options among {', '.join(known)}, got {', '.join(strange)}; leave them out, or evaluate"
            " each threat model by itself"
        )
    model = as_classifier(classifier)
    found = ThreatUnion(tuple(evaluate(model, data, attacks, norm=norm, eps=eps, **options) for norm, eps in pairs))
    _ = found.worst_case  # refuses what does not belong together
    return found


def _pair(one: Any) -> tuple[Norm, Eps]:
    """Returns norm and eps of a threat model, if it is one."""
    if not isinstance(one, list | tuple) or len(one) != 2:
        raise ConfigurationError(f"union: expected pairs of norm and eps, got {one!r}; such as ('L2', 0.5)")
    norm, eps = one
    Threat(norm=norm, eps=eps, bounds=(-float("inf"), float("inf")))
    return norm, eps
