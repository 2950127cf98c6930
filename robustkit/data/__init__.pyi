"""Batches of samples, their labels, and what is wrong with them."""

from .cleaning import Cleaning, Issue, clean
from .dataset import Batch, Dataset, batches
from .sampling import sampled
from .schema import Feature, Schema
from .tables import from_frame

__all__ = ["Batch", "Cleaning", "Dataset", "Feature", "Issue", "Schema", "batches", "clean", "from_frame", "sampled"]
