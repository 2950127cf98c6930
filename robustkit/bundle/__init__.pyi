"""The evidence bundle: everything a report rests on in one folder, and the check that nothing in it is false."""

from .failure_messages import Mismatch
from .load import Bundle, load_bundle
from .save import save_bundle
from .verification import verify
from .verification_result import Check, Verification

__all__ = ["Bundle", "Check", "Mismatch", "Verification", "load_bundle", "save_bundle", "verify"]
