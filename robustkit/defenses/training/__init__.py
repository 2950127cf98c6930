"""Training: a recipe, one loop, guards against failures without an error, checkpoints that resume bit-exactly."""

from robustkit.defenses.training.guards import Diverged, Finding
from robustkit.defenses.training.last_layer import head_of, replace_head
from robustkit.defenses.training.loop import Training, fit
from robustkit.defenses.training.measurement import Epoch, Figures
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.upkeep import TrainingProgress

__all__ = [
    "Diverged",
    "Epoch",
    "Figures",
    "Finding",
    "Recipe",
    "Training",
    "TrainingProgress",
    "fit",
    "head_of",
    "replace_head",
]
