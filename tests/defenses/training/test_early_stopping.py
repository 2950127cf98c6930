"""Early stopping: the best epoch, and when to stop."""

from __future__ import annotations

import math

import pytest
from objective_rows import EVERY
from tiny_training import TINY, data, net

from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Epoch, Figures, Recipe
from robustkit.defenses.training.early_stopping import EarlyStopping
from robustkit.model.classifier import Classifier


def test_the_best_epoch_on_the_held_out_split_is_kept_and_never_trained_on(start):
    model, x, y = net(), *data()
    model.load_state_dict(start)
    seen = set()

    def watch(batch):
        seen.update(batch.ids.tolist())
        return batch

    result = fit(Classifier(model), x, y, EVERY["pgd-at"], epochs=6, augment=watch, **TINY)
    held = sorted(set(range(30)) - seen)
    assert len(held) == 3
    best = max(result.epochs, key=lambda epoch: (epoch.figures.robust, epoch.figures.clean))
    assert result.best is best
    right = model(x[held]).argmax(1) == y[held]
    assert float(right.double().mean()) == best.figures.clean
    # PGDTraining has a budget: robust accuracy chooses; Standard has none: clean accuracy does.
    assert fit(Classifier(model), x, y, Standard(), epochs=1, **TINY).best.figures.robust != 0.5


def test_select_last_keeps_the_last_weights_and_no_held_out_split_uses_all_samples(trained):
    seen = set()
    _, result = trained(Standard(), epochs=1, held_out=0.0, augment=lambda b: (seen.update(b.ids.tolist()), b)[1])
    assert len(seen) == 30
    assert result.best is None
    assert result.epochs[0].figures.n == 30
    assert trained(Standard(), epochs=2, select="last")[1].best is None


def test_patience_ends_a_run_that_gets_no_better(trained):
    _, result = trained(Standard(), epochs=30, lr=1e-12, patience=2)
    assert len(result.epochs) == 3
    assert result.stopped == "no better in 2 measurements"


class FakeRun:
    """A run that keeps its last epoch's number as its weights."""

    def __init__(self, defends=True, **settings):
        self.recipe = Recipe(**{"epochs": 9, **settings})
        self.defends, self.stopped, self.best, self.best_weights, self.stale = defends, "", None, None, 0
        self.number = 0

    def weights(self):
        return self.number


def kept(run, accuracies, held_out=True):
    """Returns the number of the epoch whose weights are kept after epochs of these (robust, clean) accuracies."""
    stopping = EarlyStopping(run, held_out)
    for run.number, accuracy in enumerate(accuracies, 1):
        figures = Figures(100, clean=accuracy[1], robust=accuracy[0]) if accuracy else None
        stopping.judge(Epoch(run.number, 1.0, 0.1, 0.0, figures))
    return run.best_weights


UP_AND_DOWN = [(0.3, 0.9), (0.5, 0.7), (0.5, 0.8), (0.5, 0.8), None, (0.4, 0.95)]


@pytest.mark.parametrize(
    ("select", "defends", "best"),
    [("auto", True, 3), ("auto", False, 6), ("robust", False, 3), ("clean", True, 6), ("last", True, None)],
)
def test_the_best_epoch_is_chosen_by_one_accuracy_then_the_other_and_the_first_of_equals_wins(select, defends, best):
    run = FakeRun(defends, select=select)
    assert kept(run, UP_AND_DOWN) == best
    assert (run.best and run.best.number) == best


def test_without_held_out_samples_nothing_is_chosen():
    assert kept(FakeRun(), UP_AND_DOWN, held_out=False) is None


def test_robust_accuracy_that_was_not_measured_counts_as_none():
    assert kept(FakeRun(), [(math.nan, 0.5), (0.1, 0.4)]) == 2


def test_patience_counts_measurements_since_the_best_and_not_epochs():
    run = FakeRun(patience=2)
    kept(run, [(0.5, 0.5), (0.4, 0.5), None, (0.6, 0.5), (0.5, 0.5)])
    assert (run.stopped, run.stale) == ("", 1)
    kept(run, [(0.6, 0.5)])
    assert run.stopped == "no better in 2 measurements"


def test_stop_after_stops_at_its_epoch_unless_that_is_the_last():
    run = FakeRun(stop_after=2)
    kept(run, [None])
    assert run.stopped == ""
    kept(run, [None, None])
    assert run.stopped == "stop_after 2"
    last = FakeRun(stop_after=2, epochs=2)
    kept(last, [None, None])
    assert last.stopped == ""


def test_an_epoch_in_which_a_guard_stopped_the_run_is_not_chosen():
    run = FakeRun(patience=1)
    run.stopped = "catastrophic overfitting"
    assert kept(run, [(0.5, 0.5), (0.4, 0.4)]) is None
    assert run.stopped == "catastrophic overfitting"
