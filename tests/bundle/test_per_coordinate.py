"""An audit under an eps and a range for every value of the input: reported, restored and verified."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from bundles import Forger, quick, write
from nets import uneven

import robustkit
from robustkit.attacks import APGD, FAB, PGD
from robustkit.attacks.radius import boundless
from robustkit.report import load
from robustkit.report.build import build_audit
from robustkit.report.text.sentences import perturbation

MODEL, X, Y, EPS, HIGH = uneven(30)
ATTACKS = (PGD(eps=EPS, steps=5), APGD(eps=EPS, steps=5), FAB(eps=EPS, steps=3))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A bundle."""
    folder = tmp_path_factory.mktemp("per coordinate") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        write(folder, ATTACKS, model=MODEL, data=(X, Y))
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(original, tmp_path / "copy")


def lies(folder):
    """Returns what is false, as text."""
    return "\n".join(map(str, robustkit.verify(folder, MODEL, (X, Y)).false))


def test_an_honest_bundle_holds_at_every_level_and_states_every_number(original):
    result = robustkit.verify(original, MODEL, (X, Y), attack_again=8, seed=0)
    assert result.holds
    assert all(check.status == "holds" for check in result.checks)
    threat = json.loads((original / "report.json").read_text())["audits"][0]["threat"]
    assert threat["eps_per_coordinate"] == {"values": EPS.tolist(), "shape": [6]}
    assert threat["bounds_per_coordinate"] == [0.0, {"values": HIGH.tolist(), "shape": [6]}]
    assert (threat["eps_value"], threat["bounds"]) == (0.4, [0.0, 4.0])


def test_the_report_says_in_words_what_may_change(original):
    (audit,) = load(original / "report.json").audits
    assert perturbation(audit) == (
        "each input value by at most an eps of its own, from 0.1 to 0.4; 2 of 6 values are fixed; values range from 0 "
        "to 4, each within a range of its own"
    )
    assert audit.threat.eps.startswith("0.1 to 0.4 per coordinate, 2 of 6 fixed (")


@pytest.mark.parametrize("coordinate", [0, 3, 5])
def test_a_point_one_ulp_outside_in_one_coordinate_is_refused(folder, coordinate):
    forger = Forger(folder)

    def nudge(tensors):
        row = int((tensors["attack/pgd"] >= 0).argmax())
        point, x = torch.from_numpy(tensors["points"][tensors["attack/pgd"][row]]), X[row].double()
        edge = (x[coordinate] + EPS[coordinate]).float()
        while edge.double() - x[coordinate] <= EPS[coordinate]:
            edge = torch.nextafter(edge, torch.tensor(9.0))
        assert torch.nextafter(edge, X[row, coordinate]).double() - x[coordinate] <= EPS[coordinate]
        point[coordinate] = edge

    forger.points(nudge)
    forger.finish()
    assert "expected one within Linf 0.1 to 0.4 per coordinate, 2 of 6 fixed" in lies(folder)


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda threat: threat["eps_per_coordinate"]["values"].__setitem__(0, 0.4), "figures that follow"),
        (lambda threat: threat["bounds_per_coordinate"][1]["values"].__setitem__(5, 5.0), "threat.bounds[1]"),
        (lambda threat: threat.update(eps_per_coordinate=None), "figures that follow"),
        (lambda threat: threat.update(eps="0.1 to 0.3 per coordinate"), "threat.eps"),
        (lambda threat: threat["eps_per_coordinate"].update(shape=[7]), "expected a report"),
    ],
)
def test_other_numbers_than_those_of_the_attacks_are_false(folder, forge, said):
    text = (folder / "report.json").read_text()
    tree = json.loads(text)
    forge(tree["audits"][0]["threat"])
    (folder / "report.json").write_text(json.dumps(tree))
    assert said in lies(folder)


def test_a_protocol_by_name_takes_the_eps_of_every_value_and_is_known_again(tmp_path):
    weak = PGD(eps=4 * EPS)(MODEL, X, Y).success  # which take the protocol no time
    found = write(tmp_path / "mine", "fast", eps=4 * EPS, model=MODEL, data=(X[weak], Y[weak]))
    assert found.threat.eps.values == tuple((4 * EPS).tolist())
    assert robustkit.verify(tmp_path / "mine", MODEL, (X[weak], Y[weak])).holds


def test_attacks_with_other_numbers_are_no_common_threat():
    other = PGD(eps=EPS.flip(0))
    with pytest.raises(robustkit.ConfigurationError, match="expected attacks of one threat"):
        robustkit.evaluate(MODEL, (X, Y), [ATTACKS[0], other])


def test_distances_in_another_unit_are_refused_in_one_line(original):
    found = robustkit.evaluate(MODEL, (X[:4], Y[:4]), ATTACKS[:1])
    same = robustkit.minimal_distances(MODEL, (X[:4], Y[:4]), [FAB(eps=boundless(ATTACKS[0].eps), steps=3)])
    assert build_audit(found, MODEL, name="mine", distances=same).nearest is not None
    other = robustkit.minimal_distances(MODEL, (X[:4], Y[:4]), [FAB(eps="inf", steps=3)])
    with pytest.raises(robustkit.ConfigurationError, match="in the unit of the evaluation, whose eps is"):
        build_audit(found, MODEL, name="mine", distances=other)


def test_the_features_moved_most_are_listed_in_units_of_their_eps_and_checked_with_the_data(folder):
    (audit,) = load(folder / "report.json").audits
    assert {row.broken for row in audit.changed_rows} == {True, False}
    for row in audit.changed_rows:
        moved = [abs(one.after - one.before) / EPS[one.index].item() for one in row.features]
        assert moved == sorted(moved, reverse=True)
        assert row.changed == len(row.features) <= 4
    forger = Forger(folder)
    forger.audit(lambda audit: audit["changed_rows"][0]["features"][0].update(after=0.5))
    forger.finish()
    assert "changed features" in lies(folder)
