"""Every kind of work of an audit that is killed resumes from what was finished, and ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nets import digits, digits_cnn
from quick import quick

from robustkit.attacks import FGSM, FMN, PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.evaluation.ensemble_members import transfer
from robustkit.evaluation.part_files import PartFiles
from robustkit.evaluator import evaluate
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create
from robustkit.probes.catalogue import PROBES

X, Y = digits(16)
CHEAP = ("other radii", "loss surface", "gradient consistency")
RADII = (0.02, 0.1)


def curve(x=X, radii=RADII, seed=0, **kept):
    found = security_curve(digits_cnn(), (x, Y), [PGD(steps=2), FGSM()], radii, batch_size=3, seed=seed, **kept)
    return found.broken_at, found.ids


def distances(x=X, seed=0, **kept):
    attacks = [FMN(norm="L2", eps="inf", steps=2), FMN(norm="L2", eps="inf", steps=3)]
    found = minimal_distances(digits_cnn(), (x, Y), attacks, batch_size=2, seed=seed, **kept)
    return found.values, found.ids


def members(x=X, seed=0, **kept):
    models = {"one": Classifier(digits_cnn()), "two": Classifier(create("mlp", (1, 8, 8), 10, seed=1))}
    found = transfer(models, x, Y, [PGD(eps=0.1, steps=2)], batch_size=6, seed=seed, **kept)
    return found.clean, found.accuracy, found.disagreement, found.carried


def probes(x=X, seed=0, **kept):
    found = evaluate(digits_cnn(), (x, Y), [PGD(eps=0.1, steps=2)], probes=4, seed=seed, **kept)
    return found.diagnostics, found.curve.accuracy, found.curve.broken_at, found.curve.radii, found.curve.label


def until(x=X, seed=0, **kept):
    found = evaluate(digits_cnn(), (x, Y), [FGSM(eps=0.1)], batch_size=1, until=0.35, seed=seed, **kept)
    assert found.stopped
    return found.ledger.to_csv(), found.stopped, found.data_sha256


KINDS = {"curve": curve, "distances": distances, "members": members, "probes": probes, "until": until}


def killed_after(monkeypatch, writings: int, kind: str) -> list[Path]:
    """Lets the process die after so many writings of a kind, 0 for never; returns the numbers of what is written."""
    write, seen = PartFiles.write, []

    def once(self, number, tensors, facts):
        if self.kind.startswith(kind):
            if writings and len(seen) == writings:
                raise KeyboardInterrupt
            seen.append(number)
        write(self, number, tensors, facts)

    monkeypatch.setattr(PartFiles, "write", once)
    monkeypatch.setattr("robustkit.evaluation.part_files.EVERY", 0.0)
    return seen


def same(one, other):
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", quick("curve", "until", slow=("distances", "members", "probes")))
def test_what_a_killed_run_had_finished_is_not_done_again(name, tmp_path, monkeypatch):
    work, kind = KINDS[name], "" if name == "until" else name
    monkeypatch.setattr("robustkit.probes.run.PROBES", [p for p in PROBES if p.name in CHEAP])
    with monkeypatch.context() as patched:
        all_of_them = killed_after(patched, 0, kind)
        clean = work(folder=tmp_path / "whole")
    with monkeypatch.context() as patched:
        before = killed_after(patched, 2, kind)
        with pytest.raises(KeyboardInterrupt):
            work(folder=tmp_path / "killed")
    with monkeypatch.context() as patched:
        after = killed_after(patched, 0, kind)
        assert same(work(folder=tmp_path / "killed", finished=[tmp_path / "killed"]), clean)
    assert len(before) == 2
    assert before + after == all_of_them
    with monkeypatch.context() as patched:
        again = killed_after(patched, 0, kind)
        assert same(work(folder=tmp_path / "killed", finished=[tmp_path / "killed"]), clean)
    assert again == []


@pytest.mark.parametrize("name", ["curve", "distances", "members"])
def test_parts_of_other_work_are_refused_and_a_new_run_removes_them(name, tmp_path):
    work = KINDS[name]
    work(folder=tmp_path)
    with pytest.raises(ConfigurationError, match=f"expected seed '0' as in '.*part-{name}-000000000.*', got '3'; rep"):
        work(finished=[tmp_path], seed=3)
    with pytest.raises(InvalidEvaluation, match="expected the samples of the finished parts, got others"):
        work(finished=[tmp_path], x=1 - X)
    assert same(work(folder=tmp_path, x=1 - X), work(x=1 - X))
    assert same(work(finished=[tmp_path], x=1 - X), work(x=1 - X))


def test_a_curve_of_other_radii_is_another_one(tmp_path):
    curve(folder=tmp_path)
    with pytest.raises(ConfigurationError, match=r"expected radii '0.02, 0.1' as in .*, got '0.02'"):
        curve(finished=[tmp_path], radii=(0.02,))


def test_the_time_of_a_killed_run_counts_against_the_time_limit(tmp_path, monkeypatch):
    def work(limit, **kept):
        return evaluate(digits_cnn(), (X, Y), [FGSM(eps=0.1)], batch_size=1, budget=limit, folder=tmp_path, **kept)

    with monkeypatch.context() as patched:
        killed_after(patched, 3, "")
        with pytest.raises(KeyboardInterrupt):
            work(1e6)
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)  # this run takes no time at all
    found = work(1e-9, finished=[tmp_path])
    assert found.stopped == "the time limit of 1e-09 s was reached"
    assert len(found.ledger) == 4


def test_a_run_that_may_stop_early_needs_all_it_had_finished(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        killed_after(patched, 3, "")
        with pytest.raises(KeyboardInterrupt):
            until(folder=tmp_path)
    (tmp_path / "part-000000001.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="expected all finished parts of a run that may stop early, got some"):
        until(finished=[tmp_path])
