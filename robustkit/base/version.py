"""The version of robustkit, once."""

__version__ = "0.2.0"
