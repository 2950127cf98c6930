"""The evidence bundle: everything a report rests on in one folder, and the check that nothing in it is false."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
