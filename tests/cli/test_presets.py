"""Models by name bring their preset on the command line; what is typed goes before it; a surrogate has its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from complaints import complaint
from nets import digits_cnn
from PIL import Image
from torch import nn

from robustkit.cli import run
from robustkit.cli.shared.earlier_run import Recorded
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.preprocessing import prepare
from robustkit.loading.libraries import torchvision as library

QUICK = ["--attack", "fgsm", "--eps", "1/255", "--probes", "0", "--no-evidence", "--output", "logits"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Tiny(nn.Module):
    """A network as small as can be, in the place of torchvision's resnet50."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def photos(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures of two sizes, and weights of a small network by the name resnet50."""
    monkeypatch.setattr(library.models, "get_model", lambda name, weights, num_classes=1000: Tiny(num_classes))
    for k, name in enumerate(("tench", "goldfish")):
        (in_folder / "photos" / name).mkdir(parents=True)
        for i, size in enumerate([(240, 250, 3), (260, 240, 3)]):
            image = np.random.default_rng(2 * k + i).integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(image).save(in_folder / "photos" / name / f"{i}.png")
    for classes in (1000, 2):
        torch.save(Tiny(classes).state_dict(), in_folder / f"of{classes}.pth")
    return in_folder


def audit(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert run(["audit", "torchvision:resnet50", *QUICK, *words]) in (0, 3), capsys.readouterr().err
    report = json.loads(Path("robustkit-report/report.json").read_text())
    found: dict[str, object] = report["audits"][0]["data"]
    return found


def test_published_weights_bring_size_mean_std_and_names_and_the_report_says_so(photos, capsys):
    data = audit(capsys, "--weights", "of1000.pth", "--data", "photos")
    assert data["input_shape"] == [3, 224, 224]
    notes = " | ".join(data["notes"])
    assert "resized to 232 pixels (shorter side) and centre-cropped to 224 x 224" in notes
    assert "torchvision:resnet50@IMAGENET1K_V1 chooses" in notes
    assert "mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225 are those of torchvision:ResNet50_Weights" in notes


def test_what_is_typed_goes_before_the_preset(photos, capsys):
    data = audit(
        capsys, "--weights", "of1000.pth", "--data", "photos", "--image-size", "32", "--mean", "0", "--std", "1"
    )
    assert data["input_shape"] == [3, 32, 32]
    notes = " | ".join(data["notes"])
    assert "resized to 32 pixels (shorter side) and centre-cropped |" in notes
    assert "mean and std are as given, not those of torchvision:ResNet50_Weights.IMAGENET1K_V2" in notes
    assert "the preset of the model is another: resized to 232" in notes


def test_weights_for_other_classes_have_no_preset_and_the_transform_is_asked_for(photos, capsys):
    words = ["audit", "torchvision:resnet50", "--weights", "of2.pth", "--data", "photos", *QUICK]
    message = complaint(capsys, words)
    assert (
        "for 1000 classes and these weights have 2; give --transform torchvision:ResNet50_Weights.IMAGENET" in message
    )
    data = audit(capsys, "--weights", "of2.pth", "--data", "photos", "--transform", "resize=40,crop=32")
    assert data["input_shape"] == [3, 32, 32]
    assert not [note for note in data["notes"] if "mean" in note]


def test_arrays_take_mean_and_std_of_the_preset_and_keep_their_size(photos, capsys):
    np.savez("a.npz", x=np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32), y=np.arange(4))
    notes = " | ".join(audit(capsys, "--weights", "of1000.pth", "--data", "a.npz")["notes"])
    assert "mean 0.485, 0.456, 0.406" in notes
    assert (
        "inputs of 8 x 8, where torchvision:ResNet50_Weights.IMAGENET1K_V2 gives 224 x 224: they are not resized"
        in notes
    )


@pytest.mark.parametrize(
    ("transform", "mean", "found"),
    [
        ("model", None, (MEAN, STD)),
        ("model", "0.5", ((0.5,), None)),
        ("none", None, (None, None)),
        ("crop=8", None, (MEAN, STD)),
        ("crop=8,mean=0.1,std=0.2", None, ((0.1,), (0.2,))),
        ("crop=8,mean=0.1,std=0.2", "0.5", ((0.5,), None)),
    ],
)
def test_mean_and_std_come_from_the_most_explicit_source(transform, mean, found):
    prepared = prepare("torchvision:resnet18@DEFAULT", None, transform, None, mean, None)
    assert (prepared.mean, prepared.std) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image-size", "8", "--transform", "crop=8"], "--image-size: expected it or --transform, got both"),
        (
            ["--mean", "123.675,116.28,103.53", "--std", "58.4,57.12,57.38"],
            "divide them by 255: mean 0.485,0.456,0.406",
        ),
        (["--bounds=-2.2,2.7"], "give 0.0192157 for 1/255 of the range, 0.00392157 if it is meant as it stands"),
        (["--bounds=0,255"], "give 1 for 1/255 of the range"),
        (["--surrogate-mean", "0.5"], "--surrogate: expected a model"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_fix(case, capsys, words, message):
    words = ["audit", "nets_of_mine:cnn", "--data", "digits.npz", *QUICK, *words]
    assert message in complaint(capsys, words)


def test_the_same_eps_as_a_decimal_is_taken_as_meant(case):
    words = ["audit", "nets_of_mine:cnn", "--data", "digits.npz", "--attack", "fgsm", "--probes", "0", "--bounds=-1,2"]
    assert run([*words, "--eps", "0.0157"]) in (0, 3)


@pytest.mark.slow
def test_a_surrogate_has_its_own_mean_and_its_clean_accuracy_is_told(case, capsys):
    torch.save(digits_cnn().state_dict(), "cnn.pt")
    words = ["audit", "nets_of_mine:cnn", "--weights", "cnn.pt", "--data", "digits.npz", *QUICK]
    surrogate = ["--surrogate", "nets_of_mine:cnn", "--surrogate-weights", "cnn.pt"]
    told = []
    for more in ([], ["--mean", "0.01", "--std", "1.01"], ["--surrogate-mean", "0.9", "--surrogate-std", "9"]):
        assert run([*words, *surrogate, *more]) in (0, 3)
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "surrogate nets_of_mine:cnn" in line]
        told.append(line)
        assert (
            line.strip() in json.loads(Path("robustkit-report/report.json").read_text())["audits"][0]["data"]["notes"]
        )
    assert told[0] == told[1] != told[2]
    assert "no better than always naming the most frequent class" in told[2]


def test_a_new_last_layer_has_the_classes_of_the_data_and_pictures_of_the_preset(photos, capsys):
    words = ["train", "torchvision:resnet50", "--weights", "of1000.pth", "--data", "photos", "--replace-head"]
    assert run([*words, "--objective", "standard", "--epochs", "1", "--batch-size", "2", "--quiet"]) in (0, 3)
    from safetensors.torch import load_file

    (file,) = Path().rglob("weights.safetensors")
    assert load_file(file)["fc.weight"].shape == (2, 3)


def test_a_record_from_before_presets_is_loaded_without_one_and_never_calls_a_transform(monkeypatch):
    monkeypatch.setattr(ModelOptions, "load", lambda self: self.transform)
    values = {field.name: None for field in dataclasses.fields(ModelOptions)} | {"transform": "model"}
    record = {"model": "torchvision:resnet18", "data": "digits"}
    assert Recorded(values, set()).load(record, {}, Path()) == "none"
    assert Recorded(values, set()).load({**record, "transform": "model"}, {}, Path()) == "model"
    told = Recorded(values, set()).load({**record, "transform": "mine:f"}, {}, Path())
    assert told == "'mine:f' is a function, called only if you name it: give --transform"
