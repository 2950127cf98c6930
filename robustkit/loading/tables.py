"""Tables in files: CSV, TSV and Parquet."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustkit.base.csv_table import read_csv
from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import content, parsing
from robustkit.base.optional import package
from robustkit.data.dataset import Dataset
from robustkit.data.tables import Written, from_columns, refuse_repeated
from robustkit.loading.listing import path_column, read_listing
from robustkit.loading.preprocessing import Preprocessing

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
_INDEX, _IDS = re.compile(r"|Unnamed: 0"), re.compile(r"^__index_level_0__$")  # what pandas calls an index


def read_table(
    path: Path,
    label_column: str | None = None,
    bounds: tuple[float, float] | None = None,
    pictures: Preprocessing | None = None,
    schema: Written | None = None,
) -> Dataset:
    """Returns the table in a file as `robustkit.data.tables.from_columns` reads it.

    A CSV file begins with the names of its columns, parted by commas or semicolons. An unnamed column that numbers the
    rows is left out, which the notes say; the index of a DataFrame in a Parquet file names the samples.
    A table with a column of image files (`robustkit.loading.listing`) gives these images.

    Raises:
        ConfigurationError: If the file is missing, damaged or no table, or its cells are not what they should be.
    """
    columns = _parquet(path) if path.suffix in (".parquet", ".pq") else _csv(path)
    columns = {_IDS.sub("id", name): values for name, values in columns.items()}
    index = next((name for name in columns if _INDEX.fullmatch(name)), None)
    notes: tuple[str, ...] = ()
    if index is not None:
        numbers = columns.pop(index)
        if [str(cell) for cell in numbers.tolist()] != [str(row) for row in range(len(numbers))]:
            raise _refused(path, "a name for every column", f"one without, with {str(numbers[0])!r}", "name it")
        notes = ("an unnamed column with the number of each row was left out",)
    if path_column(columns) is not None:
        return read_listing(path, columns, pictures, label_column)
    dataset = from_columns(columns, label_column, bounds, str(path), schema)
    return dataclasses.replace(dataset, notes=(*dataset.notes, *notes))


def _csv(path: Path) -> dict[str, NDArray[Any]]:
    with parsing(f"data '{path}'", "a readable table in UTF-8"):
        text = content(path).decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = "\t" if path.suffix == ".tsv" else ";" if ";" in first and "," not in first else ","
        header, *rows = [line for line in read_csv(text, delimiter) if line] or [[]]
    header = [name.strip() for name in header]
    if not rows:
        raise _refused(path, "a line of names and rows", "no row", "add them")
    if all(_is_number(name) for name in header if name):
        raise _refused(path, "the names of the columns in the first line", f"numbers, {header[0]!r} first", "add names")
    refuse_repeated(header, str(path))
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise _refused(path, f"{len(header)} cells in row {number}", f"{len(row)}", "correct it")
    return {name: np.array(column, dtype=str) for name, column in zip(header, zip(*rows, strict=True), strict=True)}


def _parquet(path: Path) -> dict[str, NDArray[Any]]:
    parquet = package("pyarrow.parquet", f"data '{path}'")
    with parsing(f"data '{path}'", "a Parquet file"):
        table = parquet.read_table(path)
        refuse_repeated(table.column_names, str(path))
        return {name: table[name].to_numpy() for name in table.column_names}


def _is_number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


def _refused(path: Path, expected: str, got: str, todo: str) -> ConfigurationError:
    return ConfigurationError(f"data '{path}': expected {expected}, got {got}; {todo}")
