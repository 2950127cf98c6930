"""Batches of samples, their labels, and what is wrong with them."""

from .cleaning import Cleaning, Issue, clean
from .dataset import Batch, Dataset, batches
from .sampling import sampled

__all__ = ["Batch", "Cleaning", "Dataset", "Issue", "batches", "clean", "sampled"]
