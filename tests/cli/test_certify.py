"""`robustkit certify`: its table and what it prints."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from complaints import complaint
from scipy.stats import norm

from robustkit.cli import run
from robustkit.defenses.smoothing import largest_radius
from robustkit.loading.model import load_model

DATA = ["--data", "digits.npz"]
TWO = ["--weights", "a.safetensors", "--weights", "b.safetensors", "--classes", "10"]
QUICK = ["--eps", "0.15", "--attack", "pgd:steps=4"]


def test_certify_writes_a_row_for_each_sample_and_prints_the_radii(two_weights, capsys):
    command = ["certify", "cnn", "--weights", "a.safetensors", "--classes", "10", *DATA, "--first", "6", "--n", "200"]
    assert run([*command, "--sigma", "0.05", "--radii", "0,0.05,9"]) == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(Path("certify.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [*"012345"]
    most = 0.05 * norm.ppf(0.001 ** (1 / 200))
    assert max(float(row["radius"]) for row in rows) == pytest.approx(most)
    for radius, text in ((0, "0"), (0.05, "0.05")):
        hits = sum(row["right"] == "True" and float(row["radius"]) >= radius for row in rows)
        line = next(line for line in out.splitlines() if line.split()[:1] == [text])
        assert line.rstrip().endswith(f"{hits} of 6")
    line = next(line for line in out.splitlines() if line.split()[:1] == ["9"])
    assert line.split(maxsplit=1)[1].strip() == "not reachable with n = 200"
    assert f"can prove no more than {most:.3g}" in out
    before = Path("certify.csv").read_text()
    run([*command, "--sigma", "0.05", "--batch-size", "33"])
    columns = [[row[:6] for row in csv.reader(text.splitlines())] for text in (before, Path("certify.csv").read_text())]
    assert columns[0] == columns[1]


def test_a_radius_at_the_very_end_is_reachable(two_weights, capsys):
    most = largest_radius(50, 0.05, 0.01)
    assert most == pytest.approx(0.05 * norm.ppf(0.01 ** (1 / 50)))
    command = ["certify", "cnn", "--weights", "a.safetensors", "--classes", "10", *DATA, "--limit", "2", "--n", "50"]
    radii = f"{most!r},{most * 1.0001!r}"
    assert run([*command, "--sigma", "0.05", "--alpha", "0.01", "--n0", "5", "--radii", radii, "--quiet"]) == 0
    assert capsys.readouterr().out.count("not reachable with n = 50") == 1


def test_what_certify_writes_is_a_model_that_audit_reads(two_weights, capsys):
    command = ["certify", "cnn", "--weights", "a.safetensors", "--classes", "10", *DATA, "--limit", "1", "--n", "20"]
    assert run([*command, "--n0", "5", "--sigma", "0.1", "--seed", "3", "--out", "mine.csv", "--quiet"]) == 0
    assert "model mine.json" in capsys.readouterr().out
    smoothed = load_model("mine.json")
    assert (smoothed.sigma, smoothed.seed) == (0.1, 3)
    audit = ["audit", "mine.json", *DATA, "--limit", "4", "--norm", "L2", "--eps", "0.1", "--attack", "fgsm"]
    assert run([*audit, "--probes", "0", "--no-evidence", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--out", "c.json"], "expected a name for the table"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--sigma", "-1"], "expected sigma in (0, inf), got -1"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--radii", "a"], "--radii: expected comma-separated numbers"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--alpha", "2"], "expected alpha in (0, 1), got 2"),
    ],
)
def test_mistakes_are_one_line(two_weights, capsys, arguments, message):
    assert message in complaint(capsys, arguments)
