"""Class maps from files: which class of the data is which output of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import content, parsing
from robustkit.data.class_matching import READINGS
from robustkit.data.join_classes import ClassMap

_SHOWN = 60  # characters of an option that a message repeats


def read_class_map(text: str) -> ClassMap:
    """Returns a class map, or one of the `READINGS` of class names.

    Args:
        text: Name of a `.csv` file with the lines class,output; of a `.json` file with an object {"class": output};
            such an object itself; or a reading. An output is a name or a number from 0.

    Raises:
        ConfigurationError: If the file cannot be read, or gives a class two outputs.
    """
    if text in READINGS:
        return text
    path = Path(text)
    kinds = f"a .csv or .json file, or one of {', '.join(READINGS)}"
    with parsing("--class-map", kinds, "correct it", f"'{text[:_SHOWN]}'"):
        if text.lstrip().startswith("{"):
            pairs: Any = json.loads(text, object_pairs_hook=list)
        elif path.suffix == ".json":
            pairs = json.loads(content(path).decode("utf-8-sig"), object_pairs_hook=list)
        else:
            pairs = [
                [cell.strip() for cell in line] for line in read_csv(content(path).decode("utf-8-sig")) if any(line)
            ]
    return _mapping(pairs)


def _mapping(pairs: Any) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and type(pair[1]) in (str, int) and pair[1] != ""):
            raise ConfigurationError(
                f"--class-map: expected a class and an output (a name or a number from 0), got {str(pair)[:80]};"
                ' write class,output or {"class": output}'
            )
        name, output = str(pair[0]), pair[1]
        if found.setdefault(name, output) != output:
            raise ConfigurationError(f"--class-map: expected one output for '{name}', got two; remove one")
    return found
