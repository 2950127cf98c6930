"""Models, data and weights by name."""

from .data import load_data
from .model import load_model

__all__ = ["load_data", "load_model"]
