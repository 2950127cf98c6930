"""The evidence bundle: everything a report rests on in one folder, and the check that nothing in it is false."""

from robustkit.bundle.mismatch import Mismatch
from robustkit.bundle.outcome import Check, Verification
from robustkit.bundle.save import save_bundle
from robustkit.bundle.verification import verify

__all__ = ["Check", "Mismatch", "Verification", "save_bundle", "verify"]
