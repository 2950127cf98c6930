"""Accuracy and calibration under natural shift: corruptions, published sets, rotations."""

from .corruptions import CORRUPTIONS, SEVERITIES, corrupt
from .evaluate import evaluate_shift
from .published_sets import load_corrupted
from .result import Baseline, Shift
from .rotation import Spatial, spatial_grid

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
