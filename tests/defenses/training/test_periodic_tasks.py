"""What goes on beside training: time limit, checkpoints, progress."""

from __future__ import annotations

from types import SimpleNamespace

from objective_rows import EVERY
from tiny_training import same

from robustkit.defenses import Standard
from robustkit.defenses.training import Recipe, clock
from robustkit.defenses.training.periodic_tasks import Upkeep, progress_of


def test_a_time_limit_ends_the_run_inside_an_epoch_and_the_checkpoint_goes_on(trained, tmp_path):
    straight, _ = trained(Standard(), epochs=2)
    _, result = trained(Standard(), epochs=2, minutes=0.0, folder=tmp_path)
    assert result.stopped == "0 minutes are over"
    assert not result.epochs
    assert same(trained(Standard(), epochs=2, folder=tmp_path, resume=True)[0], straight)


def test_progress_says_how_far_training_is(trained, monkeypatch):
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no half second passes
    heard = []
    trained(EVERY["pgd-at"], epochs=2, progress=heard.append)
    assert [(now.epoch, now.batch, now.batches) for now in heard] == [(2, 0, 4), (2, 0, 4)]
    assert [now.last.number for now in heard] == [1, 2]
    assert heard[-1].last.figures.robust <= heard[-1].last.figures.clean


class FakeFolder:
    def __init__(self):
        self.written = []

    def save(self, run):
        self.written.append("checkpoint")

    def save_epoch(self, run):
        self.written.append("epoch")


def fake_run(time_is_up=False, save_due=False, report_due=False, first=True, **changes):
    fake_clock = SimpleNamespace(time_is_up=time_is_up, save_due=lambda: save_due, report_due=lambda: report_due)
    standard = {"stopped": "", "over": False, "healthy": True, "epoch": 1, "batch": 1, "batches": 4, "mean_loss": 2.0}
    rest = {"history": [], "recipe": Recipe(minutes=3, epochs=2), "clock": fake_clock}
    workers = SimpleNamespace(ranks=SimpleNamespace(first=first))
    return SimpleNamespace(**{**standard, **rest, "workers": workers, **changes})


def after_batch(**changes):
    run, folder, heard = fake_run(**changes), FakeFolder(), []
    Upkeep(run, folder, heard.append).after_batch()
    return run.stopped, folder.written, len(heard)


def test_a_run_whose_time_is_up_stops_and_saves():
    assert after_batch() == ("", [], 0)
    assert after_batch(time_is_up=True) == ("3 minutes are over", ["checkpoint"], 0)


def test_the_clock_does_not_stop_what_has_ended_already():
    assert after_batch(time_is_up=True, stopped="no better")[0] == "no better"
    assert after_batch(time_is_up=True, over=True)[0] == ""


def test_a_checkpoint_is_written_when_due_or_when_a_run_stops_inside_an_epoch_but_not_of_a_failed_model():
    assert after_batch(save_due=True)[1] == ["checkpoint"]
    assert after_batch(stopped="x")[1] == ["checkpoint"]
    assert after_batch(stopped="x", batch=0)[1] == []  # the end of the epoch was saved already
    assert after_batch(stopped="x", save_due=True, healthy=False)[1] == []


def test_progress_is_reported_when_due_or_at_the_end_of_an_epoch_by_the_first_process():
    assert after_batch(report_due=True)[2] == 1
    assert after_batch(batch=0)[2] == 1
    assert after_batch(batch=0, first=False)[2] == 0


def test_after_an_epoch_the_folder_is_brought_up_to_date_unless_the_model_has_failed():
    for healthy, written in ((True, ["epoch", "checkpoint"]), (False, [])):
        folder = FakeFolder()
        Upkeep(fake_run(save_due=True, healthy=healthy), folder, None).after_epoch()
        assert folder.written == written


def test_progress_never_counts_an_epoch_too_many():
    done = progress_of(fake_run(epoch=3, batch=0))
    assert (done.epoch, done.epochs, done.batch, done.batches, done.loss, done.last) == (2, 2, 0, 4, 2.0, None)
