"""`robustkit audit`: what it prints, what it writes, and one line for every mistake."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from complaints import complaint
from nets import digits

from robustkit.base.exit_codes import ExitCode
from robustkit.cli import run
from robustkit.report import from_json

FEW = ("--probes", "0")
AUDIT = ["audit", "nets_of_mine:cnn", "--weights", "cnn.safetensors", "--data", "digits.npz"]


def test_audit_writes_the_whole_report_and_prints_the_table(case, capsys):
    assert run([*AUDIT, "--eps", "0.1", "--attack", "fgsm", "--attack", "pgd:steps=5", "--name", "mine", *FEW]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # not a terminal: no progress
    assert "mine on digits" in captured.out
    for row in ("clean", "FGSM", "PGD", "robust"):
        assert f"  {row}" in captured.out
    said = " ".join(captured.out.split())
    assert "Upper bound from 2 gradient attacks on 60 images; not a standard protocol. attacks: FGSM, PGD (5 st" in said
    folder = Path("robustkit-report")
    pages = {"report.json", "report.html", "report.md"}
    assert {p.name for p in folder.iterdir()} == {
        *pages,
        "ledger.csv",
        "adversarials.safetensors",
        "manifest.json",
        "png",
    }
    report = json.loads((folder / "report.json").read_text())
    (audit,) = report["audits"]
    assert audit["clean"]["n"] == 60
    assert audit["threat"]["eps"] == "0.1"
    assert [attack["name"] for attack in audit["attacks"]] == ["fgsm", "pgd"]
    assert len((folder / "ledger.csv").read_text().splitlines()) == 61


def test_a_requirement_on_what_a_cascade_does_not_measure_is_refused_before_the_work(case, capsys):
    for figure in ("accuracy[noise]", "attack_success_rate[square]", "accuracy[apgd-ce-close]"):
        error = complaint(capsys, [*AUDIT, "--eps", "0.1", "--protocol", "fast", "--require", f"{figure}>=0.9"])
        attack = figure.partition("[")[2]
        assert f"expected a figure that was measured, got '{figure}'" in error
        assert f"require 'robust_accuracy_after[{attack}' or 'robust_accuracy'" in error
    assert not Path("robustkit-report").exists()


@pytest.mark.slow
def test_two_runs_find_the_same_whatever_the_batch_size(case):
    hashes = []
    for size in ("30", "7"):
        few = ["--attack", "pgd:steps=5", "--probes", "4", "--limit", "30"]
        run([*AUDIT, "--eps", "0.1", *few, "--batch-size", size, "--out", size])
        audit = json.loads(Path(size, "report.json").read_text())["audits"][0]
        hashes.append((audit["worst_case"], audit["clean"], audit["data"]["sha256"], audit["data"]["ids_sha256"]))
    assert hashes[0] == hashes[1]


def npz(name: str, x: np.ndarray, y: np.ndarray) -> None:
    np.savez(name, x=x, y=y)


def test_wrong_data_are_refused_with_what_was_seen(case, capsys):
    x, y = (part.numpy() for part in digits(20))
    npz("normalised.npz", (x - 0.3) / 0.3, y)
    npz("grey.npz", x * 255, y)
    npz("nan.npz", np.where(x > 0.5, np.nan, x), y)
    npz("labels.npz", x, y + 40)
    npz("last.npz", np.moveaxis(np.repeat(x, 3, 1), 1, 3)[:, :, :, :2], y)
    npz("empty.npz", x[:0], y[:0])
    expected = {
        "normalised.npz": "look normalised",
        "grey.npz": "look like grey levels",
        "nan.npz": "NaN",
        "labels.npz": "labels: expected 0..9",
        "last.npz": "shape",
        "empty.npz": "none",
    }
    for name, text in expected.items():
        assert text in complaint(capsys, [*AUDIT[:-1], name], 3), name


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_wrong_files_and_words_are_refused_in_one_line(case, capsys):
    Path("corrupt.pt").write_bytes(b"PK\x03\x04 but no more")
    Path("hostile.pt").write_bytes(pickle.dumps(Hostile()))
    torch.save({"w": torch.zeros(2)}, "other.pt")
    Path("file").write_text("")
    wrong = {
        (*AUDIT[:3], "corrupt.pt", *AUDIT[4:]): "corrupt.pt",
        (*AUDIT[:3], "hostile.pt", *AUDIT[4:]): "hostile.pt",
        (*AUDIT[:3], "other.pt", *AUDIT[4:]): "other.pt",
        (*AUDIT[:3], "none.pt", *AUDIT[4:]): "none.pt",
        (*AUDIT[:-1], "none.npz"): "none.npz",
        (*AUDIT[:-1], "cifar11"): "did you mean 'cifar10'?",
        (*AUDIT[:-1], "mnist"): "root",
        (*AUDIT, "--eps", "8//255"): "8//255",
        (*AUDIT, "--eps", "-1"): "-1",
        (*AUDIT, "--eps", "8"): "8/255",
        (*AUDIT, "--norm", "linf"): "did you mean 'Linf'?",
        (*AUDIT, "--attack", "pgd:steps=-3"): "steps",
        (*AUDIT, "--attack", "pgd:steps=many"): "many",
        (*AUDIT, "--attack", "pgd:step=3"): "steps",
        (*AUDIT, "--attack", "pdg"): "did you mean 'pgd'?",
        (*AUDIT, "--attack", "foolbox:LinfDeepFolAttack"): "LinfDeepFoolAttack",
        (*AUDIT, "--device", "cudda"): "cudda",
        (*AUDIT, "--mean", "a,b"): "--mean",
        (*AUDIT, "--bounds", "1"): "--bounds",
        (*AUDIT, "--batch-size", "0"): "batch-size",
        (*AUDIT, "--out", "file"): "--out",
        (*AUDIT, "--outt", "x"): "--outt",
        ("audit", "nets_of_mine:broken", "--data", "digits.npz"): "no such disk",
        ("audit", "nets_of_mine:cn", "--data", "digits.npz"): "cn",
        ("audit", "nowhere:cnn", "--data", "digits.npz"): "nowhere",
        ("audit", "torchvision:resnet17", "--data", "digits.npz"): "resnet17",
        ("audit", "cnn"): "--data",
        ("audti",): "did you mean 'audit'?",
        ("report", "none.json"): "none.json",
        ("report", "digits.npz"): "digits.npz",
    }
    for arguments, text in wrong.items():
        assert text in complaint(capsys, list(arguments), 2), arguments
    assert not Path("owned").exists()


def test_a_clean_accuracy_other_than_expected_stops_the_audit(case, capsys):
    text = complaint(capsys, [*AUDIT, "--expected-clean-accuracy", "0.3"], 3)
    assert "expected clean accuracy 30.00 %" in text


def test_an_interrupt_leaves_nothing_and_exits_130(case, capsys, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("robustkit.cli.audit.run.evaluate", interrupt)
    assert "interrupted" in complaint(capsys, AUDIT, 130)


def test_a_bug_is_one_line_too(case, capsys, monkeypatch):
    monkeypatch.setattr("robustkit.cli.audit.run.evaluate", None)  # no code but ours raises
    assert "TypeError: 'NoneType' object is not callable (this is a bug" in complaint(capsys, AUDIT, ExitCode.INTERNAL)


def test_an_unreliable_evaluation_is_written_and_exits_3(case, capsys):
    Path("noisy_of_mine.py").write_text(
        "import torch\nfrom robustkit.model.small_models import create\n"
        "class Noisy(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__(); self.net = create('mlp', (1, 8, 8), 10)\n"
        "    def forward(self, x): return self.net(x + torch.rand_like(x))\n"
        "def noisy(): return Noisy()\n"
    )
    untrained = ["--expected-clean-accuracy", "0.1"]
    assert run(["audit", "noisy_of_mine:noisy", "--data", "digits.npz", "--attack", "fgsm", *untrained]) == 3
    assert "the evaluation is unreliable: Q05 fail (two passes give the same output)" in capsys.readouterr().err
    assert (
        json.loads(Path("robustkit-report/report.json").read_text())["audits"][0]["verdict"]["quality"] == "unreliable"
    )


def idx(path: Path, array: np.ndarray) -> None:
    """Writes the format of the MNIST files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


FOREIGN = """
import sys
sys.path.insert(0, {folder!r})
from load import load_model
def net(): return load_model({model!r})
"""


@pytest.mark.slow
def test_foreign_networks_and_true_idx_files_through_the_command_line(shared_data, in_folder, capsys):
    test = np.load(shared_data / "data/mnist/test.npz")
    raw = in_folder / "MNIST" / "raw"
    for name, part in (("t10k", test), ("train", {k: test[k][:100] for k in ("images", "labels")})):
        idx(raw / f"{name}-images-idx3-ubyte", part["images"].reshape(-1, 28, 28))
        idx(raw / f"{name}-labels-idx1-ubyte", part["labels"])
    model = str(shared_data / "models/mnist_cnn_a_adv")
    (in_folder / "foreign.py").write_text(FOREIGN.format(folder=str(shared_data), model=model))
    command = ["audit", "foreign:net", "--eps", "0.3", "--first", "200", "--attack", "pgd:steps=20,random_start=false"]
    found = []
    for source in (
        ["--data", "mnist", "--data-root", str(in_folder)],
        ["--data", str(shared_data / "data/mnist/test.npz")],
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the foreign loader leaves closing files to chance
            assert run([*command, *source]) == 0
        (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
        found.append((audit["clean"]["k"], audit["worst_case"]["accuracy"]["k"]))
    assert found[0] == found[1]
    assert found[0][1] <= 0.79 * 200


def test_an_audit_takes_the_same_rules_and_keeps_them(in_folder, capsys):
    Path("groups.csv").write_text("id,light\n" + "".join(f"{i},{'day' if i % 3 else 'night'}\n" for i in range(40)))
    command = ["audit", "mlp", "--data", "digits", "--first", "40", "--attack", "fgsm", "--groups", "groups.csv"]
    command += ["--expected-clean-accuracy", "0.1"]  # untrained
    assert run([*command, "--require", "robust_accuracy<=0.5", "--require", "clean_accuracy[light=night]>=0.9"]) == 1
    assert "clean_accuracy[light=night] >= 0.9" in capsys.readouterr().err
    (found,) = from_json(Path("robustkit-report/report.json").read_text()).audits
    assert [gate.status for gate in found.gates] == ["met", "not met"]
    assert found.verdict.requirement == "not met"
    assert found.verdict.rule == "robust_accuracy <= 0.5 and clean_accuracy[light=night] >= 0.9"
    assert run(["gate", "robustkit-report"]) == 1
    capsys.readouterr()
    assert run([*command, "--out", "x", "--require", "robust_accuracy[light=noon]>=0.5"]) == 2
    assert "did you mean 'robust_accuracy[light=" in capsys.readouterr().err
    assert not Path("x").exists()
