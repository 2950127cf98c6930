"""`robustkit demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from signers import signer, write_private, write_public

from robustkit.cli import run


@pytest.mark.slow
def test_demo_trains_audits_and_reports(in_folder, capsys, monkeypatch):
    import robustkit.defenses

    fit = robustkit.defenses.fit
    monkeypatch.setattr("robustkit.defenses.fit", lambda *a, **k: fit(*a, **{**k, "epochs": 3}))
    assert run(["demo", "--probes", "16", "--sign", str(write_private(in_folder / "key.pem", signer().key))]) == 0
    report = json.loads(Path("robustkit-demo/report.json").read_text())
    standard, hardened = report["audits"]
    assert hardened["worst_case"]["accuracy"]["value"] > standard["worst_case"]["accuracy"]["value"] + 0.1
    assert "robustkit-demo/report.html" in capsys.readouterr().out
    public = str(write_public(in_folder / "pub.pem", signer().public.key))
    assert run(["verify", "robustkit-demo", "--key", public]) == 0
    out = capsys.readouterr().out
    assert "false" not in out
    assert "not checked" not in out
    assert "adversarial training: weights, 1,000 passes" in out
