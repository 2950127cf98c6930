"""What is done to pictures: the same pixels as the libraries' own transforms, mean and std kept apart."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import v2

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import batches
from robustkit.loading import load_data
from robustkit.loading.libraries import preset_of
from robustkit.loading.preprocessing import Preprocessing, lifted, same_pixels
from robustkit.loading.transform import names_only, read_transform

SIZES = [(300, 400), (500, 333), (224, 224), (60, 90)]


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def normalised(preprocessing: Preprocessing, image: Image.Image) -> Tensor:
    """What a model sees: the pixels, then mean and std as torchvision applies them."""
    assert preprocessing.mean is not None
    assert preprocessing.std is not None
    return transforms.Normalize(preprocessing.mean, preprocessing.std)(preprocessing(image))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "name", ["ResNet18_Weights.DEFAULT", "ResNet50_Weights.IMAGENET1K_V2", "Swin_T_Weights.DEFAULT"]
)
def test_torchvisions_weights_bring_their_own_pixels_to_the_bit(name: str, size: tuple[int, int]) -> None:
    found, own = read_transform(f"torchvision:{name}"), torchvision.models.get_weight(name)
    assert normalised(found, picture(size)).equal(own.transforms()(picture(size)))
    assert found.class_names == tuple(own.meta["categories"])


@pytest.mark.parametrize("name", ["resnet18", "resnet50.a1h_in1k", "eva02_tiny_patch14_336.mim_in22k_ft_in1k"])
def test_timms_models_bring_their_own_pixels_to_the_bit(name: str) -> None:
    timm = pytest.importorskip("timm")
    found = read_transform(f"timm:{name}")
    settings = timm.data.resolve_data_config(pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    own = timm.data.create_transform(**settings)
    assert all(normalised(found, picture(size)).equal(own(picture(size))) for size in SIZES)
    assert found.output_size == tuple(settings["input_size"][1:])


def write(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    for k in range(2):
        (folder / f"class{k}").mkdir(parents=True)
        for i, size in enumerate(sizes):
            picture(size, seed=9 * k + i).save(folder / f"class{k}" / f"{i}.png")
    return folder


def test_a_folder_of_photos_of_any_size_goes_through_the_transform(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", SIZES[:2])
    data = load_data(folder, transform="torchvision:ResNet18_Weights.DEFAULT")
    x = next(batches(data, 4)).x
    own = torchvision.models.get_weight("ResNet18_Weights.DEFAULT").transforms()
    shift = transforms.Normalize(own.mean, own.std)
    assert shift(x[0]).equal(own(picture(SIZES[0])))
    assert data.notes == (
        "resized to 256 pixels (shorter side) and centre-cropped to 224 x 224, as"
        " torchvision:ResNet18_Weights.IMAGENET1K_V1 says",
    )


def test_photos_of_several_sizes_without_a_transform_are_refused_naming_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give --transform"):
        load_data(write(tmp_path / "photos", SIZES[:2]))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("resize=256,crop=224,interpolation=bicubic", Preprocessing(256, 224, "bicubic")),
        ("resize=32x48", Preprocessing((32, 48))),
        (
            "crop=8,mean=0.1,0.2,0.3,std=0.5, 0.6, 0.7",
            Preprocessing(crop=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)),
        ),
    ],
)
def test_a_transform_may_be_spelled_out(spec: str, expected: Preprocessing) -> None:
    assert read_transform(spec) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resize=256,croop=224", "did you mean 'crop'"),
        ("resize=big", "resize=PIXELS or resize=HEIGHTxWIDTH, got 'big'"),
        ("resize=0", "got '0'"),
        ("resize=4,interpolation=cubic", "did you mean 'bicubic'"),
        ("resize=4,resize=5", "expected settings name=value, got 'resize=5'"),
        ("crop=4,mean=a", "expected numbers for mean, got 'a'"),
        ("torchvision:ResNet18_Weight.DEFAULT", "did you mean 'ResNet18_Weights'"),
        ("torchvision:ResNet18_Weights.V1", "expected weights of ResNet18_Weights, got 'V1'"),
        ("imagenet", "expected torchvision:WEIGHTS, timm:NAME, hf:FOLDER"),
        ("hf:nowhere", "got no such folder; nothing is downloaded"),
        ("no_such_module:f", "expected module 'no_such_module'"),
    ],
)
def test_a_transform_that_names_nothing_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_transform(spec)
    assert "\n" not in str(caught.value)


OWN = """
import torch
from torchvision import transforms as T

def mine(size=8):
    return T.Compose([T.Resize((size, size)), T.Compose([T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3)])])

plain = T.Compose([T.Resize((4, 4)), T.PILToTensor()])

def direct(image):
    return T.functional.to_tensor(image)

def signed():
    return lambda image: 2 * T.functional.to_tensor(image) - 1

def early():
    return T.Compose([T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3), T.CenterCrop(4)])

def flat():
    return lambda image: torch.zeros(3)

def leaves():
    raise SystemExit(0)
"""


@pytest.fixture
def own(in_folder: Path):
    (in_folder / "own_transforms.py").write_text(OWN)
    yield
    sys.modules.pop("own_transforms", None)


def test_a_normalize_at_the_end_of_a_users_transform_becomes_mean_and_std(own: None) -> None:
    found = read_transform("own_transforms:mine:size=6")
    x = found(picture((9, 9)))
    assert (x.shape, found.mean, found.std) == ((3, 6, 6), (0.5,) * 3, (0.25,) * 3)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


@pytest.mark.parametrize("name", ["plain", "direct"])
def test_a_transform_itself_is_taken_as_well_as_a_factory_and_bytes_are_scaled(own: None, name: str) -> None:
    x = read_transform(f"own_transforms:{name}")(picture((4, 4)))
    assert x.dtype == torch.float32
    assert x.equal(transforms.functional.to_tensor(picture((4, 4))))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("signed", "expected values in 0..1, got -1..1; leave its normalisation out"),
        ("early", "expected Normalize as the last step, got CenterCrop after it"),
        ("flat", r"expected a tensor \(C, H, W\), got shape \(3,\)"),
        ("leaves", "the factory raised SystemExit: 0"),
    ],
)
def test_a_users_transform_that_cannot_be_attacked_behind_is_refused(own: None, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_transform(f"own_transforms:{name}")(Image.new("RGB", (9, 9), (255, 0, 0)))


def test_transforms_of_version_two_are_read_like_those_of_version_one() -> None:
    steps = [v2.ToImage(), v2.Resize((8, 8)), v2.ToDtype(torch.float32, scale=True)]
    found = lifted(v2.Compose([*steps, v2.Normalize([0.5] * 3, [0.5] * 3)]), "mine")
    x = found(picture((16, 20)))
    assert type(x) is Tensor
    assert (x.shape, found.mean) == ((3, 8, 8), (0.5,) * 3)


def test_only_a_function_counts_as_code_that_a_record_may_not_call() -> None:
    harmless = ("model", "none", "resize=3", "torchvision:X", "timm:y", "hf:z")
    assert [names_only(spec) for spec in (*harmless, "package.module:factory")] == [True] * 6 + [False]


def test_arrays_are_never_resized(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 32, 32), np.float32), y=np.arange(2))
    with pytest.raises(ConfigurationError, match=r"inputs of 32 x 32, where .* gives 224 x 224"):
        load_data(tmp_path / "a.npz", transform="torchvision:ResNet18_Weights.DEFAULT")
    assert next(batches(load_data(tmp_path / "a.npz", transform="crop=32"), 2)).x.shape == (2, 3, 32, 32)


def test_a_preset_belongs_to_weights_and_says_which(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"nobody knows")
    assert preset_of("torchvision:resnet50") is None
    found = preset_of("torchvision:resnet50", file)
    assert found is not None
    assert found.resize == 232
    assert "torchvision:resnet50@IMAGENET1K_V1 chooses" in found.remark
    named = preset_of("torchvision:resnet50@IMAGENET1K_V1", file)
    assert named is not None
    assert (named.resize, named.remark) == (256, "")
    one = preset_of("torchvision:resnet18", file)
    assert one is not None
    assert one.remark == ""


def test_published_weights_are_known_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    monkeypatch.setattr("robustkit.loading.libraries.torchvision.sha256", lambda path: "0676ba61" + "0" * 56)
    found = preset_of("torchvision:resnet50", tmp_path / "renamed.pth")
    assert found is not None
    assert (found.source, found.resize, found.remark) == (f"torchvision:{old}", 256, "")


def test_two_presets_with_the_same_pixels_may_share_data() -> None:
    one, other = (read_transform(f"torchvision:{name}_Weights.IMAGENET1K_V1") for name in ("ResNet18", "VGG16"))
    assert same_pixels(one, other)
    assert not same_pixels(one, read_transform("torchvision:ResNet50_Weights.IMAGENET1K_V2"))
    assert not same_pixels(one, None)
