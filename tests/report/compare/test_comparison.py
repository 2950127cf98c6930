"""Before and after, sample by sample; and audits of models that have no gradient."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, write_digits
from report_examples import HOSTILE
from torch import nn

from robustkit.attacks import FGSM, Noise
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.cli.shared.report_files import write_report
from robustkit.evaluation.curve import security_curve
from robustkit.evaluator import evaluate
from robustkit.loading.model import load_model
from robustkit.maths.paired_test import mcnemar
from robustkit.model.classifier import Classifier
from robustkit.model.weights import weights_sha256
from robustkit.report.build import build_audit
from robustkit.report.compare.comparison import compare, comparison_json
from robustkit.report.compare.views import headline, render_comparison_html, render_comparison_markdown

MINE = """
import torch
from torch import nn
from safetensors.torch import load_file
from robustkit.model.small_models import create

def original():
    net = create("cnn", (1, 8, 8), 10)
    net.load_state_dict(load_file("cnn.safetensors"))
    return net.eval()

class Rounded(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = original()
    @torch.no_grad()
    def forward(self, x):
        return self.net((x * 8).round() / 8)

def rounded(): return Rounded()
def function(): return Rounded().forward
"""


def shaken() -> nn.Module:
    """A network like the one of `digits_cnn`, a little worse: noise was added to its weights."""
    network, source = copy.deepcopy(digits_cnn()), generator(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.15 * weight.std() * torch.randn(weight.shape, generator=source)
    return network


def folder(path: Path, model: nn.Module, data, name: str = "model", eps: float = 0.08, attacks=None, **extra) -> Path:
    """An audit of a model as the command line writes it."""
    classifier = Classifier(model, num_classes=10)
    chosen = attacks or [Noise(eps=eps), FGSM(eps=eps)]
    found = evaluate(classifier, data, chosen)
    audit = build_audit(found, classifier, name=name, **extra)
    write_report(path, [audit], [found], name, "robustkit audit", 0, loads=[{}])
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Audits of one network and of a worse copy; the second saw the samples in reverse order."""
    base = tmp_path_factory.mktemp("pair")
    x, y = digits(120)
    radii = security_curve(Classifier(digits_cnn()), (x, y), [FGSM()], ["0.05", "0.1"])
    ids = torch.arange(120)
    before = folder(base / "before", digits_cnn(), (x, y, ids), "the original", curve=radii)
    after = folder(base / "after", shaken(), (x.flip(0), y.flip(0), ids.flip(0)), "shaken", curve=radii)
    return before, after


def test_rows_are_counted_sample_by_sample_whatever_their_order(pair):
    found = compare(*pair)
    x, y = digits(120)
    with torch.no_grad():
        right = [(net(x).argmax(1) == y).numpy() for net in (digits_cnn(), shaken())]
    clean, noise, fgsm, worst = found.rows
    assert (clean.before.k, clean.after.k) == tuple(int(r.sum()) for r in right)
    assert (clean.paired.b, clean.paired.c) == (int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()))
    assert clean.paired.p_value == mcnemar(clean.paired.b, clean.paired.c)
    assert found.lost_clean == tuple(str(i) for i in np.flatnonzero(right[0] & ~right[1]))
    assert (noise.name, fgsm.name, worst.name) == ("noise", "fgsm", "worst case")
    assert min(worst.paired.b, worst.paired.c) > 0  # so that a wrong join would show
    assert worst.after.k == worst.before.k - len(found.lost) + len(found.gained)
    assert worst.paired.difference == pytest.approx(worst.after.value - worst.before.value)
    assert (worst.paired.b, worst.paired.c) == (len(found.lost), len(found.gained))
    assert sum(row.robust.b for row in found.classes) == worst.paired.b
    assert found.classes[0].robust.difference == min(row.robust.difference for row in found.classes)
    assert found.caveats == ()


def test_calibration_changes_are_the_reports_own_figures(pair):
    found = compare(*pair)
    audits = [json.loads((folder / "report.json").read_text())["audits"][0]["calibration"] for folder in pair]
    for row in found.figures:
        side = "attacked" if row.attacked else "clean"
        values = [audit[side][row.name]["value"] for audit in audits]
        assert [row.before, row.after] == pytest.approx(values)
        assert row.low <= row.difference + 0.05
        assert row.low < row.high


def test_a_model_against_itself_changes_nothing(pair, tmp_path):
    x, y = digits(120)
    again = folder(tmp_path, digits_cnn(), (x.flip(0), y.flip(0), torch.arange(120).flip(0)))
    found = compare(pair[0], again)
    assert all(row.paired.b == row.paired.c == 0 for row in found.rows)
    for row in found.figures:
        assert (row.difference, row.low, row.high) == pytest.approx((0, 0, 0), abs=1e-6)
    assert found.caveats == ("Both models have the same weights.",)
    assert "did not change measurably" in headline(found)


def test_other_samples_are_refused(pair, tmp_path):
    x, y = digits(60)
    fewer = folder(tmp_path / "fewer", digits_cnn(), (x, y))
    with pytest.raises(ConfigurationError, match=r"the same samples, got 120 of data and 60 of data \(other ids\)"):
        compare(pair[0], fewer)
    x, y = digits(120)
    shifted = folder(tmp_path / "shifted", digits_cnn(), (x * 0.9, y))
    with pytest.raises(ConfigurationError, match="the same ids with other inputs or labels"):
        compare(pair[0], shifted)


def test_a_changed_or_missing_ledger_is_refused(pair, tmp_path):
    x, y = digits(20)
    own = folder(tmp_path / "own", digits_cnn(), (x, y))
    ledger = own / "ledger.csv"
    ledger.write_text(ledger.read_text().replace(",7,", ",8,", 1))
    with pytest.raises(ConfigurationError, match="as the audit wrote it"):
        compare(own, own)
    ledger.unlink()
    with pytest.raises(ConfigurationError, match="beside the report"):
        compare(own, own)


def test_what_stands_in_the_way_of_reading_it_is_said(pair, tmp_path):
    x, y = digits(120)
    other = folder(tmp_path / "other", digits_cnn(), (x, y), eps=0.05)
    found = compare(pair[0], other)
    assert any(caveat.startswith("The threat models differ (Linf 0.08") for caveat in found.caveats)
    other = folder(tmp_path / "fewer", digits_cnn(), (x, y), attacks=[Noise(eps=0.08)])
    found = compare(pair[0], other)
    assert "Only before was attacked by FGSM: the worst cases are over different attacks." in found.caveats
    assert any("white-box before, black-box after" in caveat for caveat in found.caveats)
    assert [row.name for row in found.rows] == ["no attack", "noise", "worst case"]
    report = json.loads((other / "report.json").read_text())
    report["audits"][0]["verdict"]["quality"] = "unreliable"
    (other / "report.json").write_text(json.dumps(report))
    found = compare(pair[0], other)
    assert found.caveats[0].startswith("The evaluation after is unreliable")
    assert "Do not rely on it" in headline(found)


def test_a_report_of_several_models_needs_a_name(pair, tmp_path):
    x, y = digits(40)
    classifier = Classifier(digits_cnn(), num_classes=10)
    runs = [evaluate(classifier, (x, y), [FGSM(eps=eps)]) for eps in (0.05, 0.1)]
    audits = [build_audit(run, classifier, name=name) for run, name in zip(runs, "ab", strict=True)]
    write_report(tmp_path, audits, runs, "both", "robustkit", 0, loads=[{}, {}])
    found = compare(tmp_path, tmp_path, before_name="a", after_name="b")
    assert found.rows[-1].after.k < found.rows[-1].before.k
    with pytest.raises(ConfigurationError, match="add --before 'a'"):
        compare(tmp_path, tmp_path)
    with pytest.raises(ConfigurationError, match="--after: expected a model in"):
        compare(tmp_path, tmp_path, before_name="a", after_name="c")


def test_rows_of_a_cascade_are_named_for_what_remains_and_only_like_is_compared(pair, tmp_path):
    x, y = digits(120)
    attacks = (FGSM(eps=0.08), Noise(eps=0.08))
    cascade = folder(tmp_path / "cascade", digits_cnn(), (x, y), attacks=Protocol("mine", attacks))
    again = compare(cascade, cascade)
    assert [row.title for row in again.rows] == ["no attack", "FGSM", "after Random noise", "worst case"]
    assert "after Random noise" in render_comparison_html(again)
    assert "| after Random noise |" in render_comparison_markdown(again)
    listed = folder(tmp_path / "listed", digits_cnn(), (x, y), attacks=[*attacks])
    mixed = compare(listed, cascade)
    assert [row.name for row in mixed.rows] == ["no attack", "fgsm", "worst case"]
    assert any(caveat.startswith("No row for Random noise: ") for caveat in mixed.caveats)


def test_views_show_both_curves_and_stay_short(pair):
    found = compare(*pair)
    page, text = render_comparison_html(found), render_comparison_markdown(found)
    assert page == render_comparison_html(found)
    assert "Robust accuracy vs eps, before and after" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert len(text.splitlines()) <= 60
    assert headline(found) in page
    assert json.loads(comparison_json(found))["n"] == 120
    bare = dataclasses.replace(found, before=dataclasses.replace(found.before, curve=None))
    assert "Audits made with --curve also show both robustness curves here." in render_comparison_html(bare)


def test_hostile_names_break_no_view(pair):
    found = compare(*pair)
    rows = tuple(dataclasses.replace(row, name=name) for row, name in zip(found.rows, HOSTILE, strict=False))
    hostile = dataclasses.replace(
        found,
        rows=rows,
        before=dataclasses.replace(found.before, name=HOSTILE[0]),
        after=dataclasses.replace(found.after, name=HOSTILE[6]),
        lost=HOSTILE,
        caveats=HOSTILE,
    )
    page, text = render_comparison_html(hostile), render_comparison_markdown(hostile)
    for view in (page, text):
        assert view.count("<script") == (view is page)  # its own
        assert "\x00" not in view
    assert {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")} == {5, 8}


@pytest.fixture
def mine(in_folder: Path) -> Path:
    write_digits(in_folder, 40)
    Path("mine_to_compare.py").write_text(MINE)
    return in_folder


@pytest.mark.slow
def test_a_model_without_gradients_is_audited_and_compared_as_documented(mine, capsys):
    common = ["--data", "digits.npz", "--eps", "0.1", "--attack", "square:queries=50"]
    common += ["--surrogate", "mine_to_compare:original", "--probes", "0"]
    assert run(["audit", "mine_to_compare:original", *common, "--out", "before"]) == 0
    for model in ("rounded", "function"):
        assert run(["audit", f"mine_to_compare:{model}", *common, "--out", model]) == 0
    capsys.readouterr()
    (audit,) = json.loads(Path("rounded/report.json").read_text())["audits"]
    assert audit["verdict"]["quality"] == "reliable with remarks"
    assert audit["threat"]["knowledge"].startswith("black-box: ")
    assert {check["id"]: check["status"] for check in audit["diagnostics"]}["Q07"] == "remark"
    assert "knows only the scores of the model" in Path("rounded/report.md").read_text()
    ledgers = {hashlib.sha256(Path(m, "ledger.csv").read_bytes()).hexdigest() for m in ("rounded", "function")}
    assert len(ledgers) == 1
    assert run(["compare", "before", "rounded"]) == 0
    out = capsys.readouterr().out
    assert "the same 40 samples of digits" in " ".join(out.split())
    assert "worst case" in out
    assert {path.name for path in Path("robustkit-compare").iterdir()} == {"compare.json", "compare.html", "compare.md"}


def test_gradient_attacks_on_a_model_without_gradients_say_what_to_do(mine, capsys):
    assert run(["audit", "mine_to_compare:rounded", "--data", "digits.npz", "--attack", "fgsm"]) == 3
    assert "use a black-box attack" in capsys.readouterr().err


def test_quantised_weights_count_in_the_hash():
    def quantised(weight: float) -> nn.Module:
        module = nn.Module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch announces a successor of these tensors
            module.register_buffer("w", torch.quantize_per_tensor(torch.full((3,), weight), 0.1, 0, torch.qint8))
        return module

    assert weights_sha256(quantised(0.1)) == weights_sha256(quantised(0.1))
    assert weights_sha256(quantised(0.1)) != weights_sha256(quantised(0.3))


def test_a_factory_may_return_a_function_and_a_class_is_still_called(mine):
    with pytest.raises(ConfigurationError, match=r"expected a torch\.nn\.Module, got Size"):
        load_model("torch:Size")
    assert load_model("mine_to_compare:function")(digits(2)[0]).shape == (2, 10)
