"""Batches of samples, their labels, and what is wrong with them."""

from robustkit.data.cleaning import Cleaning, Issue, clean
from robustkit.data.dataset import Batch, Dataset, batches
from robustkit.data.sampling import sampled

__all__ = ["Batch", "Cleaning", "Dataset", "Issue", "batches", "clean", "sampled"]
