"""The classifier and what it needs: the only place that knows input scaling, output kind, device."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
