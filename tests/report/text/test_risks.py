"""The main risks of an audit."""

from __future__ import annotations

import dataclasses

from report_examples import audit, report
from report_pages import EXAMPLES, PAGES

from robustkit.maths.intervals import proportion
from robustkit.report import AccuracyCurve, Audit, ClassRow, CurvePoint, render_html
from robustkit.report.text.recommendations import steps
from robustkit.report.text.risks import confident_share, considered, found, risks

SPACE = "\N{NO-BREAK SPACE}"


EVERYTHING = EXAMPLES["every part"]


PAGE = PAGES["every part"]


def weakened(one: Audit, k: int) -> Audit:
    """The audit in which class 3, "three", keeps `k` of 50 samples and every other class all; without curves."""
    rows = [dataclasses.replace(row, robust=proportion(50, 50)) for row in one.per_class]
    rows[3] = dataclasses.replace(rows[3], name="three", robust=proportion(k, 50))
    return dataclasses.replace(one, per_class=tuple(rows), curve=None, nearest=None)


def with_errors(k: int, wrong: int) -> Audit:
    """The audit with `wrong` wrong predictions under attack, `k` of them confident."""
    one = audit()
    n = one.calibration.attacked.n
    side = dataclasses.replace(
        one.calibration.attacked, accuracy=proportion(n - wrong, n), confident_errors=proportion(k, n)
    )
    return dataclasses.replace(one, calibration=dataclasses.replace(one.calibration, attacked=side))


def lucky_classes(one: Audit, count: int, worst: int) -> tuple[ClassRow, ...]:
    """Classes of 30 samples, as robust as the whole but for one with `worst`."""
    usual = round(30 * (one.worst_case.accuracy.value or 0)) + 1
    kept = [worst, *[usual] * (count - 1)]
    return tuple(ClassRow(i, f"c{i}", proportion(30, 30), proportion(k, 30)) for i, k in enumerate(kept))


class TestRisks:
    def test_at_most_three_are_named_and_each_points_to_a_section_that_is_there(self):
        one = EVERYTHING.audits[0]
        sparse = dataclasses.replace(one.per_class[0], clean=proportion(0, 0), robust=proportion(0, 0))
        single = dataclasses.replace(one.worst_case, clustered=None)  # samples without common origins show more
        many = dataclasses.replace(one, worst_case=single, per_class=(*one.per_class, sparse))
        assert len(found(many)) > 5
        assert len(risks(many)) == 3
        for risk in risks(one):
            assert f'href="#audit-1-{risk.evidence}">Evidence: ' in PAGE
        for risk in found(many):
            assert f'id="audit-1-{risk.evidence}"' in PAGE
        for one in (audit(), audit(quality="invalid")):
            assert 1 <= len(risks(one)) <= 3

    def test_what_questions_the_whole_comes_first_and_then_the_largest_lower_bound(self):
        one = weakened(EVERYTHING.audits[0], 2)
        bounds = [risk.bound for risk in risks(one)]
        assert bounds[0] is None
        assert bounds[1:] == sorted((risk.bound for risk in found(one) if risk.bound is not None), reverse=True)[:2]

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

    def test_one_of_five_mistakes_is_no_finding_and_one_of_two_hundred_thousand_is_none_either(self):
        def said(k: int, wrong: int) -> bool:
            return "Confident errors under attack" in {risk.name for risk in found(with_errors(k, wrong))}

        assert confident_share(with_errors(1, 5)).value == 0.2
        assert not said(1, 5)
        assert not said(30, 250)  # 12 %: chance alone gives as much from 10 %
        assert said(100, 250)
        assert not said(2, 250)

    def test_who_looks_at_many_classes_finds_a_weak_one_by_chance_and_does_not_say_so(self):
        one = audit(n=3000)
        few = dataclasses.replace(one, curve=None, nearest=None, per_class=lucky_classes(one, 100, worst=4))
        # 4 of 30 where 9 are usual: enough for that class alone, but a hundred were looked at.
        assert min(risk.p_value for risk in considered(few) if risk.evidence == "classes") < 0.05
        assert "One class is weaker than the rest" not in {risk.name for risk in found(few)}
        clear = dataclasses.replace(few, per_class=lucky_classes(one, 100, worst=0))
        assert "One class is weaker than the rest" in {risk.name for risk in found(clear)}

    def test_samples_that_share_an_origin_are_worth_less(self):
        one = with_errors(100, 250)
        wide = dataclasses.replace(one, worst_case=dataclasses.replace(one.worst_case, clustered=(0.01, 0.95)))
        assert "Confident errors under attack" in {risk.name for risk in found(one)}
        assert "Confident errors under attack" not in {risk.name for risk in found(wide)}

    def test_classes_without_a_sample_are_a_risk_on_the_first_page(self):
        one = audit()
        none = proportion(0, 0)
        rows = [dataclasses.replace(row, clean=none, robust=none) if row.index > 6 else row for row in one.per_class]
        for quality in ("reliable", "unreliable"):
            verdict = dataclasses.replace(one.verdict, quality=quality)
            sparse = dataclasses.replace(one, per_class=tuple(rows), verdict=verdict)
            (said,) = (risk for risk in risks(sparse) if risk.name == "Classes without samples")
            assert said.text == "3 of 10 classes have no sample here (7, 8, 9): nothing is known of them."
        assert "Classes without samples" not in {risk.name for risk in found(one)}
        assert any("Add samples of every class" in step.text for step in steps(report(sparse), sparse))

    def test_a_curve_on_a_few_samples_proves_no_small_radius(self):
        one = dataclasses.replace(audit(), nearest=None)

        def said(k: int, n: int) -> bool:
            point = CurvePoint("4/255", 4 / 255, proportion(k, n))
            curve = AccuracyCurve("Linf", "fast", (point,))
            return "A smaller eps is enough" in {risk.name for risk in found(dataclasses.replace(one, curve=curve))}

        assert not said(2, 5)
        assert said(100, 500)

    def test_confident_mistakes_are_a_share_of_the_mistakes(self):
        one = audit()
        side = one.calibration.attacked
        share = confident_share(one)
        assert (share.k, share.n) == (side.confident_errors.k, side.n - side.accuracy.k)
