"""Model and data of an earlier run: written down as they were named, and loaded again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustkit.cli.shared.model_and_data import ModelAndData, ModelOptions

# Where something runs and whether files may run code is for each user to say.
_PRIVATE = {"device", "batch_size", "trust_checkpoint", "replace_head"}


def as_named(options: ModelOptions) -> dict[str, Any]:
    """Returns the options that say what is loaded, ready for JSON."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    kept = {name: value for name, value in values.items() if name not in _PRIVATE and value is not None}
    return {name: str(value) if isinstance(value, Path) else value for name, value in kept.items()}


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Loads what was recorded, except where the command line says otherwise.

    Attributes:
        values: Of all options.
        typed: Names of those that were typed.
    """

    values: dict[str, Any]
    typed: set[str]

    def load(self, record: Mapping[str, Any], files: Mapping[str, str], folder: Path) -> ModelAndData | str:
        """Returns model and data, or why they cannot be loaded without being told more.

        Names and files are loaded, functions only where they are typed: a record from elsewhere could name any.

        Args:
            record: As `as_named` wrote it down.
            files: The names of files that came with it.
            folder: Where these are.

        Raises:
            ConfigurationError: If something is there but cannot be used.
        """
        usable = {name: value for name, value in record.items() if name in self.values and name not in _PRIVATE}
        chosen = {**self.values, **{name: value for name, value in usable.items() if name not in self.typed}}
        if record and "transform" not in {*record, *self.typed}:
            chosen["transform"] = "none"  # from before models brought their presets
        missing = self._unknown(chosen) or self._locate(chosen, files, folder)
        return missing or ModelOptions(**chosen).load()

    def _unknown(self, chosen: Mapping[str, Any]) -> str | None:
        """Returns which of model and data is a function nobody typed, or not here."""
        from robustkit.loading import data, model
        from robustkit.loading.transform import names_only

        if "transform" not in self.typed and not names_only(str(chosen["transform"])):
            return f"'{chosen['transform']}' is a function, called only if you name it: give --transform"
        for name, harmless in (("model", model.loads_only), ("data", data.loads_only)):
            value = chosen[name]
            if name in self.typed or (value and harmless(str(value))):
                continue
            why = "is a function, called only if you name it" if ":" in str(value) else "is not here"
            return f"'{value}' {why}: give --{name}" if value else f"give --{name}"
        return None

    def _locate(self, chosen: dict[str, Any], files: Mapping[str, str], folder: Path) -> str | None:
        """Makes paths of recorded files, in `folder` where they came along, and returns which one is missing."""
        for name, option in (("weights", "--weights"), ("data_root", "--data-root")):
            if name in self.typed or chosen[name] is None:
                continue
            came_along = name == "weights" and chosen[name] in files and str(chosen[name]).endswith(".safetensors")
            chosen[name] = folder / chosen[name] if came_along else Path(chosen[name])
            if not chosen[name].exists():
                return f"'{chosen[name]}' is not here: give {option}"
        return None
