"""All defenses: training objectives, and the loop that follows them."""

from robustkit.defense import Objective
from robustkit.defenses.pgd_training import PGDTraining
from robustkit.defenses.standard import Standard
from robustkit.defenses.trainer import Diverged, Epoch, fit

__all__ = ["Diverged", "Epoch", "Objective", "PGDTraining", "Standard", "fit"]
