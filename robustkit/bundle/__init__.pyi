"""The evidence bundle: everything a report rests on in one folder, and the check that nothing in it is false."""

from .mismatch import Mismatch
from .save import save_bundle
from .verification import verify
from .verification_result import Check, Verification

__all__ = ["Check", "Mismatch", "Verification", "save_bundle", "verify"]
