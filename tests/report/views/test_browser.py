"""The pages in a real browser: with a mouse, with keys alone, on paper, and as a screen reader has them."""

from __future__ import annotations

import pytest
from browser import browser, faults, opened, sheets
from bundles import quick, write
from report_examples import audit, report
from report_pages import PAGES

from robustkit.report import render_html
from robustkit.report.compare.comparison import compare
from robustkit.report.compare.views import render_comparison_html
from robustkit.report.history.history import read_history
from robustkit.report.history.views import render_history

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every kind of page, in a file."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        for name, seed in (("before", 0), ("after", 1)):
            write(folder / name, seed=seed)
    texts = {**PAGES, "comparison": render_comparison_html(compare(folder / "before", folder / "after"))}
    texts["history"] = render_history(read_history([folder]), folder)
    texts["one model"] = render_html(report(audit()))
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 360)])
@pytest.mark.parametrize("kind", ["two classes", "hostile names", "every part", "comparison", "history"])
def test_no_page_has_a_fault_that_keeps_somebody_out_or_is_wider_than_its_window(chromium, pages, kind, scheme, width):
    with opened(chromium, pages[kind], width, color_scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert faults(page) == []


def test_the_evidence_is_folded_and_one_click_or_key_opens_it(chromium, pages):
    with opened(chromium, pages["one model"]) as page:
        section = page.locator("#audit-1-checks")
        assert not section.is_visible()
        page.locator("summary", has_text="Checks of the evaluation").click()
        assert section.is_visible()
        page.locator("summary", has=page.locator("#glossary-title")).focus()
        page.keyboard.press("Enter")
        assert page.locator("#glossary").is_visible()
        page.get_by_label("Open everything").check()
        assert page.locator("#audit-1-method").is_visible()


def test_a_table_is_sorted_by_a_click_and_an_explanation_stays_below_its_row(chromium, pages):
    with opened(chromium, pages["one model"]) as page:
        page.locator("summary", has=page.locator("#audit-1-method-title")).click()
        head = page.locator("#audit-1-method thead th").nth(1)
        shares = page.locator("#audit-1-method tbody tr:not(.more, .total) td:nth-child(2)")
        for direction, reverse in (("ascending", False), ("descending", True)):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == direction
            seen = [float(text.split("\N{NO-BREAK SPACE}")[0]) for text in shares.all_inner_texts()]
            assert len(seen) == 6
            assert seen == sorted(seen, reverse=reverse)
        assert page.locator("#audit-1-method tr.has-more + tr.more").count() == 5
        assert page.locator("#audit-1-method tbody tr").last.get_attribute("class") == "total"


def test_a_history_is_sorted_by_date_as_text_and_by_accuracy_as_numbers(chromium, pages):
    with opened(chromium, pages["history"]) as page:
        for column in (0, 2):
            page.locator("thead th").nth(column).get_by_role("button").click()
            cells = page.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
            seen = [cell.split()[0] if column == 0 else float(cell.split()[0]) for cell in cells]
            assert seen == sorted(seen)


def test_a_long_table_is_filtered_on_the_screen_and_whole_on_paper(chromium, pages):
    with opened(chromium, pages["a thousand classes"]) as page:
        page.get_by_label("Open everything").check()
        page.locator("#audit-1-classes").get_by_label("Filter").press_sequentially("number 77")
        rows = page.locator("#audit-1-classes tbody tr")
        assert rows.locator("visible=true").count() == 11
        assert page.locator("#audit-1-classes output").inner_text() == "11 of 1000"
        page.emulate_media(media="print")
        assert rows.locator("visible=true").count() == 1000


def test_a_picture_is_enlarged_by_a_key_and_closed_by_another(chromium, pages):
    with opened(chromium, pages["one model"]) as page:
        page.locator("summary", has=page.locator("#audit-1-gallery-title")).click()
        small = page.get_by_role("button", name="Enlarge: clean input 0", exact=True)
        assert small.bounding_box()["width"] >= 160
        small.focus()
        page.keyboard.press("Enter")
        assert page.locator("dialog img").bounding_box()["width"] > 600
        page.keyboard.press("Escape")
        assert page.locator("dialog").count() == 0


def test_without_scripts_everything_can_be_read(chromium, pages):
    with opened(chromium, pages["every part"], java_script_enabled=False) as page:
        page.get_by_label("Open everything").check()
        assert page.locator("#audit-1-method tbody tr").first.is_visible()
        assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize(("kind", "most"), [("one model", 6), ("two models", 9)])
def test_an_audit_is_printed_on_few_sheets_and_as_a_whole_where_somebody_asks(chromium, pages, kind, most):
    with opened(chromium, pages[kind]) as page:
        short = sheets(page)
        page.get_by_label("Open everything").check()
        assert short <= most < sheets(page)
