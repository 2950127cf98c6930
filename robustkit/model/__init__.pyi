"""The classifier and what it needs: the only place that knows input scaling, output kind, device."""

from .bpda import BPDA
from .classifier import Classifier
from .unpacked import Unpacked
from .weights import load_weights

__all__ = ["BPDA", "Classifier", "Unpacked", "load_weights"]
