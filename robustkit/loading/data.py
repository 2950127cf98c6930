"""Data sets by name, folder, file or function."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST
from torchvision.transforms import ToTensor

from robustkit.base.errors import ConfigurationError, one_line, suggest
from robustkit.base.registry import Registry
from robustkit.base.settings import instance, integer
from robustkit.base.settings import path as known_path
from robustkit.data.dataset import Dataset, batches
from robustkit.data.labels import as_labels
from robustkit.data.tables import Written
from robustkit.loading.factories import call_factory
from robustkit.loading.image_folder import read_image_folder
from robustkit.loading.npz_data import read_npz
from robustkit.loading.preprocessing import Preprocessing, of_image_size
from robustkit.loading.tables import SUFFIXES, read_table
from robustkit.loading.transform import read_transform

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
    spec: str | Path,
    root: str | Path | None = None,
    split: str = "test",
    image_size: int | None = None,
    label_column: str | None = None,
    bounds: tuple[float, float] | None = None,
    transform: str | Preprocessing | None = None,
    schema: Written | None = None,
) -> Dataset:
    """Returns the data set that `spec` names; images are decoded one at a time, as float32 in [0, 1].

    Without ids of its own, a sample's id is its position in the split.

    Args:
        spec: `digits`; `mnist`, `fashion-mnist`, `cifar10`, `cifar100` or `svhn`, read by torchvision from
            `root`; a folder with one sub-folder of images per class; an `.npz` file with `images` (or `x`)
            and `labels` (or `y`), or usual names like these; a `.csv`, `.tsv` or `.parquet` file; or
            `package.module:factory` or the name of a plug-in, a function that returns a `Dataset` or anything
            `robustkit.data.batches` takes; arguments may follow, as for `load_model`.
        root: Folder that holds the files of a named data set; nothing is ever downloaded.
        split: "test" or "train"; a file or a function has only the one it holds.
        image_size: Resize the shorter side of a folder's images to this many pixels, then cut
            out the centre square.
        label_column: The column of a table that has the labels, if it is not called label, y, target or class.
        bounds: Lowest and highest legal value of a table, if that is not 0..1.
        schema: What the features of a table are and how far each may change: a TOML file, or the same as a dict.
        transform: What is done to pictures instead, as `robustkit.loading.transform.read_transform` reads it; its mean
            and std are for the Classifier. Arrays are never resized: those of another size are refused.

    Raises:
        ConfigurationError: If the name is unknown, or files are missing, damaged or not what they should be.
    """
    name, path = str(spec), known_path("data", "the name", spec)
    root = None if root is None else known_path(f"data '{name}'", "root", root)
    instance(f"data '{name}'", "split", split, str)
    image_size = None if image_size is None else integer(f"data '{name}'", "image_size", image_size)
    if image_size is not None and transform is not None:
        raise ConfigurationError("data: expected image_size or transform, got both; drop one")
    asked = read_transform(transform) if isinstance(transform, str) else transform
    pictures = of_image_size(image_size) if image_size else asked
    if path.is_dir():
        return read_image_folder(path, split, pictures)
    if path.suffix in SUFFIXES:
        return read_table(path, label_column, bounds, pictures, schema)
    if schema is not None:
        raise ConfigurationError(f"data '{name}': expected a table beside a schema, got none; give a .csv file")
    if name in READERS:
        splits = ("train", "test", "extra") if name == "svhn" else ("train", "test")
        return _torchvision_data(name, root, _checked_split(name, split, splits), asked or ToTensor())
    return _sized(_arrays(spec, split), asked)


def _arrays(spec: str | Path, split: str) -> Dataset:
    """Returns data that are arrays already."""
    name, path = str(spec), Path(spec)
    if name == "digits":
        return _digits(_checked_split(name, split, ("train", "test")))
    if path.suffix == ".npz":
        return read_npz(path, split)
    if path.suffix == ".npy":
        raise ConfigurationError(
            f"data '{path}': expected inputs and labels, got a file with one array; save both in one:"
            " np.savez('data.npz', x=x, y=y)"
        )
    if ":" in name or DATASETS.offers(name):
        made = call_factory(name, DATASETS)
        return made if isinstance(made, Dataset) else Dataset(name=name, source=made)
    raise ConfigurationError(
        f"data: expected a known name, a folder, an .npz, .csv or .parquet file or package.module:factory, got"
        f" '{name}'{suggest(name, DATASETS.names())}"
    )


def _sized(dataset: Dataset, pictures: Preprocessing | None) -> Dataset:
    """Returns the data if they are what `pictures` makes of files: arrays are not resized behind anybody's back."""
    if pictures is None or isinstance(dataset.source, Iterator):
        return dataset
    if other := pictures.unlike(tuple(next(batches(dataset, 1, 1)).x.shape[1:])):
        raise ConfigurationError(
            f"data '{dataset.name}': expected pictures in files to transform, got {other}; give a folder of images, or"
            " store what the transform returns"
        )
    return dataset


def is_known(spec: str) -> bool:
    """Returns whether `load_data` takes `spec` for one of our names; a folder called like one comes before it."""
    return is_named(spec) and not Path(spec).exists()


def is_named(name: str) -> bool:
    """Returns whether `name` is that of a data set which everybody has, so that nobody else's may be called so."""
    return name in ("digits", *READERS)


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


def _torchvision_data(name: str, root: str | Path | None, split: str, pictures: Any) -> Dataset:
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
            source = reader(root, transform=pictures, download=False, **which)
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
