"""A perturbation radius for each value of an input, and which of them may change, from files of numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustkit.attacks.threat import Eps, read_eps
from robustkit.base.foreign_file import parsing, regular


def read_radius(eps: str, mask: Path | None) -> Eps:
    """Returns `eps` as typed or, if it names a `.npy` file, the radii there; 0 where `mask` has False.

    Raises:
        ConfigurationError: If a file cannot be read, holds something else, or their shapes do not fit together.
    """
    radii = _array("--eps", Path(eps)) if eps.endswith(".npy") else eps
    return read_eps(radii, None if mask is None else _array("--mask", mask))


def _array(option: str, path: Path) -> NDArray[Any]:
    todo = "write it with numpy.save"
    with parsing(f"{option} '{path}'", "an array in a .npy file", todo), regular(path).open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
