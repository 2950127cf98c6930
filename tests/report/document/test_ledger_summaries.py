"""Confusion, margins and risk-coverage."""

from __future__ import annotations

import numpy as np
import pytest

from robustkit.evaluation.ledger import Ledger
from robustkit.report.document.ledger_summaries import confusion, margins, risk_coverage


class TestTallies:
    def ledger(self) -> Ledger:
        ledger = Ledger(["a", "b"])
        ledger.extend(6)
        ledger.write(
            slice(None),
            label=[0, 0, 0, 1, 1, 2],
            clean_prediction=[0, 0, 1, 1, 1, 2],
            worst_prediction=[1, 0, 1, 2, 1, 2],
            clean_confidence=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
            worst_confidence=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        )
        ledger.write(slice(None), "a/", margin=[0.5, -3.0, np.nan, -1.0, -2.0, -4.0])
        ledger.write(slice(None), "b/", margin=[np.nan, -1.0, np.nan, 0.25, -2.5, -np.inf])
        return ledger

    def test_confusion_counts_answers_and_ranks_what_attacks_added(self):
        found = confusion(self.ledger(), ("x", "y", "z"))
        assert found.clean == ((2, 1, 0), (0, 2, 0), (0, 0, 1))
        assert found.attacked == ((1, 2, 0), (0, 1, 1), (0, 0, 1))
        assert [(p.label, p.answer, p.clean, p.attacked) for p in found.pairs] == [("x", "y", 1, 2), ("y", "z", 0, 1)]

    def test_a_right_answer_is_no_mistake_even_if_an_attack_added_it(self):
        ledger = self.ledger()
        ledger.write(slice(2, 3), worst_prediction=[0])  # a random model may come to its senses
        assert [(p.label, p.answer) for p in confusion(ledger, ("x", "y", "z")).pairs] == [("y", "z")]
        ledger.write(slice(None), clean_prediction=[1] * 6, worst_prediction=[0, 0, 0, 1, 1, 2])
        assert confusion(ledger, ("x", "y", "z")).pairs == ()

    def test_many_classes_keep_their_pairs_but_no_matrix(self):
        found = confusion(self.ledger(), tuple(map(str, range(26))))
        assert found.clean is found.attacked is None
        assert len(found.pairs) == 2

    def test_margins_are_the_worst_lead_of_attacked_samples_and_zero_is_an_edge(self):
        found = margins(self.ledger())  # leads -0.5, 1, -0.25, 2, 4
        assert found.median == 1.0
        assert 0.0 in found.edges
        assert sum(found.counts) == 5
        broken = sum(count for low, count in zip(found.edges, found.counts, strict=False) if low < 0)
        assert broken == 2
        assert margins(Ledger(["a"])) is None

    @pytest.mark.parametrize("lead", [0.0, 3.0, -1.0, 1e-9])
    def test_margins_all_alike_fall_into_one_bin(self, lead):
        ledger = Ledger(["a"])
        ledger.extend(4)
        ledger.write(slice(None), "a/", margin=[-lead] * 4)
        found = margins(ledger)
        assert sorted(found.counts)[-1] == 4 == sum(found.counts)
        at = found.counts.index(4)
        assert (found.edges[at] < 0) == (lead < 0)

    def test_risk_is_the_error_among_the_most_confident(self):
        found = risk_coverage(self.ledger())
        assert found.coverage == pytest.approx([i / 6 for i in range(1, 7)])
        assert found.clean == pytest.approx([0, 0, 1 / 3, 1 / 4, 1 / 5, 1 / 6])
        assert found.attacked == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5, 1 / 2])

    def test_the_last_point_is_the_error_of_all_and_the_mean_over_all_points_the_aurc(self, evaluation):
        found = risk_coverage(evaluation.ledger)
        assert found.clean[-1] == pytest.approx(1 - evaluation.clean_accuracy.value)
        assert found.attacked[-1] == pytest.approx(1 - evaluation.robust_accuracy.value)
