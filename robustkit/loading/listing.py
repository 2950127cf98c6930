"""Tables that list image files: a column of paths, a column of labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import Compose

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.foreign_file import parsing
from robustkit.data.dataset import Dataset
from robustkit.data.labels import read_labels
from robustkit.data.tables import Columns, label_column_of, read_ids
from robustkit.loading.image_folder import pictures_of
from robustkit.loading.preprocessing import Preprocessing

PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img", "img_path")


class _Listed(torch.utils.data.Dataset[tuple[Any, ...]]):
    """Images by file; `targets` are the labels in their order."""

    def __init__(
        self, files: list[str], targets: list[int], ids: list[Any] | None, read: Callable[[str], Tensor]
    ) -> None:
        self.files, self.targets, self.ids, self.read = files, targets, ids, read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Any, ...]:
        id = () if self.ids is None else (self.ids[place],)
        return self.read(self.files[place]), self.targets[place], *id


def path_column(columns: Columns) -> str | None:
    """Returns the column that has the paths of images, if the table is a listing."""
    named = (column for column in columns if column.strip().lower() in PATHS)
    return next((column for column in named if "." in str(columns[column][:1].tolist())), None)


def read_listing(
    path: Path, columns: Columns, pictures: Preprocessing | None, label_column: str | None = None
) -> Dataset:
    """Returns the images that a table lists, by paths from its folder or absolute ones, as an image folder gives them.

    Raises:
        ConfigurationError: If files are missing or no images, or labels cannot be read.
    """
    where, label = path_column(columns), label_column_of(columns, label_column, str(path))
    assert where is not None
    files = [str(path.parent / str(file).strip()) for file in columns[where].tolist()]
    with parsing(f"data '{path}'", f"names of files in column '{where}'", "correct them"):
        missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise ConfigurationError(
            f"data '{path}': expected files in column '{where}', got {len(missing)} of {len(files)} that are missing,"
            f" first '{missing[0]}'; paths start from the folder of the table"
        )
    try:
        labels = read_labels(columns[label])
    except InvalidEvaluation as error:
        raise ConfigurationError(f"data '{path}', column '{label}': {error}") from error
    reader, transform, notes = pictures_of(path, files, pictures)
    id = next((column for column in columns if column.lower() in ("id", "ids")), None)
    rest = [column for column in columns if column not in (where, label, id)]
    unused = [f"columns without a use: {', '.join(rest)}"] if rest else []
    return Dataset(
        name=str(path),
        source=_Listed(
            files, labels.y.tolist(), None if id is None else read_ids(columns[id]), Compose([reader, transform])
        ),
        class_names=labels.names,
        labelled_by_name=labels.names is not None,
        notes=(*notes, *labels.notes, *unused),
    )
