"""What `robustkit.defenses` offers: objectives, training, ensembles, calibrators, smoothing, preprocessing."""

from __future__ import annotations

from robustkit.defenses.augment.apply import Augmentation, create_augmentation
from robustkit.defenses.calibrators import Isotonic, Temperature, VectorScaling, calibrate
from robustkit.defenses.ensemble import Ensemble, fit_weights, fresh_copies, snapshots
from robustkit.defenses.logits import Logits
from robustkit.defenses.objectives import catalogue as objectives
from robustkit.defenses.objectives.catalogue import *  # noqa: F403
from robustkit.defenses.preprocess import JPEG, BitDepth, MedianBlur
from robustkit.defenses.smoothing import Smoothed, certified_accuracy, certified_radius
from robustkit.defenses.training import Diverged, Epoch, Recipe, fit
from robustkit.defenses.training.out_of_fold import out_of_fold

__all__ = [
    "JPEG",
    "Augmentation",
    "BitDepth",
    "Diverged",
    "Ensemble",
    "Epoch",
    "Isotonic",
    "Logits",
    "MedianBlur",
    "Recipe",
    "Smoothed",
    "Temperature",
    "VectorScaling",
    "calibrate",
    "certified_accuracy",
    "certified_radius",
    "create_augmentation",
    "fit",
    "fit_weights",
    "fresh_copies",
    "out_of_fold",
    "snapshots",
]
__all__ += objectives.__all__
