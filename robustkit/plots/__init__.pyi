"""Plots on matplotlib, each one an `Axes`; `evaluation.plot()` makes the usual six in one figure."""

from .accuracy import corruptions, per_class, robustness_curve, training
from .answers import confusion, gallery, reliability
from .figure import overview
from .searches import convergence, distances, margins

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
