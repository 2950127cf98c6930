"""Settings in TOML files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from robustkit.base.foreign_file import content, parsing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: str | Path, who: str = "recipe") -> dict[str, Any]:
    """Returns the settings in a TOML file, "-" in their names read as "_".

    Raises:
        ConfigurationError: If the file cannot be read as TOML.
    """
    with parsing(f"{who} '{path}'", "a TOML file", "correct it"):
        tree = tomllib.loads(content(Path(path)).decode())
        return {name.replace("-", "_"): value for name, value in tree.items()}
