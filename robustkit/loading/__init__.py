"""Models, data and weights by name."""

from robustkit.loading.data import load_data
from robustkit.loading.model import load_model

__all__ = ["load_data", "load_model"]
