"""`robustkit corrupt`: what it prints, what it writes, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nets import digits, write_digits

from robustkit.cli import run
from robustkit.shift.corruptions import CORRUPTIONS

CORRUPT = ["corrupt", "cnn", "--weights", "cnn.safetensors", "--classes", "10", "--data", "digits.npz", "--quiet"]


@pytest.fixture
def case(in_folder: Path) -> Path:
    """A folder with a trained network as weights and 40 digits as npz."""
    write_digits(in_folder, 40)
    return in_folder


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 2) -> str:
    """Runs a wrong command line; returns its one line of complaint."""
    assert run(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("robustkit: ")
    assert error.count("\n") == 1
    assert not Path("robustkit-shift").exists()
    return error


def test_the_table_has_a_row_for_every_corruption_and_the_files_the_same_figures(case, capsys):
    assert run([*CORRUPT, "--baseline", "alexnet", "--limit", "30"]) == 0
    out = capsys.readouterr().out
    plain = json.loads(Path("robustkit-shift/shift.json").read_text())
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:19]}
    assert list(rows) == ["clean", *CORRUPTIONS, "mean"]
    for name in CORRUPTIONS:
        shares = [cell["accuracy"] for cell in plain["cells"] if cell["corruption"] == name]
        mean, ece = plain["by_corruption"][name]["accuracy"], plain["by_corruption"][name]["ece"]
        assert rows[name] == [*(f"{100 * share:.1f}" for share in (*shares, mean)), f"{ece:.3f}"]
    assert rows["mean"][5] == f"{100 * plain['mean_accuracy']['value']:.1f}"
    assert f"mCE {100 * plain['mce']:.1f} %" in out
    assert "AlexNet on ImageNet-C" in out
    assert "on 30 samples" in out
    lines = Path("robustkit-shift/shift.csv").read_text().splitlines()
    assert len(lines) == 1 + 1 + 75
    assert lines[1].startswith("clean,0,")


def test_one_corruption_at_some_severities_against_a_baseline_from_a_file(case, capsys):
    Path("base.json").write_text(json.dumps({"name": "old net", "clean": 0.1, "errors": {"fog": [0.5] * 5}}))
    some = ["--corruption", "fog", "--severity", "5", "--severity", "2", "--baseline", "base.json", "--out", "deep/er"]
    assert run([*CORRUPT, *some]) == 0
    out = capsys.readouterr().out
    plain = json.loads(Path("deep/er/shift.json").read_text())
    assert [(cell["corruption"], cell["severity"]) for cell in plain["cells"]] == [("fog", 2), ("fog", 5)]
    assert plain["mce"] == pytest.approx(sum(1 - cell["accuracy"] for cell in plain["cells"]) / 1.0)
    assert "old net" in out


def test_published_images_are_read(case, capsys):
    x, y = digits(40)
    same = (x * 255).round().byte().repeat(5, 1, 1, 1).squeeze(1).numpy()
    Path("published").mkdir()
    np.save("published/fog.npy", same)
    np.save("published/labels.npy", y.repeat(5).byte().numpy())
    assert run([*CORRUPT, "--corrupted", "published", "--corruption", "fog"]) == 0
    plain = json.loads(Path("robustkit-shift/shift.json").read_text())
    assert {cell["accuracy"] for cell in plain["cells"]} == {plain["clean"]["accuracy"]}
    assert plain["source"] == "published"


def test_mistakes_are_one_line(case, capsys):
    assert "did you mean 'snow'" in complaint(capsys, [*CORRUPT, "--corruption", "snoww"])
    assert "6 is not in the range 1<=x<=5" in complaint(capsys, [*CORRUPT, "--severity", "6"])
    assert "expected alexnet or a JSON file" in complaint(capsys, [*CORRUPT, "--baseline", "alex"])
    Path("base.json").write_text('{"name": "x", "clean": 0.1}')
    assert "a fault in errors" in complaint(capsys, [*CORRUPT, "--baseline", "base.json"])
    Path("base.json").write_text('{"name": "x", "clean": 0.1, "errors": {"fog": [0.1]}}')
    thin = [*CORRUPT, "--corruption", "fog", "--severity", "1", "--baseline", "base.json"]
    assert "five errors of 'x' under fog, got 1" in complaint(capsys, thin)
