"""Model and data of an earlier run: written down as they were named, and loaded again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustkit.cli.shared.model_and_data import Case, load_case

# Where something runs and whether files may run code is for each user to say.
_PRIVATE = {"device", "batch_size", "trust_checkpoint", "replace_head"}


def as_named(load: Callable[..., Case]) -> dict[str, Any]:
    """Returns the values a loader was made with, those that say what is loaded, ready for JSON."""
    values: dict[str, Any] = getattr(load, "keywords", {})
    kept = {name: value for name, value in values.items() if name not in _PRIVATE and value is not None}
    return {name: str(value) if isinstance(value, Path) else value for name, value in kept.items()}


@dataclass(frozen=True)
class Again:
    """Loads what was recorded, except where the command line says otherwise.

    Attributes:
        values: Of all options.
        now: Names of those that were typed.
    """

    values: dict[str, Any]
    now: set[str]

    def case(self, recorded: Mapping[str, Any], files: Mapping[str, str], folder: Path) -> Case | str:
        """Returns model and data, or why they cannot be loaded without being told more.

        Names and files are loaded, functions only where they are typed: a record from elsewhere could name any.

        Args:
            recorded: As `as_named` wrote it down.
            files: The names of files that came with it.
            folder: Where these are.

        Raises:
            ConfigurationError: If something is there but cannot be used.
        """
        from robustkit.loading.data import READERS
        from robustkit.model.small_models import is_small

        usable = {name: value for name, value in recorded.items() if name in self.values and name not in _PRIVATE}
        chosen = {**self.values, **{name: value for name, value in usable.items() if name not in self.now}}
        model, data = chosen["model"], chosen["data"]
        library = str(model).startswith(("torchvision:", "timm:"))
        for name, known in (
            ("model", is_small(str(model)) or library or Path(str(model)).is_file()),
            ("data", data == "digits" or data in READERS or Path(str(data)).exists()),
        ):
            if name not in self.now and not known:
                value = chosen[name]
                why = "is a function, called only if you name it" if ":" in str(value) else "is not here"
                return f"'{value}' {why}: give --{name}" if value else f"give --{name}"
        for name, option in (("weights", "--weights"), ("data_root", "--data-root")):
            if name in self.now or chosen[name] is None:
                continue
            came_along = name == "weights" and chosen[name] in files and str(chosen[name]).endswith(".safetensors")
            chosen[name] = folder / chosen[name] if came_along else Path(chosen[name])
            if not chosen[name].exists():
                return f"'{chosen[name]}' is not here: give {option}"
        return load_case(**chosen)
