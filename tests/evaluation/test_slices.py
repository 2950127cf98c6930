"""Slices, and samples that share an origin."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from nets import digits, digits_cnn
from scipy.stats import fisher_exact

from robustkit.attacks import FGSM
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import Dataset
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.slices import UNKNOWN, Groups, accuracy_by_slice, clustered_interval, read_groups
from robustkit.evaluator import evaluate
from robustkit.maths.intervals import bootstrap, holm, one_sided, proportion
from robustkit.model.classifier import Classifier
from robustkit.report.build import build_audit


def written(path: Path, text: str) -> Groups:
    path.write_text(text)
    return read_groups(path)


def ledger(robust: np.ndarray, right: np.ndarray | None = None) -> Ledger:
    """A ledger of one attack with these verdicts."""
    table = Ledger(["fgsm"])
    where = table.extend(len(robust))
    right = np.ones(len(robust), dtype=bool) if right is None else right
    table.write(where, id=np.arange(len(robust)), label=0, clean_prediction=np.where(right, 0, 1))
    table.write(where, "fgsm/", prediction=np.where(robust, 0, 1))
    return table


def test_slices_have_their_accuracy_and_a_p_value_against_the_rest(tmp_path):
    robust = np.arange(40) % 4 > 0
    robust[:10] = False
    groups = written(
        tmp_path / "g.csv", "id,light\n" + "".join(f"{i},{'night' if i < 12 else 'day'}\n" for i in range(38))
    )
    rows = {row[1]: row for row in accuracy_by_slice(ledger(robust), groups)}
    assert set(rows) == {"night", "day", UNKNOWN}
    column, _, clean, hits, p, adjusted = rows["night"]
    assert (column, clean.k, clean.n, hits.k, hits.n) == ("light", 12, 12, int(robust[:12].sum()), 12)
    rest = robust[12:]
    table = [[robust[:12].sum(), (~robust[:12]).sum()], [rest.sum(), (~rest).sum()]]
    assert p == pytest.approx(fisher_exact(table).pvalue)
    assert adjusted == pytest.approx(3 * p)
    assert rows[UNKNOWN][3].n == 2


def test_a_value_that_no_sample_has_is_shown_as_such(tmp_path):
    rows = accuracy_by_slice(ledger(np.ones(4, bool)), written(tmp_path / "g.csv", "id,s\n0,a\n1,a\n2,a\n3,a\n9,b\n"))
    assert [(row[1], row[3].n, row[4]) for row in rows] == [("a", 4, None), ("b", 0, None)]


@pytest.mark.parametrize(("text", "complaint"), [
    ("", "no row"), ("id,a\n", "no row"), ("name,a\n1,2\n", "columns id"), ("id\n1\n", "columns id"),
    ("id,a\n1\n", "2 cells in row 2"), ("id,a\n1,2,3\n", "2 cells in row 2"),
    ("id,a\n1,x\n1,y\n", "one answer for id '1'"),
    ("id,a\n" + "".join(f"{i},{i}\n" for i in range(60)), "at most 50 values in 'a', got 60"),
])  # fmt: skip
def test_a_groups_file_that_cannot_be_meant_is_refused(tmp_path, text, complaint):
    with pytest.raises(ConfigurationError) as caught:
        written(tmp_path / "groups.csv", text)
    assert complaint in str(caught.value)


def test_repeated_ids_are_told_and_foreign_ids_refused(tmp_path):
    groups = written(tmp_path / "g.csv", "id,a\n0,x\n0,x\n1,y\n")
    assert groups.notes == ("g.csv names ids more than once, 1 rows too many",)
    x, y = digits(4)
    groups.check(Dataset(name="d", source=(x, y)))
    with pytest.raises(ConfigurationError, match="expected rows for ids such as '7'"):
        groups.check(Dataset(name="d", source=(x, y, np.arange(7, 11))))


def test_the_cluster_bootstrap_covers_where_the_plain_one_does_not():
    """Five samples of each of 60 origins, whose shares vary between origins."""
    rng = np.random.default_rng(0)
    origins = np.repeat(np.arange(60), 5)
    plain = clustered = 0
    for seed in range(200):
        share = rng.beta(1.5, 1.0, 60)
        hits = rng.random(300) < share[origins]
        low, high = clustered_interval(hits, origins, seed)
        clustered += low <= 0.6 <= high
        low, high = proportion(hits.sum(), 300).wilson
        plain += low <= 0.6 <= high
    assert 0.9 <= clustered / 200 <= 0.98
    assert plain / 200 < 0.87


def test_where_all_samples_agree_the_origins_are_counted():
    origins = np.repeat(np.arange(20), 5)
    assert clustered_interval(np.ones(100, bool), origins) == proportion(20, 20).wilson
    assert clustered_interval(np.zeros(100, bool), origins) == proportion(0, 20).wilson


def test_clusters_of_one_are_the_plain_bootstrap():
    hits = np.random.default_rng(1).random(50) < 0.3
    share = lambda weights: weights @ hits / weights.sum(axis=1)  # noqa: E731
    assert bootstrap(share, 50) == bootstrap(share, 50, clusters=np.arange(50))
    with pytest.raises(InvalidEvaluation, match="expected a cluster for each of 50 samples, got 3"):
        bootstrap(share, 50, clusters=[1, 2, 3])


def test_p_values_of_slices_allow_for_shared_origins(tmp_path):
    """All samples of an origin fall together, so 80 samples of 16 origins are evidence for 16."""
    robust = np.repeat(np.arange(16) % 2 > 0, 5)
    robust[:20] = False
    lines = [f"{i},{i // 5},{'a' if i < 40 else 'b'}\n" for i in range(80)]
    groups = written(tmp_path / "g.csv", "id,cluster,s\n" + "".join(lines))
    (first, _) = accuracy_by_slice(ledger(robust), groups)
    strangers = dataclasses.replace(groups, clusters=None)
    (alone, _) = accuracy_by_slice(ledger(robust), strangers)
    assert alone[4] < 0.05 < first[4] < 1


def test_holm_is_the_textbook_example_and_exact_bounds_are_the_beta_quantiles():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.7, 0.9]) == (1.0, 1.0)
    low, high = one_sided(0, 59)
    assert low == 0
    assert high == pytest.approx(1 - 0.05 ** (1 / 59))


def test_holm_lets_through_one_false_alarm_in_twenty_at_most():
    rng = np.random.default_rng(2)
    alarms = np.mean([min(holm(rng.random(10).tolist())) <= 0.05 for _ in range(4000)])
    assert 0.03 < alarms <= 0.055


def test_an_audit_holds_slices_and_clustered_intervals(tmp_path):
    x, y = digits(60)
    groups = written(tmp_path / "g.csv", "id,cluster,half\n" + "".join(f"{i},{i // 3},{i // 30}\n" for i in range(60)))
    found = evaluate(Classifier(digits_cnn()), (x, y), [FGSM(eps=0.1)])
    audit = build_audit(found, Classifier(digits_cnn(), num_classes=10), name="m", groups=groups)
    assert [(row.column, row.value, row.robust.n) for row in audit.slices] == [("half", "0", 30), ("half", "1", 30)]
    assert sum(row.robust.k for row in audit.slices) == audit.worst_case.accuracy.k
    low, high = audit.worst_case.clustered
    assert low <= audit.worst_case.accuracy.value <= high
    assert audit.clean_clustered is not None
    assert "the samples come from 20 origins (g.csv); fewer than 30" in " ".join(audit.data.notes)
    assert build_audit(found, Classifier(digits_cnn(), num_classes=10), name="m").slices == ()
