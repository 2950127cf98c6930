"""Pure functions: norms, projection, losses, random numbers, intervals, calibration."""

from .calibration import Calibration, adaptive_ece, aurc, brier, classwise_ece, ece, mce, measure, nll
from .intervals import Proportion, bootstrap, confidence_sequence, holm, one_sided, proportion
from .paired_test import Paired, difference_interval, mcnemar, paired
from .sample_size import half_width, samples_for_half_width, samples_for_mcnemar, samples_to_decide

__all__ = [
    "Calibration",
    "Paired",
    "Proportion",
    "adaptive_ece",
    "aurc",
    "bootstrap",
    "brier",
    "classwise_ece",
    "confidence_sequence",
    "difference_interval",
    "ece",
    "half_width",
    "holm",
    "mce",
    "mcnemar",
    "measure",
    "nll",
    "one_sided",
    "paired",
    "proportion",
    "samples_for_half_width",
    "samples_for_mcnemar",
    "samples_to_decide",
]
