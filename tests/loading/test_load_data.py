"""Data sets by name, folder, file or function, from small files in the true formats."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import Dataset, batches
from robustkit.loading.data import load_data

DIGITS_SPLIT = "0ef8135b337188ff"
RNG = np.random.Generator(np.random.PCG64(0))


def read(data: Dataset) -> tuple[torch.Tensor, list[int]]:
    found = list(batches(data, 4))
    return torch.cat([b.x for b in found]), torch.cat([b.y for b in found]).tolist()


def unit(images: np.ndarray) -> torch.Tensor:
    """uint8 images as float32 in [0, 1]."""
    return torch.from_numpy(images.copy()).float().div(255)


def images(*shape: int) -> np.ndarray:
    """Random uint8 images that hold both ends of the range."""
    made = RNG.integers(0, 256, shape, dtype=np.uint8)
    made.reshape(-1)[:2] = 0, 255
    return made


# digits


def test_digits_are_all_samples_of_scikit_learn_in_a_fixed_stratified_split() -> None:
    train, test = (load_data("digits", split=split) for split in ("train", "test"))
    (x_train, _), (x_test, y_test) = read(train), read(test)
    assert (x_train.shape, x_test.shape) == ((1297, 1, 8, 8), (500, 1, 8, 8))
    assert (float(x_test.min()), float(x_test.max())) == (0.0, 1.0)
    assert test.class_names == tuple("0123456789")
    from sklearn.datasets import load_digits

    both = np.concatenate([x_train.flatten(1).numpy(), x_test.flatten(1).numpy()]) * 16
    assert sorted(map(tuple, both)) == sorted(map(tuple, load_digits().data))
    counts = np.bincount(load_digits().target)
    assert np.abs(np.bincount(y_test) - counts * 500 / 1797).max() < 1
    # Pins the split: figures measured on it stay comparable.
    assert hashlib.sha256((x_test * 16).byte().numpy().tobytes()).hexdigest()[:16] == DIGITS_SPLIT


# torchvision's own readers, on files in their official formats


def write_mnist(folder: Path, kind: str, x: np.ndarray, y: np.ndarray) -> None:
    """The idx format of yann.lecun.com/exdb/mnist: big-endian magic number and sizes, then the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, *x.shape) + x.tobytes())
    (folder / f"{kind}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, len(y)) + y.tobytes())


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_files_are_read(tmp_path: Path, name: str, folder: str) -> None:
    x = {kind: images(n, 28, 28) for kind, n in (("train", 7), ("t10k", 5))}
    y = {kind: np.arange(len(x[kind]), dtype=np.uint8) for kind in x}
    for kind in x:
        write_mnist(tmp_path / folder / "raw", kind, x[kind], y[kind])
    for split, kind in (("train", "train"), ("test", "t10k")):
        data = load_data(name, root=tmp_path, split=split)
        found, labels = read(data)
        assert found.equal(unit(x[kind])[:, None])
        assert labels == y[kind].tolist()
        assert (data.name, data.split, data.bounds) == (name, split, (0.0, 1.0))
    assert load_data("mnist", tmp_path).class_names == tuple("0123456789") if name == "mnist" else True
    assert data.class_names is not None
    assert len(data.class_names) == 10


def test_images_stay_bytes_until_they_are_read(tmp_path: Path) -> None:
    for kind in ("train", "t10k"):
        write_mnist(tmp_path / "MNIST" / "raw", kind, images(3, 28, 28), np.zeros(3, np.uint8))
    assert load_data("mnist", tmp_path).source.data.dtype == torch.uint8
    np.savez(tmp_path / "a.npz", images=images(3, 4, 4), labels=np.zeros(3, np.uint8))
    assert load_data(tmp_path / "a.npz").source.images.dtype == np.uint8


def test_mnist_files_that_disagree_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    for kind in ("train", "t10k"):
        write_mnist(raw, kind, images(3, 28, 28), np.zeros(2, np.uint8))
    with pytest.raises(ConfigurationError, match=r"one label per image in .* got 3 images and 2 labels"):
        load_data("mnist", tmp_path)
    image_file = raw / "t10k-images-idx3-ubyte"
    image_file.write_bytes(image_file.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match=r"'mnist': expected MNIST/raw/.*missing or damaged files"):
        load_data("mnist", tmp_path)


def own_checksums(monkeypatch: pytest.MonkeyPatch, reader: Any, folder: Path) -> None:
    """Makes torchvision expect the MD5 of the files this test wrote; nothing else of the reader changes."""

    def md5(name: str) -> str:
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    for part in ("train_list", "test_list"):
        monkeypatch.setattr(reader, part, [[name, md5(name)] for name, _ in vars(reader)[part]])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": md5(reader.meta["filename"])})


def write_cifar(root: Path, reader: Any, label_key: str) -> dict[str, tuple[np.ndarray, list[int]]]:
    """The python version of cs.toronto.edu/~kriz/cifar.html: pickled dicts with rows of 3072 bytes."""
    folder = root / reader.base_folder
    folder.mkdir()
    parts = {}
    for name, _ in reader.train_list + reader.test_list:
        x, y = images(2, 3072), RNG.integers(0, 10, 2).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": x, label_key: y}, protocol=2))
        parts[name] = x, y
    names = [f"class {i}" for i in range(10)]
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: names}, protocol=2))
    return parts


@pytest.mark.parametrize(
    ("name", "reader", "key"), [("cifar10", CIFAR10, "labels"), ("cifar100", CIFAR100, "fine_labels")]
)
def test_cifar_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: Any, key: str
) -> None:
    parts = write_cifar(tmp_path, reader, key)
    own_checksums(monkeypatch, reader, tmp_path / reader.base_folder)
    for split in ("train", "test"):
        names = [n for n in parts if n.startswith("test") == (split == "test")]
        data = load_data(name, root=tmp_path, split=split)
        x, y = read(data)
        assert x.equal(unit(np.concatenate([parts[n][0] for n in names])).reshape(-1, 3, 32, 32))
        assert y == [label for n in names for label in parts[n][1]]
        assert data.class_names == tuple(f"class {i}" for i in range(10))


class OldDtype:
    """Pickles as the dtype in the official CIFAR files does: numpy.dtype("u1", 0, 1)."""

    def __reduce__(self) -> Any:
        return np.dtype, ("u1", 0, 1)


class OldArray:
    """Pickles as numpy arrays did when the official CIFAR files were made."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        state = (1, self.array.shape, OldDtype(), False, self.array.tobytes())
        return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state


def test_cifar_pickles_as_old_as_the_official_ones_are_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, CIFAR10, "labels")
    x = images(2, 3072)
    content = {"data": OldArray(x), "labels": [1, 2]}
    (tmp_path / CIFAR10.base_folder / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    own_checksums(monkeypatch, CIFAR10, tmp_path / CIFAR10.base_folder)
    assert read(load_data("cifar10", tmp_path))[0].equal(unit(x).reshape(-1, 3, 32, 32))


def test_cifar_files_that_are_not_the_official_ones_are_never_unpickled(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR10, "labels")
    trace = tmp_path / "trace"
    (tmp_path / CIFAR10.base_folder / "test_batch").write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(ConfigurationError, match=r"cifar-10-batches-py/data_batch_1, .*official content"):
        load_data("cifar10", tmp_path)
    assert not trace.exists()


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_svhn_files_are_read_with_digit_0_as_class_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(32, 32, 3, 4)
    scipy.io.savemat(tmp_path / "test_32x32.mat", {"X": x, "y": np.array([[10], [1], [2], [9]], dtype=np.uint8)})
    md5 = hashlib.md5((tmp_path / "test_32x32.mat").read_bytes()).hexdigest()
    monkeypatch.setattr(SVHN, "split_list", SVHN.split_list | {"test": ["", "test_32x32.mat", md5]})
    data = load_data("svhn", tmp_path)
    found, labels = read(data)
    assert found.equal(unit(x.transpose(3, 2, 0, 1)))
    assert labels == [0, 1, 2, 9]
    assert data.class_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte"),
        ("fashion-mnist", "FashionMNIST/raw/t10k-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py/test_batch"),
        ("cifar100", "cifar-100-python/test"),
        ("svhn", "test_32x32.mat"),
    ],
)
def test_missing_files_are_named_with_their_folder(tmp_path: Path, name: str, file: str) -> None:
    for root, where in ((tmp_path, str(tmp_path)), (None, "expected root")):
        with pytest.raises(ConfigurationError) as caught:
            load_data(name, root=root)
        assert file in str(caught.value)
        assert where in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# image folders


def write_folder(root: Path, sizes: dict[str, tuple[int, int]], mode: str = "RGB") -> dict[str, np.ndarray]:
    made = {}
    for name, (height, width) in sizes.items():
        made[name] = images(height, width, 3) if mode == "RGB" else images(height, width)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made[name]).save(root / name)
    return made


def test_an_image_folder_gives_its_pixels_with_classes_in_name_order(tmp_path: Path) -> None:
    made = write_folder(tmp_path, {"dog/a.png": (5, 6), "cat/b.png": (5, 6), "cat/a.png": (5, 6)})
    data = load_data(tmp_path)
    x, y = read(data)
    assert x.equal(torch.stack([unit(made[n]).permute(2, 0, 1) for n in ("cat/a.png", "cat/b.png", "dog/a.png")]))
    assert y == [0, 0, 1]
    assert data.class_names == ("cat", "dog")
    assert data.split is None


def test_grey_images_keep_one_channel(tmp_path: Path) -> None:
    made = write_folder(tmp_path, {"0/a.png": (4, 4), "1/a.png": (4, 4)}, mode="L")
    assert read(load_data(tmp_path))[0].equal(torch.stack([unit(m)[None] for m in made.values()]))


def test_a_folder_of_splits_is_read_by_split(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train/a/1.png": (4, 4), "train/b/1.png": (4, 4), "test/b/2.png": (4, 4)})
    data = load_data(tmp_path, split="train")
    assert data.class_names == ("a", "b")
    assert data.split == "train"
    test = load_data(tmp_path, split="test")
    assert test.class_names == ("a", "b")
    assert read(test)[1] == [1]
    assert test.notes == ("no images of the classes a",)


def test_splits_are_not_taken_for_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train/a/1.png": (4, 4), "val/a/1.png": (4, 4)})
    with pytest.raises(ConfigurationError, match=r"expected classes, got splits \['train', 'val'\]"):
        load_data(tmp_path)


def test_images_of_different_sizes_need_an_image_size(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.png": (8, 12), "a/2.png": (9, 6), "b/1.png": (20, 20)})
    with pytest.raises(ConfigurationError, match=r"one size, got \(12, 8\) in '.*a/1.png', \(6, 9\) in .*--image-size"):
        load_data(tmp_path)
    data = load_data(tmp_path, image_size=6)
    assert read(data)[0].shape == (3, 3, 6, 6)
    assert data.notes == ("resized to 6 pixels (shorter side) and centre-cropped",)


def test_a_single_colour_survives_resizing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (16, 11), (255, 0, 51)).save(tmp_path / "a" / "1.png")
    x, _ = read(load_data(tmp_path, image_size=5))
    assert x.equal(torch.tensor([1.0, 0.0, 0.2])[None, :, None, None].expand(1, 3, 5, 5))


@pytest.mark.slow
def test_an_image_folder_can_be_read_by_worker_processes(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.png": (4, 4), "b/1.png": (4, 4)})
    data = load_data(tmp_path)
    loader = DataLoader(data.source, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert next(batches(loader, 2)).x.equal(read(data)[0])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "one sub-folder of images per class"),
        ({"a/readme.txt": b"hello"}, "one sub-folder of images per class"),
        ({"a/1.png": b"no image"}, "UnidentifiedImageError: .*a/1.png"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_data(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.png": (32, 32)})
    content = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(content[:-500])
    with pytest.raises(ConfigurationError, match=r"an image in '.*a/1.png', got OSError"):
        read(load_data(tmp_path))


# npz files


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "data.npz", **arrays)
    return folder / "data.npz"


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y")])
@pytest.mark.parametrize(
    ("shape", "expected", "noted"),
    [
        ((5, 3, 8, 9), (0, 1, 2, 3), None),
        ((5, 1, 8, 8), (0, 1, 2, 3), None),
        ((5, 8, 9, 3), (0, 3, 1, 2), "transposed to (N, C, H, W)"),
        ((5, 8, 8, 1), (0, 3, 1, 2), "transposed to (N, C, H, W)"),
        ((5, 3, 8, 3), (0, 1, 2, 3), None),
        ((5, 1, 1, 3), (0, 1, 2, 3), None),
        ((5, 8, 8, 8), (0, 1, 2, 3), None),
    ],
)
def test_npz_layouts_are_recognised_only_where_there_is_no_doubt(
    tmp_path: Path,
    shape: tuple[int, ...],
    expected: tuple[int, ...],
    noted: str | None,
    keys: tuple[str, str],
) -> None:
    x = images(*shape)
    data = load_data(npz(tmp_path, **{keys[0]: x, keys[1]: np.arange(5)}))
    found, labels = read(data)
    assert found.equal(unit(x.transpose(expected)))
    assert labels == [0, 1, 2, 3, 4]
    assert data.notes[0] == "uint8 images were divided by 255"
    assert [noted in n for n in data.notes[1:]] == [True] if noted else len(data.notes) == 1


def test_grey_npz_images_get_a_channel_axis(tmp_path: Path) -> None:
    x = images(5, 7, 8)
    data = load_data(npz(tmp_path, images=x, labels=np.eye(5, dtype=np.int64)))
    assert read(data)[0].equal(unit(x)[:, None])
    assert data.notes[1] == "images (N, H, W) were given a channel axis"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_arrays_are_taken_as_they_are(tmp_path: Path, dtype: Any) -> None:
    x = RNG.normal(size=(4, 6)).astype(dtype) * 5
    data = load_data(str(npz(tmp_path, x=x, y=np.zeros(4, np.int32))))
    found, _ = read(data)
    assert found.equal(torch.from_numpy(x))
    assert data.notes == ()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 3))}, "expected arrays 'images' .* got pictures; rename them"),
        ({}, "got no array"),
        ({"x": np.zeros((2, 3)), "y": [0, 1, 2]}, "one label per image, got 2 images and 3 labels"),
        ({"x": np.zeros((2, 3)), "y": [0.0, 1.5]}, "data.npz': labels: expected whole numbers"),
        (
            {"x": np.array([None, 1]), "y": [0, 1]},
            "plain arrays, got ValueError: Object arrays cannot be loaded",
        ),
        (
            {"x": np.zeros((2, 3), np.int64), "y": [0, 1]},
            r"uint8 or float, got shape \(2, 3\) and dtype int64",
        ),
        ({"x": np.zeros(2), "y": [0, 1]}, r"got shape \(2,\)"),
        ({"x": np.array(["a"]), "y": [0]}, "dtype <U1"),
    ],
)
def test_npz_files_of_something_else_are_refused_in_one_line(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_data(npz(tmp_path, **arrays))
    assert "\n" not in str(caught.value)
    assert "data.npz" in str(caught.value)


def test_an_object_array_in_an_npz_is_never_unpickled(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = npz(tmp_path, x=np.array([Touch(trace)], dtype=object), y=[0])
    with pytest.raises(ConfigurationError, match="Object arrays"):
        load_data(path)
    assert not trace.exists()


def odd_archives(content: bytes) -> tuple[bytes, ...]:
    """Returns the archive with its members encrypted, in an unknown compression, and claiming terabytes."""
    encrypted, packed, claims = bytearray(content), bytearray(content), io.BytesIO()
    for kind, flags, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        place = -1
        while (place := content.find(kind, place + 1)) >= 0:
            encrypted[place + flags] |= 1
            packed[place + method] = 99
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 1, 30, 33)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(claims, "w") as new:
        new.writestr("x.npy", header.getvalue())
        new.writestr("y.npy", old.read("y.npy"))
    return bytes(encrypted), bytes(packed), claims.getvalue()


def test_damaged_npz_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = npz(tmp_path, x=images(50, 3, 8, 8), y=np.zeros(50, np.int64))
    content = path.read_bytes()
    broken = bytearray(content)
    broken[len(content) // 2] ^= 255
    np.save(tmp_path / "array.npy", np.zeros(3))
    for bad in (
        content[: len(content) // 2],
        bytes(broken),
        b"",
        b"PK",
        (tmp_path / "array.npy").read_bytes(),
        *odd_archives(content),
    ):
        path.write_bytes(bad)
        with pytest.raises(ConfigurationError, match=r"data.npz': expected an .npz file") as caught:
            load_data(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="got no such file; check the path"):
        load_data(tmp_path / "none.npz")


# functions


def test_a_function_may_return_a_dataset_or_any_source(in_folder: Path) -> None:
    (in_folder / "own_data.py").write_text(
        "import torch\n"
        "from robustkit.data.dataset import Dataset\n"
        "x, y = torch.rand(3, 2), torch.tensor([2, 0, 1])\n"
        "def named(): return Dataset(name='mine', source=(x, y), bounds=(-1.0, 1.0))\n"
        "def pair(): return x, y\n"
        "def fails(): raise FileNotFoundError('no such\\nthing')\n"
        "def nothing(): return None\n"
    )
    assert load_data("own_data:named").bounds == (-1.0, 1.0)
    data = load_data("own_data:pair")
    assert (data.name, read(data)[1]) == ("own_data:pair", [2, 0, 1])
    with pytest.raises(ConfigurationError, match=r"'own_data:fails'.* raised FileNotFoundError: no such thing"):
        load_data("own_data:fails")
    with pytest.raises(InvalidEvaluation, match=r"iterable of .*got NoneType"):
        read(load_data("own_data:nothing"))


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("mnits", "test", "did you mean 'mnist'"),
        ("cifar-10", "test", "did you mean 'cifar10'"),
        ("no/such/folder", "test", "expected a known name, a folder"),
        ("digits", "tset", "did you mean 'test'"),
        ("mnist", "extra", "expected a known split, got 'extra'"),
    ],
)
def test_unknown_names_and_splits_are_refused_with_the_nearest(spec: str, split: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_data(spec, root=".", split=split)


# real data


@pytest.mark.parametrize(
    ("data", "network", "right"),
    [
        ("mnist/test.npz", "mnist_convex_eps01", 9820),
        ("cifar10_lossless/test406.npz", "cifar10_akamaster_resnet20", 381),
    ],
)
def test_published_networks_reach_their_accuracy_on_data_read_here(
    shared_data: Path, pretrained: Callable[[str], nn.Module], data: str, network: str, right: int
) -> None:
    model = pretrained(network)
    with torch.inference_mode():
        found = sum(
            int((model(b.x).argmax(1) == b.y).sum()) for b in batches(load_data(shared_data / "data" / data), 200)
        )
    assert found == right
