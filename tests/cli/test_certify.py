"""`robustkit certify`: its table and what it prints."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from complaints import complaint
from scipy.stats import norm

from robustkit.cli import run

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
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--sigma", "-1"], "expected sigma > 0, got -1"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--radii", "a"], "--radii: expected comma-separated numbers"),
        (["certify", "cnn", *TWO[:2], *TWO[4:], *DATA, "--alpha", "2"], "expected alpha between 0 and 1"),
    ],
)
def test_mistakes_are_one_line(two_weights, capsys, arguments, message):
    assert message in complaint(capsys, arguments)
