"""Model and data of an earlier run: written down as they were named, and loaded again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustkit.base.registry import is_address
from robustkit.base.settings import split
from robustkit.cli.shared.model_and_data import ModelAndData, ModelOptions

if TYPE_CHECKING:
    from robustkit.data.dataset import Dataset

# Where something runs and whether files may run code is for each user to say.
_PRIVATE = {"device", "batch_size", "trust_checkpoint", "replace_head"}
_KINDS: dict[str, tuple[type, ...]] = dict.fromkeys(("image_size", "classes", "draws"), (int,))
_KINDS |= dict.fromkeys(("output", "output_key"), (str, int))


def as_named(options: ModelOptions, dataset: Dataset | None = None) -> dict[str, Any]:
    """Returns the options that say what is loaded, ready for JSON; a schema as it came out for these data."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    kept = {name: value for name, value in values.items() if name not in _PRIVATE and value is not None}
    if dataset is not None and dataset.schema is not None:
        kept["schema"] = dataset.schema.to_text()
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

        A record from elsewhere could name any function and any path, so that it is data: known names are looked up and
        weights taken out of the bundle itself; everything else is called or opened only where it is typed.

        Args:
            record: As `as_named` wrote it down.
            files: The names of files that came with it.
            folder: Where these are.

        Raises:
            ConfigurationError: If something is there but cannot be used.
        """
        recorded = {name: value for name, value in record.items() if name in self.values and name not in _PRIVATE}
        usable = {name: value for name, value in recorded.items() if name not in self.typed and value is not None}
        for name, why in _unusable(usable, files):
            return f"'{usable[name]}' {why}: give --{name.replace('_', '-')}"
        chosen = {**self.values, **usable}
        if record and "transform" not in {*record, *self.typed}:
            chosen["transform"] = "none"  # from before models brought their presets
        for name in ("model", "data"):
            if not chosen[name]:
                return f"give --{name}"
        if "weights" in usable:
            chosen["weights"] = folder / usable["weights"]
        return ModelOptions(**chosen).load()


def _unusable(record: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields what of a record is not used unless it is typed, and why."""
    from robustkit.data.class_matching import READINGS
    from robustkit.loading import data, model
    from robustkit.loading.transform import names_only

    for name, value in record.items():
        if type(value) not in _KINDS.get(name, (str,)):
            yield name, "is no value for it"
            return
    harmless: dict[str, Callable[[str], bool]] = {
        "model": model.is_known,
        "data": data.is_known,
        "weights": lambda name: name in files and name.endswith(".safetensors"),
        "data_root": lambda path: False,
        "schema": lambda text: text.lstrip().startswith("{"),
        "class_map": lambda text: text in READINGS or text.lstrip().startswith("{"),
        "transform": lambda spec: names_only(spec) and not spec.startswith("hf:"),
    }
    for name, is_harmless in harmless.items():
        value = record.get(name)
        if value and not is_harmless(value):
            called = name in ("model", "data", "transform") and is_address(split(value)[0])
            yield name, f"is {'a function, called' if called else 'a path, opened'} only if you name it"
