"""What is looked at before an attack: the doctor and its diagnostics."""

from robustkit.checks.diagnostic import Diagnostic, quality
from robustkit.checks.doctor import checkup, examine
from robustkit.checks.joining import join_classes

__all__ = ["Diagnostic", "checkup", "examine", "join_classes", "quality"]
