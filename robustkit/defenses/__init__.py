"""Training objectives, augmentation, ensembles, calibrators, smoothing; torch is loaded with the first of them."""

from __future__ import annotations

if __name__ != "robustkit.defenses":
    raise ImportError("import robustkit.defenses; defenses/ is a link for people")

from typing import TYPE_CHECKING

from robustkit.base.lazy_names import offered_by

if TYPE_CHECKING:
    from robustkit.defenses.catalogue import *  # noqa: F403
    from robustkit.defenses.objectives.catalogue import *  # noqa: F403

__getattr__, __dir__ = offered_by("robustkit.defenses.catalogue")
