"""Batches of samples, their labels, and what is wrong with them."""

from robustkit.data.dataset import Batch, Dataset, batches

__all__ = ["Batch", "Dataset", "batches"]
