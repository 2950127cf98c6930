"""What is looked at before an attack: the doctor and its diagnostics."""

from robustkit.checks.diagnostic import Diagnostic, quality
from robustkit.checks.doctor import checkup, examine

__all__ = ["Diagnostic", "checkup", "examine", "quality"]
