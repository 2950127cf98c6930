"""The tables behind the figures."""

from __future__ import annotations

import base64
import csv
import io
import re

from report_examples import HOSTILE, audit
from report_pages import EXAMPLES, PAGES

from robustkit.report.views.tables import link, tables

EVERYTHING = EXAMPLES["every part"]


PAGE = PAGES["every part"]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


class TestTables:
    def test_every_figure_has_its_table_in_the_page_and_every_table_its_link(self):
        pattern = r'download="audit-1-([^"]*)\.csv" href="data:text/csv;charset=utf-8;base64,([^"]*)"'
        links = dict(re.findall(pattern, PAGE))
        found = tables(EVERYTHING.audits[0])
        assert links.keys() == found.keys()
        assert {name: base64.b64decode(data).decode() for name, data in links.items()} == found
        figures = set(re.findall(r'<svg[^>]*labelledby="audit-1-([a-z]+)-', PAGE))
        assert figures == found.keys()

    def test_the_tables_hold_the_numbers_of_the_json(self):
        one = audit()
        rows = read(tables(one)["accuracy"])
        assert rows[1][:4] == ["no attack", str(one.clean.k), str(one.clean.n), str(one.clean.value)]
        assert rows[-1][0] == "worst case"
        assert len(read(tables(one)["confusion"])) == 1 + 100
        assert sum(int(row[3]) for row in read(tables(one)["confusion"])[1:]) == one.data.n
        assert sum(int(row[2]) for row in read(tables(one)["margins"])[1:]) == one.clean.k

    def test_names_cannot_become_formulas_or_break_rows(self):
        one = audit(names=("=1+1", "@x", "a,b", *HOSTILE))
        names = [row[0] for row in read(tables(one)["classes"])[1:]]
        assert {"'=1+1", "'@x", "a,b"} <= set(names)
        assert len(names) == 3 + len(HOSTILE)
        assert not set("\x00\x1b\u202e") & set("".join(names))

    def test_the_link_carries_the_text(self):
        assert "base64," + base64.b64encode("a\né".encode()).decode() in link("x", "a\né")
