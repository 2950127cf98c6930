"""How checks are judged and combined."""

from __future__ import annotations

from probe_examples import by_id

from robustkit.checks.diagnostic import complete, diagnostic, judged
from robustkit.maths.intervals import proportion


class TestVerdicts:
    def test_the_worse_of_two_answers_counts_and_two_passes_are_both_told(self):
        def check(status, message):
            return diagnostic("Q14", 0, "", status, message)

        def told(*found):
            item = by_id(complete(found))["Q14"]
            return item.status, item.message

        assert told(check("fail", "a"), check("pass", "b")) == ("fail", "a")
        assert told(check("not run", "a"), check("pass", "b")) == ("pass", "b")
        assert told(check("pass", "a"), check("pass", "b")) == ("pass", "a; b")
        assert told(check("fail", "a"), check("fail", "b")) == ("fail", "b")

    def test_one_sample_is_chance_and_many_are_not(self):
        assert [judged(proportion(k, 64), 0.002, 0.01) for k in (0, 1, 2, 4)] == ["pass", "pass", "remark", "fail"]
        assert judged(proportion(0, 0), 0.0, 0.0) == "pass"
