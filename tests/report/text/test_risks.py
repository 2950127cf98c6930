"""The main risks of an audit."""

from __future__ import annotations

import dataclasses

from report_examples import audit, report
from report_pages import EXAMPLES, PAGES

from robustkit.maths.intervals import proportion
from robustkit.report import Audit, render_html
from robustkit.report.text.risks import confident_share, risks

SPACE = "\N{NO-BREAK SPACE}"


EVERYTHING = EXAMPLES["every part"]


PAGE = PAGES["every part"]


def weakened(one: Audit, k: int) -> Audit:
    """The audit in which class 3, "three", keeps `k` of 50 samples and every other class all; without curves."""
    rows = [dataclasses.replace(row, robust=proportion(50, 50)) for row in one.per_class]
    rows[3] = dataclasses.replace(rows[3], name="three", robust=proportion(k, 50))
    return dataclasses.replace(one, per_class=tuple(rows), curve=None, nearest=None)


class TestRisks:
    def test_at_most_five_are_named_and_each_points_to_a_section_that_is_there(self):
        found = risks(EVERYTHING.audits[0])
        assert len(found) == 5
        for risk in found:
            assert f'href="#audit-1-{risk.evidence}">Evidence: section ' in PAGE
            assert f'id="audit-1-{risk.evidence}"' in PAGE
        for one in (audit(), audit(quality="invalid")):
            assert 1 <= len(risks(one)) <= 5

    def test_in_doubt_the_doubt_comes_first_and_the_number_is_not_repeated(self):
        one = weakened(audit(quality="unreliable"), 0)
        assert any("all classes together" in risk.text for risk in risks(weakened(audit(), 0)))
        found = risks(one)
        assert "unreliable: likely too high. Attacks with unbounded eps" in found[0].text
        robust = f"{100 * (one.worst_case.accuracy.value or 0):.1f}{SPACE}%"
        assert robust not in " ".join(risk.text for risk in found)

    def test_a_flawless_audit_shows_none(self):
        one = audit(n=3000)
        right = proportion(3000, 3000)
        attacked = dataclasses.replace(one.calibration.attacked, accuracy=right, confident_errors=proportion(0, 3000))
        flawless = dataclasses.replace(
            one,
            verdict=dataclasses.replace(one.verdict, requirement="met"),
            worst_case=dataclasses.replace(one.worst_case, accuracy=right, attack_success=proportion(0, 3000)),
            calibration=dataclasses.replace(one.calibration, attacked=attacked),
            per_class=tuple(dataclasses.replace(row, robust=proportion(300, 300)) for row in one.per_class),
            curve=None,
            nearest=None,
        )
        assert risks(flawless) == []
        assert "found none of the risks it looks for" in render_html(report(flawless))

    def test_the_weakest_class_is_a_risk_only_if_its_interval_lies_below_the_whole(self):
        def weak(k: int) -> bool:
            return any("three" in risk.text for risk in risks(weakened(audit(defended=True, robust=0.62), k)))

        assert weak(5)
        assert not weak(29)

    def test_confident_mistakes_are_a_share_of_the_mistakes(self):
        one = audit()
        side = one.calibration.attacked
        share = confident_share(one)
        assert (share.k, share.n) == (side.confident_errors.k, side.n - side.accuracy.k)
