"""Tables with a schema on the command line, from a CSV to a report that is verified."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tables
from complaints import complaint
from follow_page import follow
from sklearn.ensemble import GradientBoostingClassifier

from robustkit.cli import run
from robustkit.cli.audit.plan import WITHOUT_GRADIENTS

TREES = ["--trust-checkpoint", "--data", "t.csv", "--schema", "s.toml", "--probes", "0", "--quiet", "--out", "out"]
BRIEFLY = ("queries=5", "steps=1,looks=4")
PAGE = Path(__file__).parent.parent.parent / "docs" / "tables.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Works in a folder with a table of numbers, a schema and trees that were fitted to it."""
    monkeypatch.chdir(tmp_path)
    columns = tables.columns()
    kept = ["age", "income", "smoker", "size", "label"]
    rows = zip(*(columns[name].tolist() for name in kept), strict=True)
    Path("t.csv").write_text("\n".join([",".join(kept), *(",".join(map(str, row)) for row in rows)]) + "\n")
    Path("s.toml").write_text('[default]\neps = 1\nunit = "std"\n[features.size]\nkind = "ordinal"\neps = 3\n')
    x = np.stack([columns[name] for name in kept[:-1]], axis=1).astype(np.float32)
    trees = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(x, columns["label"])
    Path("trees.pkl").write_bytes(pickle.dumps(trees))


def audit():
    (found,) = json.loads(Path("out/report.json").read_text())["audits"]
    return found


def test_trees_are_audited_from_a_csv_and_the_bundle_verifies_without_the_schema_file(folder):
    run(["audit", "trees.pkl", *TREES, "--attack", "square:queries=30", "--attack", "hop-skip-jump:steps=1,looks=8"])
    found = audit()
    table = found["table"]
    assert [one["name"] for one in found["threat"]["schema"]["features"]] == ["age", "income", "smoker", "size"]
    assert found["worst_case"]["accuracy"]["value"] < found["clean"]["value"]
    assert table["changes"]["samples"] == found["worst_case"]["attack_success"]["k"]
    costs = [flip["cost"] for flip in table["changes"]["cheapest"]]
    assert costs == sorted(costs)
    assert len(costs) == 5
    assert "Cheapest" in Path("out/report.md").read_text()
    Path("s.toml").unlink()
    assert run(["verify", "out", "--model", "trees.pkl", "--trust-checkpoint", "--data", "t.csv"]) == 0


@pytest.mark.slow
def test_without_gradients_the_default_attacks_are_those_that_need_none(folder, monkeypatch):
    short = [f"{name.partition(':')[0]}:{brief}" for name, brief in zip(WITHOUT_GRADIENTS, BRIEFLY, strict=True)]
    monkeypatch.setattr("robustkit.cli.audit.plan.WITHOUT_GRADIENTS", short)
    run(["audit", "trees.pkl", *TREES, "--first", "4"])
    assert [one["name"] for one in audit()["attacks"]] == ["square", "hop-skip-jump"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "0.1"], "--schema, or --eps, --mask and --bounds, got both"),
        (["--schema", "none.toml"], "schema 'none.toml': expected a TOML file"),
        (["--data", "digits"], "a table beside a schema"),
    ],
)
def test_what_does_not_go_with_a_schema_is_refused(folder, capsys, options, message):
    assert message in complaint(capsys, ["audit", "trees.pkl", *TREES, *options])


def test_a_pickle_is_read_only_where_it_is_trusted(folder, capsys):
    options = [option for option in TREES if option != "--trust-checkpoint"]
    assert "expected a trusted file, got a pickle" in complaint(capsys, ["audit", "trees.pkl", *options])


def test_the_page_about_tables_works_to_the_letter(in_folder):
    pytest.importorskip("pandas")
    follow(PAGE.read_text(encoding="utf-8"))
