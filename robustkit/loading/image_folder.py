"""Folders of images, one sub-folder per class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import ToTensor

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.data.class_names import shown, sorted_names
from robustkit.data.dataset import Dataset
from robustkit.loading.image_modes import Header, Reader, read_headers, reader_for
from robustkit.loading.preprocessing import Preprocessing

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
_LEFT_BEHIND = {
    *("__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
    *("thumbs.db", "desktop.ini"),
}


def read_image_folder(path: Path, split: str, pictures: Preprocessing | None) -> Dataset:
    """Classes are the sub-folders of `path`, or of `path`/`split` where that has some, in the order of their names.

    Names that are numbers are ordered as numbers. Hidden files and folders, and those that archives and desktops leave
    behind, count for nothing. A split has the classes of all splits beside it.
    """
    inside = path / split
    folder = inside if inside.is_dir() and _subfolders(inside) else path
    if {name.lower() for name in _subfolders(folder)} <= SPLITS and _subfolders(folder):
        raise ConfigurationError(
            f"data '{path}': expected classes, got splits {sorted(_subfolders(folder))}; name one of them"
        )
    try:
        source = _Images(
            str(folder),
            is_valid_file=partial(_is_image, folder),
            allow_empty=True,
        )
        files = [file for file, _ in source.samples]
        if not files:
            raise FileNotFoundError("no images in sub-folders")
    except OSError as error:
        raise ConfigurationError(
            f"data '{path}': expected one sub-folder of images per class, got {one_line(error)}; repair it"
        ) from error
    source.loader, source.transform, notes = pictures_of(path, files, pictures)
    return Dataset(
        name=str(path),
        source=source,
        split=split if folder == inside else None,
        class_names=tuple(source.classes),
        labelled_by_name=True,
        notes=(*notes, *_left_out(source)),
    )


def pictures_of(
    path: Path, files: Sequence[str], pictures: Preprocessing | None
) -> tuple[Reader, Callable[[Any], Any], tuple[str, ...]]:
    """Returns how the image files of a data set are read, what makes tensors of them, and what a report says of both.

    Raises:
        ConfigurationError: If some cannot be read, or they differ in size and `pictures` is not given.
    """
    headers = read_headers(files)
    if not pictures:
        _check_sizes(path, files, headers)
    reader, notes = reader_for(files, headers)
    return reader, pictures or ToTensor(), (*(pictures.told() if pictures else ()), *notes)


class _Images(ImageFolder):  # type: ignore[misc]
    """torchvision's reader, with classes in the order of numbers and without what nobody meant to be a class."""

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        folder = Path(directory)
        beside = [other for other in folder.parent.iterdir() if other.name.lower() in SPLITS and other.is_dir()]
        splits = beside if folder.name.lower() in SPLITS else [folder]
        names = sorted_names({name for one in splits for name in _subfolders(one)})
        if not names:
            raise FileNotFoundError("no sub-folders")
        return names, {name: index for index, name in enumerate(names)}

    def stored(self, index: int) -> bytes:
        """Returns a picture as it lies there, for a hash that depends on no decoder."""
        return Path(self.samples[index][0]).read_bytes()


def _subfolders(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir() and not _stray(entry.name)}


def _stray(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def _is_image(folder: Path, file: str) -> bool:
    """Returns whether a file is an image by its name, neither hidden nor in a hidden folder."""
    return file.lower().endswith(IMG_EXTENSIONS) and not any(map(_stray, Path(file).relative_to(folder).parts))


def _check_sizes(path: Path, files: Sequence[str], headers: Sequence[Header]) -> None:
    for file, header in zip(files, headers, strict=True):
        if header.size != headers[0].size:
            raise ConfigurationError(
                f"data '{path}': expected images of one size, got {headers[0].size} in '{files[0]}', {header.size} in"
                f" '{file}'; give --transform as in training, such as torchvision:ResNet18_Weights.DEFAULT, or"
                " --image-size"
            )


def _left_out(source: ImageFolder) -> list[str]:
    """Returns what a report says of classes without images, and of files that were passed over."""
    filled = Counter(source.targets)
    empty = [name for name, index in source.class_to_idx.items() if not filled[index]]
    notes = [f"no images of the classes {shown(empty)}"] if empty else []
    read = {file for file, _ in source.samples}
    others = Counter[str]()
    for top, folders, files in os.walk(source.root, followlinks=True):
        folders[:] = [name for name in folders if not _stray(name)]
        paths = (Path(top, name) for name in files if not _stray(name))
        others.update(path.suffix.lower() or path.name for path in paths if str(path) not in read)
    if others:
        kinds = shown([f"{others[kind]} {kind}" for kind in sorted(others, key=lambda kind: (-others[kind], kind))])
        notes.append(f"files that are no images, or lie in no class, were passed over: {kinds}")
    return notes
