"""Batches of samples, their labels, and what is wrong with them."""

from .cleaning import Cleaning, Issue, clean
from .dataset import Batch, Dataset, batches
from .layout import Layout
from .packing import pack
from .sampling import sampled
from .schema import Feature, Schema
from .tables import from_frame

__all__ = [
    "Batch",
    "Cleaning",
    "Dataset",
    "Feature",
    "Issue",
    "Layout",
    "Schema",
    "batches",
    "clean",
    "from_frame",
    "pack",
    "sampled",
]
