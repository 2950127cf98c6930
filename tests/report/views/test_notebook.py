"""Evaluations and reports in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from report_examples import HOSTILE, audit, complete, report

from robustkit.base.errors import ConfigurationError
from robustkit.evaluation.ledger import Ledger


class TestNotebook:
    def test_evaluation_and_report_are_shown_as_cards_of_their_own(self, evaluation):
        shown = report(complete(audit(HOSTILE[0], quality="unreliable")), title=HOSTILE[0])
        for html in (evaluation._repr_html_(), shown._repr_html_()):
            open_tags: list[str] = []

            class Reader(HTMLParser):
                def handle_starttag(self, tag, attrs, open_tags=open_tags):
                    assert not {name for name, _ in attrs} & {"src", "href", "class", "id"}
                    assert tag in {"div", "table", "tr", "th", "td", "s"}
                    open_tags.append(tag)

                def handle_endtag(self, tag, open_tags=open_tags):
                    assert open_tags.pop() == tag

            Reader().feed(html)
            assert open_tags == []
            assert len(html) < 20_000
        assert "<s>" in shown._repr_html_()
        assert "unreliable: likely too high" in shown._repr_html_()
        assert "&lt;script&gt;" in shown._repr_html_()

    def test_the_card_of_an_evaluation_holds_its_figures(self, evaluation):
        html = evaluation._repr_html_()
        for share in (evaluation.clean_accuracy, evaluation.robust_accuracy):
            assert f"{100 * share.value:.1f}&nbsp;%" in html
            assert f"{share.k} of {share.n}" in html
        assert "an upper bound" in html

    def test_a_frame_is_the_ledger_with_the_unknown_left_open(self, evaluation):
        pandas = pytest.importorskip("pandas")
        frame = evaluation.to_frame()
        assert isinstance(frame, pandas.DataFrame)
        assert list(frame.columns) == list(evaluation.ledger.columns)
        assert len(frame) == 120
        never = evaluation.ledger["fgsm/prediction"] == -1
        assert frame["fgsm/prediction"].isna().tolist() == never.tolist()
        assert (frame["clean_prediction"] == frame["label"]).sum() == evaluation.clean_accuracy.k
        assert evaluation.to_dict().keys() == set(evaluation.ledger.columns)

    def test_names_of_the_samples_come_first(self):
        pytest.importorskip("pandas")
        ledger = Ledger(["a"])
        ledger.extend(2, ["one.png", "two.png"])
        assert ledger.to_frame()["name"].tolist() == ["one.png", "two.png"]

    def test_without_pandas_the_error_names_the_command(self, evaluation, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pandas", None)
        with pytest.raises(ConfigurationError, match="pip install pandas"):
            evaluation.to_frame()
