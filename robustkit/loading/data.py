"""Data sets by name, folder, file or function."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST, ImageFolder
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, one_line, suggest
from robustkit.base.registry import Registry
from robustkit.data.dataset import Dataset
from robustkit.data.labels import as_labels
from robustkit.loading.factories import call_factory

DIGITS_TEST_SIZE = 500
DIGIT_NAMES = tuple("0123456789")
READERS = {
    "mnist": MNIST,
    "fashion-mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "svhn": SVHN,
}
DATASETS: Registry[Any] = Registry(
    "data",
    "robustkit.datasets",
    {"digits": None, **READERS},
    expected="a function or samples",
    fits=lambda value: value is not None,
)


def load_data(
    spec: str | Path, root: str | Path | None = None, split: str = "test", image_size: int | None = None
) -> Dataset:
    """Returns the data set that `spec` names; images are decoded one at a time, as float32 in [0, 1].

    Without ids of its own, a sample's id is its position in the split.

    Args:
        spec: `digits`; `mnist`, `fashion-mnist`, `cifar10`, `cifar100` or `svhn`, read by torchvision from
            `root`; a folder with one sub-folder of images per class; an `.npz` file with `images` (or `x`)
            and `labels` (or `y`); or `package.module:factory` or the name of a plug-in, a function that returns a
            `Dataset` or anything `robustkit.data.batches` takes; arguments may follow, as for `load_model`.
        root: Folder that holds the files of a named data set; nothing is ever downloaded.
        split: "test" or "train"; a file or a function has only the one it holds.
        image_size: Resize the shorter side of a folder's images to this many pixels, then cut
            out the centre square.

    Raises:
        ConfigurationError: If the name is unknown, or files are missing, damaged or not what they should be.
    """
    name, path = str(spec), Path(spec)
    if name == "digits":
        return _digits(_checked_split(name, split, ("train", "test")))
    if name in READERS:
        splits = ("train", "test", "extra") if name == "svhn" else ("train", "test")
        return _torchvision_data(name, root, _checked_split(name, split, splits))
    if path.is_dir():
        return _image_folder(path, split, image_size)
    if path.suffix == ".npz":
        return _npz(path)
    if ":" in name or DATASETS.offers(name):
        made = call_factory(name, DATASETS)
        return made if isinstance(made, Dataset) else Dataset(name=name, source=made)
    raise ConfigurationError(
        f"data: expected a known name, a folder, an .npz file or package.module:factory, got"
        f" '{name}'{suggest(name, DATASETS.names())}"
    )


def loads_only(spec: str) -> bool:
    """Returns whether `load_data` takes `spec` for one of our names or a file, and calls no function."""
    return spec in ("digits", *READERS) or Path(spec).is_dir() or (Path(spec).is_file() and Path(spec).suffix == ".npz")


def _checked_split(name: str, split: str, splits: tuple[str, ...]) -> str:
    if split not in splits:
        raise ConfigurationError(f"data '{name}': expected a known split, got '{split}'{suggest(split, splits)}")
    return split


def _digits(split: str) -> Dataset:
    """scikit-learn's 1,797 8x8 digits (UCI, Alpaydin & Kaynak 1998, doi:10.24432/C50P49) in [0, 1].

    The split is `train_test_split` of the positions: 500 test, 1,297 train, stratified, random_state 0.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(labels)), test_size=DIGITS_TEST_SIZE, stratify=labels, random_state=0)
    chosen = np.sort(train if split == "train" else test)
    x = torch.from_numpy(images[chosen]).float().reshape(-1, 1, 8, 8) / 16
    source = torch.utils.data.TensorDataset(x, as_labels(labels[chosen]))
    return Dataset(name="digits", source=source, split=split, class_names=DIGIT_NAMES)


def _torchvision_data(name: str, root: str | Path | None, split: str) -> Dataset:
    """Reads the official files with torchvision, which checks the MD5 of all but the MNIST families."""
    reader = READERS[name]
    expected = f"{', '.join(_official_files(reader, split))}, unpacked and with their official content"
    if root is None:
        raise ConfigurationError(f"data '{name}': expected root, the folder that holds {expected}; give it")
    which: dict[str, Any] = {"split": split} if reader is SVHN else {"train": split == "train"}
    with warnings.catch_warnings():
        # numpy 2.4.0 to 2.4.4 complain about the dtype in the official CIFAR pickles (numpy/numpy#31177).
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
        try:
            source = reader(root, transform=ToTensor(), download=False, **which)
        except Exception as error:
            reason = "" if isinstance(error, RuntimeError) else f" ({one_line(error)})"
            raise ConfigurationError(
                f"data '{name}': expected {expected} in '{root}', got missing or damaged files{reason}; put them there"
            ) from error
    labels = source.labels if reader is SVHN else source.targets
    if len(source.data) != len(labels):
        raise ConfigurationError(
            f"data '{name}': expected one label per image in '{root}', got {len(source.data)} images and"
            f" {len(labels)} labels; fetch the files again"
        )
    names = DIGIT_NAMES if reader in (MNIST, SVHN) else tuple(source.classes)
    return Dataset(name=name, source=source, split=split, class_names=names)


def _official_files(reader: Any, split: str) -> list[str]:
    if reader is SVHN:
        return [reader.split_list[split][1]]
    if issubclass(reader, MNIST):
        return [f"{reader.__name__}/raw/{Path(url).stem}" for url, _ in reader.resources]
    entries = [*reader.train_list, *reader.test_list, (reader.meta["filename"],)]
    return [f"{reader.base_folder}/{entry[0]}" for entry in entries]


def _image_folder(path: Path, split: str, image_size: int | None) -> Dataset:
    """Classes are the sub-folders of `path`, or of `path`/`split` where that has some, in name order."""
    inside = path / split
    folder = inside if inside.is_dir() and any(p.is_dir() for p in inside.iterdir()) else path
    steps = [Resize(image_size), CenterCrop(image_size)] if image_size else []
    try:
        source = ImageFolder(str(folder), transform=Compose([*steps, ToTensor()]))
        headers = [(_header(file), file) for file, _ in (source.samples[:1] if image_size else source.samples)]
    except OSError as error:
        raise ConfigurationError(
            f"data '{path}': expected one sub-folder of images per class, got {one_line(error)}; repair it"
        ) from error
    if {*source.classes} <= {"train", "test", "val", "valid", "validation"}:
        raise ConfigurationError(f"data '{path}': expected classes, got splits {source.classes}; name one of them")
    (size, mode), first = headers[0]
    for (other, _), file in headers:
        if other != size:
            raise ConfigurationError(
                f"data '{path}': expected images of one size, got {size} in '{first}', {other} in '{file}';"
                " set image_size"
            )
    source.loader = partial(_read_image, mode="L" if mode in ("1", "L") else "RGB")
    notes = (f"resized to {image_size} pixels (shorter side) and centre-cropped",) if image_size else ()
    names, part = tuple(source.classes), split if folder == inside else None
    return Dataset(name=str(path), source=source, split=part, class_names=names, notes=notes)


def _header(file: str) -> tuple[tuple[int, int], str]:
    with Image.open(file) as image:
        return image.size, image.mode


def _read_image(file: str, mode: str) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert(mode)
    except OSError as error:
        raise ConfigurationError(f"data: expected an image in '{file}', got {one_line(error)}") from error


class _Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images kept in the dtype they are stored in; uint8 becomes float32 in [0, 1] one image at a time."""

    def __init__(self, images: NDArray[Any], labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = torch.from_numpy(np.ascontiguousarray(self.images[index]))
        return x.float().div(255) if x.dtype == torch.uint8 else x, int(self.labels[index])


def _npz(path: Path) -> Dataset:
    def refuse(expected: str, got: str, todo: str) -> ConfigurationError:
        return ConfigurationError(f"data '{path}': expected {expected}, got {got}; {todo}")

    if not zipfile.is_zipfile(path):
        got = "something else or a truncated file" if path.exists() else "no such file"
        raise refuse("an .npz file", got, "check the path")
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = [next((k for k in names if k in file), "") for names in (("images", "x"), ("labels", "y"))]
            if "" in keys:
                got = ", ".join(file) or "no array"
                raise refuse("arrays 'images' (or 'x') and 'labels' (or 'y')", got, "rename them")
            images, labels = file[keys[0]], as_labels(file[keys[1]])
    except InvalidEvaluation as error:
        raise ConfigurationError(f"data '{path}': {error}") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise refuse("an .npz file of plain arrays", one_line(error), "save it again") from error
    if images.dtype not in (np.uint8, np.float16, np.float32, np.float64) or images.ndim < 2:
        got = f"shape {images.shape} and dtype {images.dtype}"
        raise refuse("images (N, ...) in uint8 or float", got, "convert them")
    if len(images) != len(labels):
        raise refuse("one label per image", f"{len(images)} images and {len(labels)} labels", "align them")
    notes = ["uint8 images were divided by 255"] if images.dtype == np.uint8 else []
    if images.ndim == 3:
        images = images[:, None]
        notes.append("images (N, H, W) were given a channel axis")
    elif images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
        notes.append("images (N, H, W, C) were transposed to (N, C, H, W)")
    return Dataset(name=str(path), source=_Images(images, labels), notes=tuple(notes))
