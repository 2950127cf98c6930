"""Attacks, their contract, the threat they stay in, and protocols; torch is loaded with the first of them."""

from __future__ import annotations

if __name__ != "robustkit.attacks":
    raise ImportError("import robustkit.attacks; attacks/ is a link for people")

from typing import TYPE_CHECKING

from robustkit.base.lazy_names import offered_by

if TYPE_CHECKING:
    from robustkit.attacks.catalogue import *  # noqa: F403

__getattr__, __dir__ = offered_by("robustkit.attacks.catalogue")
