"""Image folders on the command line: classes joined to the outputs of the model, or one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torchvision
from complaints import complaint
from nets import digits, digits_cnn
from PIL import Image
from safetensors.torch import save_file

from robustkit.cli import run

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MODEL = ["nets_for_folders:cnn", "--weights", "cnn.safetensors"]
QUICK = ["--eps", "0.001", "--attack", "fgsm", "--probes", "0", "--quiet"]
N = 40


@pytest.fixture
def folder(case: Path) -> Path:
    """The first digits as image files, each in a folder with the name of its class."""
    Path("nets_for_folders.py").write_text(Path("nets_of_mine.py").read_text())
    x, y = digits()
    for i, label in enumerate(y[:N].tolist()):
        path = Path("photos", WORDS[label], f"{i:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((x[i, 0] * 255).round().byte().numpy()).save(path)
    return case


def right(*words: str) -> int:
    """Returns how many of the digits with these names the model gets right."""
    x, y = digits()
    hits = digits_cnn()(x[:N]).argmax(1) == y[:N]
    return sum(hit for hit, label in zip(hits.tolist(), y[:N].tolist(), strict=True) if WORDS[label] in words)


def audited(*options: str) -> dict:
    assert run(["audit", *MODEL, "--data", "photos", *QUICK, *options]) == 0
    return json.loads(Path("robustkit-report/report.json").read_text())["audits"][0]


def test_names_of_outputs_decide_and_are_in_the_report(folder, capsys):
    audit = audited("--class-names", ",".join(WORDS))
    assert audit["clean"]["k"] == right(*WORDS) > 0.8 * N
    assert tuple(audit["subject"]["class_names"]) == WORDS
    assert any("joined to the outputs by name: 'eight' = 8" in note for note in audit["data"]["notes"])
    capsys.readouterr()
    assert run(["verify", "robustkit-report", "--model", *MODEL, "--data", "photos"]) == 0
    assert "false" not in capsys.readouterr().out


def test_a_map_and_a_selection_are_recorded_for_verify(folder, capsys):
    Path("map.csv").write_text("".join(f"{word},{number}\n" for number, word in enumerate(WORDS)))
    audit = audited("--class-map", "map.csv", "--select", "Two,seven")
    assert audit["clean"]["k"] == right("two", "seven")
    ids = [line.split(",")[0] for line in Path("robustkit-report/ledger.csv").read_text().splitlines()[1:]]
    names = sorted(str(path) for path in Path("photos").rglob("*.png"))
    assert {Path(names[int(id)]).parent.name for id in ids} == {"two", "seven"}
    Path("map.csv").unlink()  # what it said is in the manifest
    capsys.readouterr()
    assert run(["verify", "robustkit-report", "--model", *MODEL, "--data", "photos"]) == 0
    out = capsys.readouterr().out
    assert "false" not in out
    assert "give --data" not in out


@pytest.mark.parametrize("command", ["doctor", "audit", "corrupt", "certify", "calibrate"])
def test_every_command_refuses_classes_that_join_nothing(folder, capsys, command):
    names = [*WORDS[:9], "naught"]
    assert "'nine'" in complaint(capsys, [command, *MODEL, "--data", "photos", "--class-names", ",".join(names)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--class-names", "a,a,b"], ("'a' twice in --class-names",)),
        (["--class-names", "zero,one"], ("one class name for each of 10 outputs, got 2",)),
        (["--class-map", "nowhere.csv"], ("--class-map", "position, from-1, text-order")),
        (["--select", "ten"], ("--select", "classes of the data, got 'ten'")),
        (["--select", "zero,,one"], ("--select", "comma-separated names")),
        (["--class-map", "from-1"], ("classes named 1..10",)),
    ],
)
def test_names_that_cannot_be_meant_are_refused(folder, capsys, options, words):
    said = complaint(capsys, ["doctor", *MODEL, "--data", "photos", *options])
    assert all(word in said for word in words), said


def test_other_numbers_of_classes_and_outputs_are_no_fault_of_num_classes(folder, capsys):
    Path("photos/nine").rename("nine")
    said = complaint(capsys, ["doctor", *MODEL, "--data", "photos"])
    assert all(word in said for word in ("9 classes", "10 outputs", "--class-names", "--class-map"))
    assert "num_classes" not in said


def test_weights_of_a_library_model_for_more_classes_than_the_data_hold_are_no_mismatch(folder, capsys):
    model = torchvision.models.squeezenet1_1(weights=None)
    save_file(model.state_dict(), "squeezenet.safetensors")
    for path in Path("photos").rglob("*.png"):
        Image.open(path).convert("RGB").resize((32, 32)).save(path)
    said = complaint(
        capsys, ["doctor", "torchvision:squeezenet1_1", "--weights", "squeezenet.safetensors", "--data", "photos"]
    )
    assert "the model's 1000 class names (tench, " in said
    assert "10 of 10 that join none: 'eight'" in said


def test_folders_with_numbers_are_the_outputs(folder):
    for number, word in enumerate(WORDS):
        kept = word not in ("zero", "one", "four")
        Path("photos", word).rename(Path("photos", str(number)) if kept else Path(word))
    Path("one").rename(Path("photos", "__MACOSX"))
    audit = audited()
    assert audit["clean"]["k"] == right(*(word for word in WORDS if word not in ("zero", "one", "four")))
    assert audit["subject"]["class_names"] == [*map(str, range(10))]
