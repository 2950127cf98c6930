"""robustkit: wrap any torch classifier, attack it, defend it, and hand out a report a stranger can check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustkit.bpda import BPDA
    from robustkit.bundle import save_bundle, verify
    from robustkit.classifier import Classifier
    from robustkit.evaluation import Evaluation
    from robustkit.evaluator import evaluate
    from robustkit.threat import Threat

__version__ = "0.1.0"
__all__ = ["BPDA", "Classifier", "Evaluation", "Threat", "evaluate", "save_bundle", "verify"]

_HOMES = {
    "BPDA": "bpda",
    "Classifier": "classifier",
    "Evaluation": "evaluation",
    "evaluate": "evaluator",
    "Threat": "threat",
    "save_bundle": "bundle",
    "verify": "bundle",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are asked for, so that `robustkit --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'robustkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"robustkit.{_HOMES[name]}"), name)
