"""Accuracy and calibration under natural shift: corruptions, published sets, rotations."""

from robustkit.shift.evaluate import evaluate_shift
from robustkit.shift.result import Baseline, Shift

__all__ = ["Baseline", "Shift", "evaluate_shift"]
