"""`--limit` and `--first`: which samples a command looks at."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from complaints import complaint
from nets import digits, digits_cnn
from safetensors.torch import save_file

import robustkit
from robustkit.attacks import FGSM, FMN
from robustkit.base.errors import ConfigurationError
from robustkit.cli import COMMANDS, run
from robustkit.cli.shared.samples import Choice
from robustkit.evaluation.curve import minimal_distances, security_curve

NETWORK = ["cnn", "--weights", "cnn.safetensors"]
AUDIT = ["audit", *NETWORK, "--data", "sorted.npz", "--eps", "0.1", "--attack", "fgsm", "--probes", "0", "--quiet"]


@pytest.fixture
def sorted_digits(tmp_path, monkeypatch):
    """Works in a folder with digits that are sorted by class, 12 of each."""
    monkeypatch.chdir(tmp_path)
    save_file(digits_cnn().state_dict(), "cnn.safetensors")
    x, y = (part.numpy() for part in digits(500))
    order = np.concatenate([np.flatnonzero(y == k)[:12] for k in range(10)])
    np.savez("sorted.npz", images=x[order], labels=y[order])


def audited(folder: str) -> tuple[dict, list[dict]]:
    """Returns what a report says of the data, and the rows of its ledger."""
    (audit,) = json.loads(Path(folder, "report.json").read_text())["audits"]
    return audit, list(csv.DictReader(Path(folder, "ledger.csv").read_text().splitlines()))


def test_commands_draw_the_same_samples_of_every_class_and_say_so(sorted_digits):
    run([*AUDIT, "--limit", "20", "--seed", "3"])
    run(["certify", *NETWORK, "--data", "sorted.npz", "--limit", "20", "--seed", "3", "--n", "20", "--quiet"])
    audit, rows = audited("robustkit-report")
    assert audit["data"]["selection"] == "20 of 120 samples, stratified by class (seed 3)"
    assert sorted(row["label"] for row in rows) == sorted([*"0123456789"] * 2)
    certified = list(csv.DictReader(Path("certify.csv").read_text().splitlines()))
    assert [row["id"] for row in certified] == [row["id"] for row in rows]
    assert run(["verify", "robustkit-report", *NETWORK[1:], "--data", "sorted.npz"]) == 0


def test_the_first_samples_are_those_at_the_start_and_their_missing_classes_are_named(sorted_digits):
    run([*AUDIT, "--first", "20"])
    audit, rows = audited("robustkit-report")
    assert [row["id"] for row in rows] == [*map(str, range(20))]
    assert audit["data"]["selection"] == "the first 20 samples"
    assert audit["data"]["notes"][-1] == "classes without samples: 2, 3, 4, 5, 6, 7, 8, 9"
    assert run(["verify", "robustkit-report", *NETWORK[1:], "--data", "sorted.npz"]) == 0


def test_the_curve_of_a_run_that_stops_early_is_that_of_its_samples(sorted_digits):
    run([*AUDIT, "--limit", "100", "--until", "20%", "--curve", "0.1"])
    audit, rows = audited("robustkit-report")
    robust = sum(row["clean_prediction"] == row["label"] == row["fgsm/prediction"] for row in rows)
    assert 0 < len(rows) < 100
    assert audit["curve"]["points"][0]["accuracy"]["k"] == robust
    assert audit["data"]["selection"].endswith("drawn from 100 of 120 samples, stratified by class (seed 0)")
    assert run(["verify", "robustkit-report", *NETWORK[1:], "--data", "sorted.npz"]) == 0


def test_limit_and_first_together_are_refused(sorted_digits, capsys):
    assert "expected --limit (drawn at random) or --first, got both" in complaint(
        capsys, [*AUDIT, "--limit", "5", "--first", "5"]
    )
    with pytest.raises(ConfigurationError, match="got both"):
        Choice(5, 5)


def test_every_command_that_limits_its_samples_can_draw_them_and_take_the_first():
    found = {}
    for name in COMMANDS:
        command = importlib.import_module(f"robustkit.cli.{name.replace('-', '_')}").command
        found[name] = {option for parameter in command.params for option in parameter.opts} & {"--limit", "--first"}
    assert {name for name, options in found.items() if options} == {
        "audit", "doctor", "calibrate", "certify", "corrupt", "ensemble", "train", "clean-data",
    }  # fmt: skip
    assert all(len(options) in (0, 2) for options in found.values())


def test_all_measures_of_one_model_look_at_the_same_samples():
    model, data, settings = digits_cnn(), digits(60), {"limit": 13, "seed": 4}
    ids = robustkit.evaluate(model, data, [FGSM(eps=0.1)], **settings).ledger["id"]
    curve = security_curve(model, data, [FGSM(eps=0.1)], ["0.1"], **settings)
    nearest = minimal_distances(model, data, [FMN(eps="inf", steps=3)], **settings)
    assert ids.tolist() == curve.ids.tolist() == nearest.ids.tolist()
    assert len(set(ids.tolist())) == 13
    whole = robustkit.evaluate(model, data, [FGSM(eps=0.1)], seed=4).ledger
    np.testing.assert_array_equal(
        whole["fgsm/margin"][ids], robustkit.evaluate(model, data, [FGSM(eps=0.1)], **settings).ledger["fgsm/margin"]
    )
