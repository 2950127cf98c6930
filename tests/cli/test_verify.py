"""`robustkit verify` and the bundles of `robustkit audit`."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from bundles import Forger
from nets import digits_cnn, write_digits
from plugins import install
from safetensors.torch import save_file

from robustkit.cli import run
from robustkit.report.document.manifest import from_text, to_text

AUDIT = ["audit", "cnn", "--weights", "cnn.safetensors", "--data", "digits.npz", "--classes", "10", "--eps", "0.1"]


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture
def case(in_folder):
    """A folder with a trained network, 40 digits, and the bundle of an audit."""
    write_digits(in_folder, 40)
    Path("nets_that_tell.py").write_text(
        "from pathlib import Path\nfrom robustkit.model.small_models import create\n"
        "def cnn():\n    Path('called').touch()\n    return create('cnn', (1, 8, 8), 10)\n"
    )
    assert (
        run(
            [
                *AUDIT,
                "--probes",
                "0",
                "--attack",
                "fgsm",
                "--attack",
                "pgd:steps=3",
                "--archive",
                "--out",
                "b",
                "--quiet",
            ]
        )
        == 0
    )
    yield in_folder
    sys.modules.pop("nets_that_tell", None)


HERE = ("--weights", "cnn.safetensors", "--data", "digits.npz")


def out(capsys, bundle: str, *arguments: str, code: int = 0, here: tuple[str, ...] = HERE) -> str:
    capsys.readouterr()
    assert run(["verify", bundle, *here, *arguments]) == code
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize("bundle", ["b", "b.zip"])
def test_all_that_can_be_checked_holds_and_the_rest_is_listed(case, capsys, bundle):
    text = out(capsys, bundle)
    for row in ("files 17 files, their hashes and manifest.json holds", "summaries", "geometry", "model weights"):
        assert row in text
    assert "not checked" not in text
    assert "taken on trust: - that a sample called robust cannot be broken: no attack was run" in text


def test_the_manifest_says_how_to_load_model_and_data(case):
    manifest = json.loads(Path("b/manifest.json").read_text())
    (part,) = manifest["audits"]
    named = {"model": "cnn", "weights": "cnn.safetensors", "data": "digits.npz", "classes": 10}
    assert named.items() <= part["load"].items()
    assert not {"device", "batch_size", "trust_checkpoint"} & part["load"].keys()
    assert len(part["weights_file_sha256"]) == 64


def test_what_is_not_here_is_left_out_and_told(case, capsys):
    Path("cnn.safetensors").rename("elsewhere.safetensors")
    text = out(capsys, "b", code=4, here=())
    assert "model weights and predictions not checked" in text
    assert "robustkit: undecided: nothing is false, but of 'b' not everything was checked (" in text
    assert "model weights and predictions not checked" in out(capsys, "b", "--allow-unchecked", here=())
    assert "not checked: 'digits.npz' is a path, opened only if you name it: give --data" in text
    there = ("--weights", "elsewhere.safetensors", "--data", "digits.npz")
    text = out(capsys, "b", "--batch-size", "7", "--device", "cpu", here=there)
    assert "not checked" not in text


def test_a_function_is_called_only_if_it_is_typed(case, capsys):
    mine = [AUDIT[0], "nets_that_tell:cnn", *AUDIT[2:]]
    assert run([*mine, "--attack", "fgsm", "--probes", "0", "--out", "c", "--quiet"]) == 0
    called = Path("called")
    called.unlink()
    text = out(capsys, "c", code=4)
    assert "not checked: 'nets_that_tell:cnn' is a function, called only if you name it: give --model" in text
    assert not called.exists()
    assert "not checked" not in out(capsys, "c", "--model", "nets_that_tell:cnn")
    assert called.exists()


def test_nothing_that_a_bundle_names_is_imported(case, capsys, monkeypatch):
    Path("evil.py").write_text("from pathlib import Path\nPath('was_here').touch()\n")
    install(case / "site", "evil-things", datasets={"evil-data": "evil:make"}, models={"evil-net": "evil:net"},
            attacks={"evil-attack": "evil:Evil"}, protocols={"evil-protocol": "evil:make"})  # fmt: skip
    monkeypatch.syspath_prepend(case / "site")
    for name in ("evil:make", "evil-data"):
        Path(name).touch()  # a file of that name makes the name no more harmless
    forger = Forger(Path("b"))

    def change(audit):
        first, second = audit["attacks"]
        first["implementation"] = "evil.Evil"
        first["source"] = "evil:Evil"
        second["params"]["loss"] = "evil:make"
        audit["method"]["protocol"] = "evil-protocol"

    forger.audit(change)
    forger.finish()
    manifest = Path("b/manifest.json")
    whole = from_text(manifest.read_text())
    for name, value in (("data", "evil:make"), ("data", "evil-data"), ("model", "evil:net"), ("model", "evil-net")):
        part = dataclasses.replace(whole.audits[0], load={**whole.audits[0].load, name: value})
        manifest.write_text(to_text(dataclasses.replace(whole, audits=(part,))))
        here = HERE if name == "model" else HERE[:2]
        assert f"not checked: '{value}' is" in out(capsys, "b", code=4, here=here)
        assert "evil" not in sys.modules
        assert not Path("was_here").exists()


def test_nothing_is_opened_because_a_bundle_names_its_path(case, capsys):
    """A pipe would never end, a folder called like a known set would take its place."""
    os.mkfifo("pipe")
    Path("digits").mkdir()
    manifest = Path("b/manifest.json")
    whole = from_text(manifest.read_text())
    paths = {"weights": "pipe", "data": "digits", "data_root": "/", "class_map": "pipe", "model": "hf:pipe"}
    paths |= {"transform": "hf:pipe", "classes": "pipe"}
    for name, value in paths.items():
        load = {**whole.audits[0].load, name: value}
        part = dataclasses.replace(whole.audits[0], load=load)
        manifest.write_text(to_text(dataclasses.replace(whole, audits=(part,))))
        here = HERE[2:] if name == "weights" else HERE[:2] if name == "data" else HERE
        text = out(capsys, "b", code=4, here=here)
        assert f"not checked: '{value}' is" in text
        assert f": give --{name.replace('_', '-')}" in text


def test_a_false_claim_outweighs_what_was_not_checked(case, capsys):
    Path("cnn.safetensors").rename("elsewhere.safetensors")
    report = Path("b/report.md")
    report.write_text(report.read_text() + "\n")
    for more in ([], ["--allow-unchecked"]):
        text = out(capsys, "b", *more, code=1, here=())
        assert "false: report.md: expected SHA-256" in text
        assert "undecided" not in text


def test_falsehoods_are_named_one_a_line_and_exit_1(case, capsys):
    weights = {name: value.clone() for name, value in digits_cnn().state_dict().items()}
    weights["13.bias"] += 1
    save_file(weights, "cnn.safetensors")
    assert "false: the model: weights_sha256: expected" in out(capsys, "b", code=1)
    report = Path("b/report.json")
    report.write_text(report.read_text().replace('"met"', '"met "').replace("fgsm", "fgsn", 1))
    text = out(capsys, "b", code=1)
    assert "false: report.json: expected SHA-256" in text
    assert "robustkit: 'b' is not what it claims:" in text


def test_other_bytes_with_the_same_tensors_are_a_remark(case, capsys):
    import torch

    torch.save(digits_cnn().state_dict(), "cnn.pt")
    text = out(capsys, "b", "--weights", "cnn.pt")
    assert "remark: the model: weights_file_sha256: the file is another one, its tensors are the same" in text


def test_what_cannot_be_used_exits_2_in_one_line(case, capsys):
    Path("empty").mkdir()
    for arguments, words in {
        ("none",): "expected a folder or a .zip archive",
        ("empty",): "expected a folder with manifest.json",
        ("b", "--weights", "none.pt"): "none.pt",
        ("b", "--model", "nowhere:net"): "nowhere",
        ("b", "--data", "none.npz"): "none.npz",
        ("b", "--wieghts", "x"): "--weights",
    }.items():
        assert words in out(capsys, *arguments, code=2), arguments


def test_evidence_can_be_left_out(case, capsys):
    assert run([*AUDIT, "--attack", "fgsm", "--probes", "0", "--no-evidence", "--out", "c", "--quiet"]) == 0
    assert not Path("c/adversarials.safetensors").exists()
    assert "the adversarial points, which were left out of the bundle" in out(capsys, "c")


def test_a_folder_with_other_files_is_refused_before_any_work(case, capsys):
    shutil.copy("digits.npz", "b/mine.npz")
    assert run([*AUDIT, "--out", "b"]) == 2
    assert "nothing but an earlier report, got 'b' with 'mine.npz'" in capsys.readouterr().err
    Path("b/mine.npz").unlink()
    assert run([*AUDIT, "--attack", "fgsm", "--probes", "0", "--out", "b", "--quiet"]) == 0
    out(capsys, "b")


def test_robust_samples_are_attacked_again_where_that_is_asked_for(case, capsys):
    text = out(capsys, "b", "--attack-again", "5", "--seed", "1")
    assert "5 robust samples attacked again" in text
    assert "the same attacks broke 0 of 5 samples" in text


def test_a_report_that_calls_itself_invalid_never_exits_0(case, capsys):
    forger = Forger(case / "b")

    def invalid(audit):
        audit["verdict"]["quality"] = "invalid"
        next(d for d in audit["diagnostics"] if d["id"] == "Q02")["status"] = "fail"

    forger.audit(invalid)
    forger.finish()
    assert "calls its own evaluation invalid" in out(capsys, "b", code=3)
