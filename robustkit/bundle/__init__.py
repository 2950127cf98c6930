"""The evidence bundle: everything a report rests on in one folder, and the check that nothing in it is false."""

from robustkit.bundle.mismatch import Mismatch
from robustkit.bundle.save import save_bundle
from robustkit.bundle.verification import verify
from robustkit.bundle.verification_result import Check, Verification

__all__ = ["Check", "Mismatch", "Verification", "save_bundle", "verify"]
