"""Training: a recipe, one loop, guards against its silent failures, and checkpoints that resume to the same bits."""

from robustkit.recipe import Recipe
from robustkit.training.guards import Diverged, Epoch, Figures, Finding
from robustkit.training.heads import head_of, replace_head
from robustkit.training.loop import Standing, Training, fit

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
