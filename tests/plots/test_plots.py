"""Plots: the numbers they draw are those of the evaluation, and what is missing is one line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest
from nets import digits, digits_cnn

import robustkit
from robustkit import plots
from robustkit.attacks import FGSM, PGD
from robustkit.base.errors import ConfigurationError
from robustkit.defenses.training.log import write_log
from robustkit.defenses.training.loop import Training
from robustkit.defenses.training.measurement import Epoch, Figures
from robustkit.evaluation.curve import Curve, Distances
from robustkit.maths.calibration import Estimate, columns, measure
from robustkit.maths.intervals import proportion
from robustkit.report.document import ledger_summaries as tables
from robustkit.shift.result import Cell, Shift

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the oldest versions are not at ease with the newest pyparsing
    Figure = pytest.importorskip("matplotlib.figure", reason="needs matplotlib, which is in the extra plot").Figure
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")

EPS = 0.08


@pytest.fixture(scope="module")
def evaluation(quickly) -> robustkit.Evaluation:
    return robustkit.evaluate(digits_cnn(), digits(60), [FGSM(eps=EPS), PGD(eps=EPS, steps=5)])


@pytest.fixture(scope="module")
def curve() -> Curve:
    """Of ten samples, one wrong from the start, five broken at 0.1, four never."""
    broken_at = np.array([0.0] + 5 * [0.1] + 4 * [np.inf])
    shares = [proportion(int((broken_at > eps).sum()), 10) for eps in (0.05, 0.1, 0.2, 0.4)]
    return Curve("Linf", (0.05, "1/10", 0.2, 0.4), tuple(shares), broken_at, np.arange(10), "fast")


@pytest.fixture(scope="module")
def shift() -> Shift:
    def cell(name: str, severity: int, wrong: int) -> Cell:
        p = np.tile([0.7, 0.3], (10, 1))
        return Cell(name, severity, measure(*columns(p, (np.arange(10) < wrong).astype(int)), resamples=1))

    cells = tuple(cell(name, severity, severity) for name in ("fog", "snow") for severity in (1, 5))
    return Shift(cell("clean", 0, 1), cells, Estimate(0.7), "by hand", 0)


@pytest.fixture(scope="module")
def trained() -> Training:
    epochs = [Epoch(n, 2.0 / n, 0.1, 1.0 * n, Figures(50, 0.5 + 0.1 * n, 0.2 + 0.1 * n, 0.3)) for n in (1, 2, 3)]
    return Training(tuple(epochs), epochs[1], (), "")


def drawings(evaluation, curve, shift, trained):
    return {
        "robustness_curve": curve, "reliability": evaluation, "confusion": evaluation, "per_class": evaluation,
        "margins": evaluation, "distances": evaluation, "convergence": evaluation, "training": trained,
        "corruptions": shift, "gallery": evaluation,
    }  # fmt: skip


def widths(ax) -> dict[str, list[float]]:
    """Returns the lengths of horizontal bars by the name of their series."""
    return {bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers if len(bars) > 3}


def test_every_plot_returns_axes_with_a_title_that_are_new_or_those_it_was_given(evaluation, curve, shift, trained):
    drawn = drawings(evaluation, curve, shift, trained)
    assert {*drawn, "overview"} == set(plots.__all__)
    given = Figure().subplots(2, 5).flat
    for ax, (name, subject) in zip(given, drawn.items(), strict=True):
        own = getattr(plots, name)(subject)
        assert own.figure is not ax.figure
        assert getattr(plots, name)(subject, ax) is ax
        assert ax.get_title(loc="left") == own.get_title(loc="left") != ""
        assert any("n = " in text.get_text() for text in own.texts), name


def test_nothing_global_is_changed_and_pyplot_stays_away(evaluation):
    settings = sys.modules["matplotlib"].rcParams
    before = dict(settings)
    evaluation.plot()
    assert dict(settings) == before
    code = "import sys, robustkit; dir(robustkit.plots); assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_bars_per_class_are_the_accuracies_per_class_lowest_first(evaluation):
    rows = sorted(evaluation.per_class(), key=lambda row: (row[2].value, row[1].value, row[0]))
    drawn = plots.per_class(evaluation, class_names=[f"no {k}" for k in range(10)])
    assert widths(drawn) == {"clean": [row[1].value for row in rows], "robust": [row[2].value for row in rows]}
    assert [text.get_text() for text in drawn.get_yticklabels()] == [f"no {k}" for k, _, _ in rows]


def test_the_confusion_matrix_holds_the_predictions_of_the_ledger(evaluation):
    ledger = evaluation.ledger
    for attacked, prefix in ((True, "worst"), (False, "clean")):
        ax = plots.confusion(evaluation, attacked=attacked)
        written = {text.get_position(): int(text.get_text()) for text in ax.texts if text.get_text().isdigit()}
        pairs = zip(ledger[f"{prefix}_prediction"].tolist(), ledger["label"].tolist(), strict=True)
        counted: dict[tuple[int, int], int] = {}
        for pair in pairs:
            counted[pair] = counted.get(pair, 0) + 1
        assert written == counted


def test_reliability_has_the_bins_and_the_ece_of_the_calibration(evaluation):
    ax = plots.reliability(evaluation)
    for points, attacked in zip(ax.collections[1::2], (False, True), strict=True):
        found = evaluation.calibration(attacked=attacked)
        bins = [(one.confidence, one.accuracy.value) for one in found.reliability if one.n]
        assert np.allclose(points.get_offsets(), bins)
        assert points.get_label().endswith(f"ECE {found.ece.value:.3f}")
    assert len(plots.reliability(evaluation, attacked=True).get_legend().get_texts()) == 1


def test_margins_are_the_bins_of_the_report(evaluation):
    ax = plots.margins(evaluation)
    found = tables.margins(evaluation.ledger)
    assert [bar.get_height() for bar in ax.patches] == list(found.counts)
    broken = int(evaluation.ledger.right.sum()) - evaluation.robust_accuracy.k
    assert ax.get_legend().get_texts()[0].get_text() == f"broken: {broken}"


def test_distances_begin_at_the_clean_error_and_end_at_the_robust_one(evaluation):
    shares = plots.distances(evaluation).lines[0].get_ydata()
    clean = evaluation.clean_accuracy
    assert shares[clean.n - clean.k] == pytest.approx(1 - clean.value)
    assert shares[-1] == pytest.approx(1 - evaluation.robust_accuracy.value)


def test_convergence_draws_the_paths_of_the_attacks_that_have_one(evaluation):
    drawn = {line.get_label(): list(line.get_ydata()) for line in plots.convergence(evaluation).lines}
    assert drawn == {run.label: list(run.loss_path) for run in evaluation.runs if len(run.loss_path) > 1}


def test_a_curve_starts_at_the_clean_accuracy_and_ends_where_it_no_longer_falls(curve):
    ax = plots.robustness_curve({"one": curve, "two": curve})
    for line in ax.lines:
        assert line.get_xdata().tolist() == [0, 0.05, 0.1, 0.2, 0.4]
        assert line.get_ydata().tolist() == [0.9, *(share.value for share in curve.accuracy)]
    assert 0.1 < ax.get_xlim()[1] < 0.2
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.05", "1/10"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]


def test_corruptions_show_the_accuracy_of_every_cell(shift):
    ax = plots.corruptions(shift)
    assert ax.images[0].get_array().tolist() == [[0.9, 0.5], [0.9, 0.5]]
    assert [text.get_text() for text in ax.texts][:4] == ["90", "50", "90", "50"]


def test_training_draws_a_result_and_the_log_it_wrote_alike(trained, tmp_path):
    write_log(tmp_path, trained.epochs, ())
    for found in (trained, tmp_path, tmp_path / "log.csv"):
        lines = {line.get_label(): list(line.get_ydata()) for line in plots.training(found).lines}
        assert lines["clean"] == pytest.approx([0.6, 0.7, 0.8])
        assert lines["robust"] == pytest.approx([0.3, 0.4, 0.5])


def test_the_gallery_shows_three_pictures_of_each_example(evaluation):
    ax = plots.gallery(evaluation)
    assert len(ax.images) == 3 * min(sum(example.broken for example in evaluation.examples), 8) > 0
    clean = ax.images[0].get_array()[..., 0] / 255
    assert np.allclose(clean, evaluation.examples[0].x[0], atol=1 / 255)


def test_the_usual_six_say_what_there_is_nothing_to_draw_of(evaluation):
    bare = dataclasses.replace(evaluation, runs=tuple(dataclasses.replace(r, loss_path=()) for r in evaluation.runs))
    figure = bare.plot()
    assert str(evaluation) in figure.get_suptitle()
    drawn = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert len(drawn) == 6
    assert "evaluate with PGD" in drawn[-1].texts[0].get_text().replace("\n", " ")


def test_a_curve_takes_the_place_of_the_examples(evaluation, curve):
    titles = [ax.get_title(loc="left") for ax in dataclasses.replace(evaluation, curve=curve).plot().axes]
    assert "Robustness curve" in titles
    assert "Adversarial examples" not in titles


def test_many_classes_become_the_mistakes_added_most_and_the_ends_of_the_ranking(evaluation):
    wide = dataclasses.replace(evaluation, num_classes=40)
    drawn = widths(plots.confusion(wide))
    pairs = tables.confusion(wide.ledger, [str(k) for k in range(40)]).pairs
    assert drawn["under attack"] == [pair.attacked for pair in pairs]
    ledger = dataclasses.replace(wide, ledger=relabelled(wide.ledger, 40))
    assert len(widths(plots.per_class(ledger))["robust"]) == 17


def relabelled(ledger, classes):
    """Returns a ledger whose labels go round all classes."""
    new = type(ledger).from_csv(ledger.to_csv())
    new["label"][:] = np.arange(len(new)) % classes
    return new


def test_the_caption_says_threat_protocol_count_and_doubt(evaluation, monkeypatch):
    (caption,) = (text.get_text() for text in plots.per_class(evaluation).texts)
    assert caption == "Linf 0.08, FGSM, PGD, n = 60"
    monkeypatch.setattr(robustkit.Evaluation, "quality", "unreliable")
    (caption,) = (text.get_text() for text in plots.per_class(evaluation).texts)
    assert caption == "Linf 0.08, FGSM, PGD, n = 60; unreliable: likely too high"


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda e, c, s: plots.robustness_curve(e), "run robustkit.security_curve"),
        (lambda e, c, s: plots.robustness_curve({}), "expected curves of one norm, got none"),
        (lambda e, c, s: plots.robustness_curve({"a": c, "b": dataclasses.replace(c, norm="L2")}), "L2 and Linf"),
        (lambda e, c, s: plots.gallery(dataclasses.replace(e, examples=())), "evaluate with examples=8"),
        (lambda e, c, s: plots.distances(Distances("L2", np.full(3, np.inf), np.arange(3), ("fmn",))), "larger eps"),
        (lambda e, c, s: plots.training(Training((), None, (), "")), "train with epochs=1"),
        (lambda e, c, s: plots.training("/nowhere"), "pass the folder that fit wrote"),
        (lambda e, c, s: plots.corruptions(dataclasses.replace(s, cells=())), "evaluate with at least one"),
        (lambda e, c, s: plots.per_class(c), "pass what robustkit.evaluate returned"),
        (lambda e, c, s: plots.per_class(e, class_names=["cat"]), "expected 10 class_names, got 1"),
        (lambda e, c, s: plots.per_class(e, class_names=7), "expected class_names to be a list, got 7"),
        (
            lambda e, c, s: plots.margins(e, Figure().subplots(2)),
            "an Axes, got ndarray of shape (2,); pass one of",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_one_line_that_says_what_to_do(evaluation, curve, shift, draw, said):
    with pytest.raises(ConfigurationError) as raised:
        draw(evaluation, curve, shift)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_matplotlib_the_error_names_the_install(evaluation, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"expected matplotlib to be installed.*; pip install matplotlib"):
        evaluation.plot()
