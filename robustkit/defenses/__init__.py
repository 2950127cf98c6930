"""All defenses: training objectives and their loop, ensembles, calibrators, smoothing, preprocessing."""

from robustkit.defense import Objective
from robustkit.defenses.calibrators import Isotonic, Temperature, VectorScaling, calibrate
from robustkit.defenses.ensemble import Ensemble, fit_weights, fresh_copies, snapshots
from robustkit.defenses.logits import Logits
from robustkit.defenses.pgd_training import PGDTraining
from robustkit.defenses.preprocess import JPEG, BitDepth, MedianBlur
from robustkit.defenses.smoothing import Smoothed, certified_accuracy, certified_radius
from robustkit.defenses.standard import Standard
from robustkit.defenses.trainer import Diverged, Epoch, fit

__all__ = [
    "JPEG", "BitDepth", "Diverged", "Ensemble", "Epoch", "Isotonic", "Logits", "MedianBlur", "Objective",
    "PGDTraining", "Smoothed", "Standard", "Temperature", "VectorScaling", "calibrate", "certified_accuracy",
    "certified_radius", "fit", "fit_weights", "fresh_copies", "snapshots",
]  # fmt: skip
