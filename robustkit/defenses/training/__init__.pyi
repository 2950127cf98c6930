"""Training: a recipe, one loop, guards against failures without an error, checkpoints that resume bit-exactly."""

from .guards import Diverged, Finding
from .last_layer import head_of, replace_head
from .loop import Training, fit
from .measurement import Epoch, Figures
from .periodic_tasks import TrainingProgress
from .recipe import Recipe

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
