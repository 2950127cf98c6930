"""What is looked at before an attack: the doctor and its diagnostics."""

from .diagnostic import Diagnostic, quality
from .doctor import checkup, examine
from .joining import join_classes

__all__ = ["Diagnostic", "checkup", "examine", "join_classes", "quality"]
