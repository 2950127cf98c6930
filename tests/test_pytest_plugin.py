"""The pytest plug-in, in a pytest of its own, and the baseline behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import write
from nets import digits, digits_cnn

from robustkit.attacks import FGSM
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.evaluation.ledger import Ledger
from robustkit.report.compare.baseline import fallen
from robustkit.testing import assert_robust

pytest_plugins = "pytester"
WEAK = [FGSM(eps=0.02)]
TEST = """
from nets import digits, digits_cnn
from robustkit.attacks import FGSM

def test_robust(robustness):
    audit = robustness(digits_cnn(), digits(60), attacks=[FGSM(eps=0.02)], batch_size=64)
    assert audit.clean.n == 60
"""


@pytest.fixture(scope="module")
def baseline(tmp_path_factory, quickly) -> Path:
    folder = tmp_path_factory.mktemp("baseline") / "report"
    write(folder, WEAK)
    return folder


def test_the_fixture_holds_a_model_against_the_baseline_of_the_command_line(pytester, monkeypatch, baseline):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(TEST)
    pytester.path.joinpath("rules.json").write_text('["clean_accuracy>=0.999"]')
    plugin = ("-p", "robustkit.pytest_plugin", "-p", "no:cacheprovider")
    pytester.runpytest(*plugin, "--robustness-baseline", str(baseline / "report.json")).assert_outcomes(passed=1)
    refused = pytester.runpytest(*plugin, "--robustness-baseline", "rules.json")
    refused.assert_outcomes(failed=1)
    refused.stdout.fnmatch_lines(["*clean_accuracy >= 0.999 is *"])
    alone = pytester.runpytest(*plugin)
    alone.stdout.fnmatch_lines(["*expected a requirement, got none; *or give a baseline*"])


def test_the_plug_in_loads_nothing_heavy():
    code = "import sys, robustkit.pytest_plugin; print({'torch', 'numpy', 'pydantic', 'click'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "set()\n"


def test_only_a_significant_fall_is_one(baseline):
    before = Ledger.from_csv((baseline / "ledger.csv").read_text())

    def after(lost: int) -> str | None:
        now = Ledger.from_csv((baseline / "ledger.csv").read_text())
        rows = before.robust.nonzero()[0][:lost]
        now["fgsm/prediction"][rows] = (now["label"][rows] + 1) % 10
        return fallen(before, now)

    robust = int(before.robust.sum())
    assert [after(0), after(5)] == [None, None]
    said = after(6)
    assert said.startswith(f"robust accuracy is significantly below the baseline's: {robust - 6} of 60 right under")
    assert "(6 lost, 0 gained), -10.0 points" in said


def test_a_model_below_the_baseline_fails_whatever_it_meets(monkeypatch, baseline):
    monkeypatch.setattr("robustkit.testing.fallen", lambda before, after: "it fell")
    with pytest.raises(AssertionError, match=r"60 samples, Linf 0\.02\n  it fell"):
        assert_robust(digits_cnn(), digits(60), "robust_accuracy>=0", baseline=baseline, attacks=WEAK)


@pytest.mark.parametrize(("n", "attacks", "text"), [
    (40, WEAK, "expected an audit of the same samples, got one of 60 of"),
    (60, [FGSM(eps=0.01)], r"Linf 0\.02 where the test has FGSM at Linf 0\.01; audit with those of the test"),
])  # fmt: skip
def test_other_samples_or_attacks_are_no_baseline(baseline, n, attacks, text):
    with pytest.raises(ConfigurationError, match=text):
        assert_robust(digits_cnn(), digits(n), baseline=baseline, attacks=attacks)


@pytest.mark.parametrize("text", ["[]", "[3]", "{}", "no JSON"])
def test_what_is_neither_report_nor_requirements_is_one_line(tmp_path, text):
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(ConfigurationError) as error:
        assert_robust(digits_cnn(), digits(8), baseline=tmp_path / "b.json")
    assert str(tmp_path / "b.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_baseline_not_to_be_relied_on_is_refused(tmp_path, baseline):
    report = json.loads((baseline / "report.json").read_text())
    report["audits"][0]["verdict"]["quality"] = "unreliable"
    for name in ("ledger.csv", "manifest.json"):
        (tmp_path / name).write_bytes((baseline / name).read_bytes())
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(InvalidEvaluation, match="expected an evaluation to rely on"):
        assert_robust(digits_cnn(), digits(60), baseline=tmp_path)
