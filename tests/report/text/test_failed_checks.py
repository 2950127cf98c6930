"""What it means that a check failed."""

from __future__ import annotations

from report_examples import audit, report

from robustkit.checks.diagnostic import TITLES
from robustkit.report import render_html
from robustkit.report.text import failed_checks


class TestRisks:
    def test_every_check_says_in_plain_words_what_its_failure_means(self):
        assert failed_checks.MEANING.keys() == TITLES.keys()
        assert all(text.endswith(".") and "Q" not in text for text in failed_checks.MEANING.values())
        page = render_html(report(audit(quality="invalid")))
        assert failed_checks.MEANING["Q12"] in page
