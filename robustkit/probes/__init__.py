"""Experiments on a finished evaluation: can its figures be trusted?"""

from robustkit.probes.closed_form import Finding, check_attack
from robustkit.probes.planted import Planted, planted

__all__ = ["Finding", "Planted", "check_attack", "planted"]
