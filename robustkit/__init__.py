"""robustkit: wrap any torch classifier, attack it, defend it, and hand out a report that a stranger can check."""

__version__ = "0.1.0"
