"""`robustkit ensemble`, `calibrate` and `certify`, and the files that stand for what they made."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn
from safetensors.torch import save_file
from scipy.stats import norm
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.defenses.calibrators import CALIBRATORS
from robustkit.defenses.ensemble import Ensemble
from robustkit.defenses.preprocess import JPEG
from robustkit.loading.composed import KINDS, Composition, Part, write_composition
from robustkit.loading.model import load_model
from robustkit.model.small_models import create

FACTORY = """
from robustkit.model.small_models import create

def cnn():
    return create("cnn", (1, 8, 8), 10)
"""


@pytest.fixture
def case(in_folder: Path) -> Path:
    """A folder with a trained network and a damaged twin of it as weights, 60 digits, and a factory."""
    x, y = digits(60)
    np.savez(in_folder / "digits.npz", images=(x * 255).round().byte().numpy(), labels=y.numpy())
    save_file(digits_cnn().state_dict(), in_folder / "a.safetensors")
    twin = create("cnn", (1, 8, 8), 10)
    noise = torch.Generator().manual_seed(0)
    damaged = {
        name: value + 0.1 * value.std() * torch.randn(value.shape, generator=noise) if value.ndim > 1 else value
        for name, value in digits_cnn().state_dict().items()
    }
    twin.load_state_dict(damaged)
    save_file(twin.state_dict(), in_folder / "b.safetensors")
    (in_folder / "nets_of_mine.py").write_text(FACTORY)
    yield in_folder
    sys.modules.pop("nets_of_mine", None)


DATA = ["--data", "digits.npz"]
TWO = ["--weights", "a.safetensors", "--weights", "b.safetensors", "--classes", "10"]
QUICK = ["--eps", "0.15", "--attack", "pgd:steps=4"]


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Runs a wrong command line; returns its one line of complaint."""
    assert run(arguments) in (2, 3)
    error = capsys.readouterr().err
    assert error.startswith("robustkit: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def test_ensemble_of_snapshots_is_written_shown_and_audited(case, capsys):
    assert run(["ensemble", "cnn", *TWO, *DATA, *QUICK, "--rule", "hard_vote", "--out", "deep/er/two.json"]) == 0
    out = capsys.readouterr().out
    for words in ("1  cnn a.safetensors", "points made for", "nobody (clean)", "ensemble", "members disagree on"):
        assert words in out
    matrix = [line.split() for line in out.partition("nobody (clean)")[2].splitlines()[1:4]]
    first = [float(cell) for cell in out.partition("nobody (clean)")[2].split("\n")[0].split()]
    rows = {name: [float(cell) for cell in cells] for name, *cells in matrix}
    assert rows["ensemble"][2] <= min(rows["1"][2], rows["2"][2])
    written = json.loads(Path("deep/er/two.json").read_text())
    assert written["settings"] == {"rule": "hard_vote"}
    assert [part["weights"] for part in written["parts"]] == ["../../a.safetensors", "../../b.safetensors"]
    assert run(["audit", "deep/er/two.json", *DATA, *QUICK, "--probes", "0", "--out", "report"]) == 0
    audit = json.loads(Path("report/report.json").read_text())["audits"][0]
    assert audit["subject"]["architecture"] == "Ensemble"
    assert 100 * audit["worst_case"]["accuracy"]["value"] == pytest.approx(rows["ensemble"][2], abs=5)
    group = audit["ensemble"]
    assert (group["members"], group["combine"]) == (["member 1", "member 2"], "hard_vote")
    assert [100 * share["value"] for share in group["clean"]] == pytest.approx(list(first[:2]), abs=0.06)
    assert [group["transfer"][i][i] for i in (0, 1)] == [1, 1]
    assert 0 < group["transfer"][0][1] < 1
    page = Path("report/report.md").read_text()
    assert "Members, combined by hard\\_vote; two of them answer differently on" in page
    assert "| | Accuracy | Under attack | breaks 1 | breaks 2 |" in page


def test_members_are_trained_independently_by_one_command(case, capsys):
    command = ["ensemble", "mlp", "--train", "2", "--epochs", "2", "--data", "digits", *QUICK, "--limit", "50"]
    assert run([*command, "--out", "out/both.json"]) == 0
    clean = capsys.readouterr().out.partition("nobody (clean)")[2].split("\n")[0].split()
    assert min(map(float, clean)) > 60
    first, second = (load_model("mlp", f"out/both-{n}.safetensors", (1, 8, 8), 10).state_dict() for n in (1, 2))
    assert not torch.equal(first["1.weight"], second["1.weight"])
    assert isinstance(load_model("out/both.json"), Ensemble)
    before = Path("out/both-2.safetensors").read_bytes()
    run([*command, "--out", "out/both.json"])
    assert Path("out/both-2.safetensors").read_bytes() == before
    npz = ["ensemble", "mlp", "--train", "2", *DATA, "--classes", "10"]
    assert "expected data with a training split" in complaint(capsys, npz)
    assert "expected one architecture" in complaint(capsys, ["ensemble", "mlp", "cnn", *command[2:]])


def test_weights_of_an_ensemble_are_fitted_on_the_half_that_does_not_judge(case, capsys):
    assert run(["ensemble", "cnn", *TWO, *DATA, *QUICK, "--rule", "weighted"]) == 0
    assert "on 30 samples" in capsys.readouterr().out
    weights = json.loads(Path("ensemble.json").read_text())["settings"]["weights"]
    assert sum(weights) == pytest.approx(1)
    assert weights[0] != weights[1]
    model = load_model("ensemble.json")
    assert model.weights.tolist() == pytest.approx(weights)
    assert not model.training


@pytest.mark.parametrize("method", CALIBRATORS)
def test_a_calibrated_model_is_written_and_loaded_again(case, capsys, method):
    model = ["cnn", "--weights", "b.safetensors", "--classes", "10", "--mean", "0.1", "--std", "0.5"]
    assert run(["calibrate", *model, *DATA, "--method", method]) == 0
    out = capsys.readouterr().out
    before, after = (next(line for line in out.splitlines() if line.startswith(f"  {n}")) for n in ("before", method))
    assert "on 30 samples, calibrated on 30 others" in out
    if CALIBRATORS[method].keeps_answers:
        assert before.split()[1] == after.split()[1]
    assert ("temperature 0." in out or "temperature 1." in out) == (method == "temperature")
    x, _ = digits(20)
    again = load_model("calibrated.json")
    twin = load_model("cnn", "b.safetensors", (1, 8, 8), 10).eval()
    settings = json.loads(Path("calibrated.json").read_text())["settings"]
    expected = CALIBRATORS[method](nn.Sequential(Shift(), twin), **settings)
    torch.testing.assert_close(again(x), expected(x))


class Shift(nn.Module):
    def forward(self, x):
        return (x - 0.1) / 0.5


def test_a_calibrated_ensemble_is_a_model_too(case, capsys):
    run(["ensemble", "cnn", *TWO, *DATA, *QUICK, "--limit", "20"])
    assert run(["calibrate", "ensemble.json", *DATA, "--out", "made/calibrated.json"]) == 0
    assert run(["audit", "made/calibrated.json", *DATA, *QUICK, "--probes", "0", "--limit", "20"]) == 0
    capsys.readouterr()


def test_certify_writes_a_row_for_each_sample_and_prints_the_radii(case, capsys):
    command = ["certify", "cnn", "--weights", "a.safetensors", "--classes", "10", *DATA, "--limit", "6", "--n", "200"]
    assert run([*command, "--sigma", "0.05", "--radii", "0,0.05,9"]) == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(Path("certify.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [*"012345"]
    most = 0.05 * norm.ppf(0.001 ** (1 / 200))
    assert max(float(row["radius"]) for row in rows) == pytest.approx(most)
    for radius, text in ((0, "0"), (0.05, "0.05"), (9, "9")):
        hits = sum(row["right"] == "True" and float(row["radius"]) >= radius for row in rows)
        line = next(line for line in out.splitlines() if line.split()[:1] == [text])
        assert line.rstrip().endswith(f"{hits} of 6")
    before = Path("certify.csv").read_text()
    run([*command, "--sigma", "0.05", "--batch-size", "33"])
    columns = [[row[:6] for row in csv.reader(text.splitlines())] for text in (before, Path("certify.csv").read_text())]
    assert columns[0] == columns[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ensemble", "cnn", *TWO, *DATA, "--rule", "hardvote"], "did you mean 'hard_vote'"),
        (["ensemble", "cnn", "--weights", "a.safetensors", "--classes", "10", *DATA], "two or more members"),
        (["ensemble", "cnn", "cnn", "mlp", *TWO, *DATA], "expected one for each of 3 models, got 2"),
        (["ensemble", "cnn", *TWO, *DATA, "--eps", "big"], "eps"),
        (["calibrate", "cnn", *TWO[:2], *TWO[4:], *DATA, "--method", "platt"], "temperature, vector, isotonic"),
        (["calibrate", "cnn", *TWO[:2], *TWO[4:], *DATA, "--fit-share", "1"], "on both sides, got 60"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--sigma", "-1"], "expected sigma > 0, got -1"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--radii", "a"], "--radii: expected numbers"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--alpha", "2"], "expected alpha between 0 and 1"),
    ],
)
def test_mistakes_are_one_line(case, capsys, arguments, message):
    assert message in complaint(capsys, arguments)


def test_a_composition_calls_functions_only_when_trusted(case):
    path = write_composition(Path("mine.json"), Composition(kind="jpeg", parts=(Part(model="nets_of_mine:cnn"),)))
    with pytest.raises(ConfigurationError, match="expected a trusted file, got one that calls 'nets_of_mine:cnn'"):
        load_model(path)
    assert "nets_of_mine" not in sys.modules
    assert isinstance(load_model(path, trust_checkpoint=True)[0], JPEG)


def test_a_composition_refuses_weights_it_was_not_made_with(case):
    part = Part(model="cnn", weights="a.safetensors", input_shape=(1, 8, 8), num_classes=10)
    path = write_composition(Path("one.json"), Composition(kind="ensemble", parts=(part, part)))
    assert isinstance(load_model(path), Ensemble)
    Path("a.safetensors").write_bytes(Path("b.safetensors").read_bytes())
    with pytest.raises(ConfigurationError, match="expected the weights it was made with"):
        load_model(path)


SETTINGS = {
    "smoothed": {"sigma": 0.1},
    "temperature": {"temperature": 2.0},
    "vector": CALIBRATORS["vector"].unchanged(3),
}
SETTINGS["isotonic"] = CALIBRATORS["isotonic"].unchanged(3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_composition_can_be_loaded(in_folder, kind):
    part = Part(model="mlp", input_shape=(1, 8, 8), num_classes=3)
    path = write_composition(Path("it.json"), Composition(kind=kind, settings=SETTINGS.get(kind, {}), parts=(part,)))
    assert load_model(path)(torch.rand(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a fault in the file"),
        ('{"kind": "ensemble"}', "a fault in parts"),
        ('{"kind": "ensemble", "parts": [{"modell": "cnn"}]}', r"a fault in parts\.0\.model"),
        ('{"kind": "ensembel", "parts": []}', "did you mean 'ensemble'"),
        ('{"kind": "jpeg", "parts": []}', "expected one part for jpeg, got 0"),
        ('{"kind": "ensemble", "parts": []}', "at least one member"),
        ('{"kind": "jpeg", "parts": [{"model": "it.json"}]}', "got itself"),
        (
            '{"kind": "jpeg", "settings": {"q": 1}, "parts": [{"model": "mlp", "input_shape": [4], "num_classes": 2}]}',
            "settings that jpeg has",
        ),
    ],
)
def test_a_faulty_composition_says_where(in_folder, content, message):
    Path("it.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        load_model("it.json")
