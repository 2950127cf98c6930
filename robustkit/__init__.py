"""robustkit: wrap any torch classifier, attack it, defend it, and hand out a report a stranger can check."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError
from robustkit.base.old_modules import Moved
from robustkit.base.version import __version__

if TYPE_CHECKING:
    from robustkit import (
        attacks,
        bundle,
        checks,
        data,
        defenses,
        evaluation,
        loading,
        maths,
        model,
        plots,
        probes,
        report,
        shift,
        testing,
    )
    from robustkit.attacks import Threat
    from robustkit.attacks.attack_by_name import attack
    from robustkit.bundle import load_bundle, save_bundle, verify
    from robustkit.evaluation import Evaluation, Ledger, merge_evaluations, minimal_distances, security_curve
    from robustkit.evaluator import evaluate
    from robustkit.loading.embeddings import embeddings
    from robustkit.model import BPDA, Classifier
    from robustkit.union import evaluate_union

__all__ = [
    "BPDA",
    "Classifier",
    "ConfigurationError",
    "Evaluation",
    "InvalidEvaluation",
    "Ledger",
    "RobustkitError",
    "Threat",
    "__version__",
    "attack",
    "attacks",
    "bundle",
    "checks",
    "data",
    "defenses",
    "embeddings",
    "evaluate",
    "evaluate_union",
    "evaluation",
    "load_bundle",
    "loading",
    "maths",
    "merge_evaluations",
    "minimal_distances",
    "model",
    "plots",
    "probes",
    "report",
    "save_bundle",
    "security_curve",
    "shift",
    "testing",
    "verify",
]

_HOMES = {
    "BPDA": "model",
    "Classifier": "model",
    "Evaluation": "evaluation",
    "Ledger": "evaluation",
    "Threat": "attacks",
    "attack": "attacks.attack_by_name",
    "embeddings": "loading.embeddings",
    "evaluate": "evaluator",
    "evaluate_union": "union",
    "load_bundle": "bundle",
    "merge_evaluations": "evaluation",
    "minimal_distances": "evaluation",
    "save_bundle": "bundle",
    "security_curve": "evaluation",
    "verify": "bundle",
}

sys.meta_path.append(Moved())

if not TYPE_CHECKING:  # with it, a type checker would believe in every name

    def __getattr__(name):
        """Imports the public names when they are asked for, so that `robustkit --help` need not wait for torch."""
        if name in _HOMES:
            return getattr(import_module(f"robustkit.{_HOMES[name]}"), name)
        if name in __all__:
            return import_module(f"robustkit.{name}")
        raise AttributeError(f"module 'robustkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
