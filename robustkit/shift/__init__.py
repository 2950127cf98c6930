"""Accuracy and calibration under natural shift: corruptions, published sets, rotations."""

from robustkit.shift.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from robustkit.shift.evaluate import evaluate_shift
from robustkit.shift.published_sets import load_corrupted
from robustkit.shift.result import Baseline, Shift
from robustkit.shift.rotation import Spatial, spatial_grid

__all__ = [
    "CORRUPTIONS",
    "SEVERITIES",
    "Baseline",
    "Shift",
    "Spatial",
    "corrupt",
    "evaluate_shift",
    "load_corrupted",
    "spatial_grid",
]
