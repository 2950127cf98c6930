"""The probes as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, write_digits
from probe_examples import EPS, STRONG, audited, by_id

import robustkit
from robustkit.attacks import APGD, FGSM, PGD
from robustkit.base.errors import ConfigurationError
from robustkit.cli import run


@pytest.fixture(scope="module")
def honest():
    return audited(digits_cnn(), STRONG)


class TestTheWhole:
    def test_an_honest_model_under_a_strong_attack_is_reliable_and_every_strength_check_was_made(self, honest):
        status = {id: item.status for id, item in by_id(honest).items()}
        assert [id for id, value in status.items() if value == "not run"] == ["Q19"]
        assert set(status.values()) == {"pass", "not run"}
        assert honest.quality == "reliable"

    def test_without_probes_nothing_is_claimed(self):
        found = audited(digits_cnn(), STRONG, probes=0)
        missing = {id for id, item in by_id(found).items() if item.status == "not run"}
        assert {"Q10", "Q11", "Q12", "Q17", "Q18", "Q20", "Q23"} <= missing
        assert found.quality == "reliable with remarks"
        assert (found.curve, found.probed) == (None, 0)

    @pytest.mark.slow
    def test_they_depend_on_neither_batch_size_nor_order(self, honest):
        x, y = digits(30)
        order = torch.arange(29, -1, -1)
        other = robustkit.evaluate(digits_cnn(), (x[order], y[order], order), STRONG, probes=16, batch_size=11)
        assert sorted(other.curve.ids) == sorted(honest.curve.ids)
        assert [share.k for share in other.curve.accuracy] == [share.k for share in honest.curve.accuracy]
        mine, theirs = by_id(honest), by_id(other)
        assert {id: item.status for id, item in mine.items()} == {id: item.status for id, item in theirs.items()}
        for id in ("Q11", "Q12", "Q17", "Q18", "Q20", "Q23"):
            assert mine[id].value == theirs[id].value, id

    def test_what_was_found_does_not_change_and_the_model_comes_back_as_it_was(self, honest):
        model = digits_cnn()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        bare = audited(model, STRONG, probes=0)
        assert bare.robust_accuracy == honest.robust_accuracy
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def test_the_curve_begins_clean_never_rises_and_ends_with_the_whole_box(self, honest):
        curve = honest.curve
        assert curve.radii == ("0", 0.025, 0.05, 0.1, 0.2, 1.0)
        right = [share.k for share in curve.accuracy]
        assert right == sorted(right, reverse=True)
        assert [share.n for share in curve.accuracy] == [16] * 6
        chosen = np.isin(honest.ledger["id"], curve.ids)
        assert right[0] == int(honest.ledger.right[chosen].sum())
        assert right[3] <= int(honest.ledger.robust[chosen].sum())
        assert right[5] == 0

    def test_fewer_than_none_are_refused(self):
        with pytest.raises(ConfigurationError, match="expected probes to be an integer >= 0, got -1"):
            audited(digits_cnn(), STRONG, probes=-1)

    def test_progress_reaches_its_total(self):
        seen = []
        audited(digits_cnn(), [FGSM(eps=EPS)], n=20, probes=8, progress=seen.append)
        assert seen[-1].done == seen[-1].total
        assert any(stage.stage == "probe: planted adversarial examples" for stage in seen)

    @pytest.mark.parametrize("attack", [
        pytest.param(PGD(norm="L2", eps=0.5, steps=20), marks=pytest.mark.slow),
        pytest.param(APGD(norm="L1", eps=2.0, steps=20), marks=pytest.mark.slow),
        pytest.param(PGD(eps=EPS, steps=20, target=3), marks=pytest.mark.slow),
        PGD(eps=0.0),
        pytest.param(PGD(eps="16/255", levels=17, steps=5), marks=pytest.mark.slow),
    ], ids=["L2", "L1", "targeted", "eps 0", "levels"])  # fmt: skip
    def test_every_threat_can_be_probed(self, attack):
        found = by_id(audited(digits_cnn(), [attack], n=20, probes=8))
        assert not [item for item in found.values() if item.status == "fail" and item.id != "Q11"]
        assert found["Q10"].status == "pass"
        assert found["Q11"].status == ("not run" if attack.eps == 0 else found["Q11"].status)
        assert found["Q12"].status == ("not run" if attack.eps == 0 else "pass")


AUDIT = ["audit", "cnn", "--weights", "cnn.safetensors", "--data", "digits.npz", "--eps", "0.1", "--attack"]


@pytest.fixture
def case(in_folder: Path) -> Path:
    write_digits(in_folder, 40)
    return in_folder


class TestCommandLine:
    @pytest.mark.slow
    def test_audit_probes_by_default_and_its_curve_is_in_the_report(self, case, capsys):
        assert run([*AUDIT, "apgd:steps=20", "--attack", "apgd:steps=20,loss=dlr,targets=9"]) == 0
        assert "; 40 samples)" in " ".join(capsys.readouterr().out.split())
        (audit,) = json.loads(Path("robustkit-report/report.json").read_text())["audits"]
        assert [point["eps"] for point in audit["curve"]["points"]] == ["0", "0.025", "0.05", "0.1", "0.2", "1"]
        assert audit["verdict"]["quality"] == "reliable"
        assert "40 samples" in Path("robustkit-report/report.html").read_text()

    def test_what_failed_is_named_in_one_line(self, case, capsys):
        assert run([*AUDIT, "noise", "--tuning-data", "digits.npz"]) == 3
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "Q11 fail (accuracy falls as the radius grows)" in error
        assert "Q23 fail (audit data not used for tuning)" in error
        assert run([*AUDIT, "noise", "--probes", "0"]) == 0

    def test_the_doctor_makes_every_check_that_needs_no_attack(self, case, capsys):
        assert run(["doctor", *AUDIT[1:6], "--tuning-data", "0" * 64]) == 0
        out = capsys.readouterr().out
        for id in ("Q02", "Q03", "Q04", "Q05", "Q06", "Q07", "Q18", "Q21", "Q22", "Q23"):
            assert id in out
