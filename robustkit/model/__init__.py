"""The classifier and what it needs: the only place that knows input scaling, output kind, device."""

from robustkit.model.bpda import BPDA
from robustkit.model.classifier import Classifier
from robustkit.model.weights import load_weights

__all__ = ["BPDA", "Classifier", "load_weights"]
