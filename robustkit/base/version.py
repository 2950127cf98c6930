"""The version of robustkit, once."""

__version__ = "0.1.0"
