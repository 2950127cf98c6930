"""Probes of a finished evaluation: can its figures be trusted?"""

from .closed_form import Finding, check_attack

__all__ = ["Finding", "check_attack"]
