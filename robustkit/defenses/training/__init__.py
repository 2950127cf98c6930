"""Training: a recipe, one loop, guards against its silent failures, and checkpoints that resume to the same bits."""

from robustkit.defenses.training.guards import Diverged, Epoch, Figures, Finding
from robustkit.defenses.training.heads import head_of, replace_head
from robustkit.defenses.training.loop import Standing, Training, fit
from robustkit.defenses.training.recipe import Recipe

__all__ = [
    "Diverged",
    "Epoch",
    "Figures",
    "Finding",
    "Recipe",
    "Standing",
    "Training",
    "fit",
    "head_of",
    "replace_head",
]
