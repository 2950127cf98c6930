"""Plots on matplotlib, each one an `Axes`; `evaluation.plot()` makes the usual six in one figure."""

from .accuracy import corruptions, per_class, robustness_curve, training
from .attack_progress import convergence, distances, margins
from .figure import overview
from .predictions import confusion, gallery, reliability

__all__ = [
    "confusion",
    "convergence",
    "corruptions",
    "distances",
    "gallery",
    "margins",
    "overview",
    "per_class",
    "reliability",
    "robustness_curve",
    "training",
]
