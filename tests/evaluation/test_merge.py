"""An evaluation cut into shards, or killed and resumed, equals the one of one process to the last byte."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn

from robustkit import Classifier, evaluate, merge_evaluations
from robustkit.attacks import FGSM, PGD, Noise, Square
from robustkit.attacks.protocols import Protocol
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.evaluation.checkpoint import pack, unpack
from robustkit.maths.exact_sums import ExactSums
from robustkit.report import to_json
from robustkit.report.build import build_audit, build_report

ATTACKS = [Noise(eps=0.1), FGSM(eps=0.1), PGD(eps=0.1, steps=2, restarts=2), Square(eps=0.1, queries=4)]
# What the time, the machine and chance decide; everything else of a report has to agree.
FREE = ("id", "created", "environment", "seconds", "probe_seconds")


def run(**more):
    more = {"batch_size": 4, "examples": 5, **more}
    data = more.pop("data", None) or digits(96)
    return evaluate(Classifier(digits_cnn()), data, more.pop("attacks", ATTACKS), **more)


@pytest.fixture(scope="module")
def alone():
    return run()


def facts(evaluation):
    """The report as JSON without what may differ, and the ledger."""
    audit = build_audit(evaluation, Classifier(digits_cnn()), name="net")

    def strip(tree):
        if isinstance(tree, dict):
            return {name: strip(value) for name, value in tree.items() if name not in FREE}
        return [strip(value) for value in tree] if isinstance(tree, list) else tree

    return strip(json.loads(to_json(build_report([audit], title="t")))), evaluation.ledger.to_csv()


def same(first, second):
    assert facts(first) == facts(second)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_in_any_order_merge_to_the_report_and_ledger_of_one_process(alone, count):
    shards = [run(shard=(index, count)) for index in range(count)]
    assert sum(len(shard.ledger) for shard in shards) == 96
    assert all(0 < len(shard.ledger) < 96 for shard in shards) or count == 1
    assert same(merge_evaluations(shards[::-1]), alone)


@pytest.mark.slow
def test_a_cascade_merges_too():
    protocol = Protocol("mine", tuple(ATTACKS))
    shards = [run(attacks=protocol, shard=(index, 2), limit=40) for index in range(2)]
    assert same(merge_evaluations(shards), run(attacks=protocol, limit=40))


def test_a_shard_without_a_piece_is_no_obstacle_but_said(caplog):
    shards = [run(shard=(index, 3), limit=8) for index in range(3)]
    (said,) = [record.message for record in caplog.records if "nothing to do" in record.message]
    assert said.startswith("evaluate: expected a piece of the data for each of 3 shares, got 2 of up to 4 samples")
    assert [len(shard.ledger) for shard in shards] == [4, 4, 0]
    assert same(merge_evaluations(shards), run(limit=8))


def test_what_is_missing_or_there_twice_or_of_another_evaluation_is_refused():
    first, second = (run(shard=(index, 2), limit=40) for index in range(2))
    with pytest.raises(ConfigurationError, match="expected all 40 samples, got 24, without number 16"):
        merge_evaluations([first])
    with pytest.raises(ConfigurationError, match="got number 0 twice"):
        merge_evaluations([first, second, first])
    with pytest.raises(ConfigurationError, match="got seed '0' and '1'"):
        merge_evaluations([first, run(shard=(1, 2), limit=40, seed=1)])
    with pytest.raises(ConfigurationError, match="expected the evaluations of all shards, got none"):
        merge_evaluations([])


class Killed(Exception):
    pass


def killed_after(pieces):
    """A progress callback that ends the run once so many samples are seen."""

    def progress(now):
        if now.stage == "clean" and now.seen > 16 * pieces:
            raise Killed

    return progress


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [1, 4])
def test_a_run_that_breaks_goes_on_where_it_was(alone, tmp_path, pieces):
    with pytest.raises(Killed):
        run(folder=tmp_path, progress=killed_after(pieces))
    told = []
    assert same(run(folder=tmp_path, finished=[tmp_path], progress=told.append), alone)
    assert told[0].seen > 16 * pieces  # nothing was done again
    assert told[-1].done == told[-1].total == told[0].total
    assert same(run(finished=[tmp_path], progress=lambda now: pytest.fail("there was nothing left to do")), alone)


@pytest.mark.slow
def test_parts_are_written_every_few_seconds_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("robustkit.evaluation.part_files.EVERY", 1e9)  # seconds, however slow the machine
    run(folder=tmp_path / "end", limit=40)
    assert len(list((tmp_path / "end").iterdir())) == 1
    monkeypatch.setattr("robustkit.evaluation.part_files.EVERY", 0.0)
    run(folder=tmp_path / "often", limit=40)
    assert sorted(path.name for path in (tmp_path / "often").iterdir()) == [
        f"part-{place:09d}.safetensors" for place in (0, 16, 32)
    ]


def test_parts_of_another_evaluation_are_refused_and_a_new_run_removes_them(tmp_path):
    run(folder=tmp_path, first=40)
    with pytest.raises(ConfigurationError, match=r"expected seed '0' as in .*part-000000000.* got '3'; repeat it"):
        run(finished=[tmp_path], first=40, seed=3)
    x, y = digits(96)
    x = x.clone()
    x[30] = 1 - x[30]
    with pytest.raises(InvalidEvaluation, match="expected the samples of the finished parts, got others"):
        evaluate(Classifier(digits_cnn()), (x, y), ATTACKS, batch_size=4, examples=5, first=40, finished=[tmp_path])
    (tmp_path / "part-000000032.safetensors").write_bytes(b"half")
    run(folder=tmp_path, limit=20)
    assert [path.name for path in tmp_path.iterdir()] == ["part-000000000.safetensors"]


def test_early_stopping_cannot_be_shared():
    with pytest.raises(ConfigurationError, match="expected all samples where they are shared"):
        run(until=0.1, shard=(0, 2))
    with pytest.raises(ConfigurationError, match=r"0 <= index < count, got \(2, 2\)"):
        run(shard=(2, 2))


def test_a_part_survives_packing(alone):
    blank = dataclasses.replace(run(shard=(2, 3), limit=8), total=96)
    again = unpack(*json_round_trip(*pack(alone)), blank)
    assert again.ledger.to_csv() == alone.ledger.to_csv()
    assert [run.path.totals for run in again.runs] == [run.path.totals for run in alone.runs]
    assert again.gallery.kept.keys() == alone.gallery.kept.keys()
    assert all(a.x_adv.equal(b.x_adv) for a, b in zip(again.gallery.examples(), alone.examples, strict=True))


def json_round_trip(tensors, found):
    return tensors, json.loads(json.dumps(found))


def test_sums_do_not_depend_on_order_where_floating_point_sums_do():
    values = np.random.default_rng(0).normal(size=(500, 3)) * 10.0 ** np.arange(-6, 9, 7)[:3]
    totals = []
    for rows in (values, values[::-1], np.random.default_rng(1).permutation(values)):
        sums = ExactSums(3)
        for row in rows:
            sums.add(row)
        totals.append(sums.totals)
    assert totals[0] == totals[1] == totals[2]
    plain = [sum(column) for column in values.T.tolist()], [sum(column) for column in values[::-1].T.tolist()]
    assert plain[0] != plain[1]
    assert torch.tensor(sums.values()).allclose(torch.tensor(values.sum(0)), rtol=1e-12)


class Counted:
    """A map-style data set that notes which samples were read."""

    def __init__(self, n: int) -> None:
        self.x, self.y = digits(n)
        self.targets, self.read = self.y.tolist(), set()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.read.add(index)
        return self.x[index], self.y[index]


def test_a_shard_reads_its_own_samples_alone_after_those_of_the_checks(monkeypatch):
    monkeypatch.setattr("robustkit.checks.clean_accuracy.LOOKED_AT", 8)
    for index, own in ((6, set(range(48, 56))), (13, set())):  # 13 pieces of 8
        data = Counted(100)
        assert set(run(data=data, batch_size=2, attacks=[FGSM(eps=0.1)], shard=(index, 14)).ledger["id"]) == own
        assert own <= data.read
        assert len(data.read - own) <= 32 + 8  # by the checks for what changes and of labels


def test_shards_of_data_that_can_be_indexed_merge_to_the_ledger_of_one_process():
    more = {"batch_size": 2, "attacks": [FGSM(eps=0.1)]}
    whole = merge_evaluations([run(data=Counted(24), shard=(index, 2), **more) for index in (1, 0)])
    assert same(whole, run(data=Counted(24), **more))
