"""The report as one HTML page."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from report_examples import HOSTILE, audit, report
from report_pages import EXAMPLES, PAGES, THOUSAND, Page, each_example, each_page, replaced

from robustkit.maths.intervals import proportion
from robustkit.report import (
    from_json,
    render_html,
    render_markdown,
    to_json,
)
from robustkit.report.text import sections, sentences, words

MARKS = {"text", "rect", "path", "circle"}


class TestHtml:
    @each_example
    def test_the_page_is_drawn_from_the_json_alone_and_always_the_same(self, example):
        assert render_html(from_json(to_json(example))) == render_html(example)

    @each_page
    def test_tags_are_balanced_ids_unique_and_references_resolved(self, page):
        read = Page(page)
        ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        for _, attrs in read.tags:
            asked = (attrs.get("aria-labelledby") or "").split()
            if (link := attrs.get("href") or "#report").startswith("#"):
                asked.append(link.removeprefix("#"))
            asked += re.findall(r"url\(#([^)]*)\)", " ".join(value or "" for value in attrs.values()))
            assert set(asked) <= set(ids)

    @each_page
    def test_nothing_is_fetched_and_no_style_or_script_runs_but_those_the_policy_has_the_hash_of(self, page):
        read = Page(page)
        (policy,) = [attrs["content"] for _, attrs in read.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
        allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert allowed["default-src"] == "'none'"
        for tag, rule in (("script", "script-src"), ("style", "style-src-elem")):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
            assert allowed[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        assert [attrs for tag, attrs in read.tags if tag == "script"] == [{}]
        assert {tag for tag, _ in read.tags} & {"link", "iframe", "object", "embed", "base", "form"} == set()
        for tag, attrs in read.tags:
            assert not [name for name in attrs if name.startswith("on")], tag
            assert (attrs.get("href") or "#").startswith(("#", "data:text/csv;charset=utf-8;base64,"))
            assert (attrs.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "@import" not in page
        assert re.findall(r"url\((?!#)", page) == []

    @each_page
    def test_what_was_asked_found_and_is_to_do_comes_first_and_the_evidence_is_folded_below(self, page):
        first, evidence = page.split('id="evidence"')
        assert all(part in first for part in ("Threat model", "What to do next", "Main risks found", "Sign-off"))
        assert "<details" not in first
        assert " open" not in "".join(re.findall("<details[^>]*>", evidence))
        for key in (*sections.OF_AN_AUDIT, "scope", "actions", "repeat", "frameworks", "glossary"):
            assert re.search(f'<details class="fold[^>]*><summary><h3 id="[^"]*{key}-title">', evidence)

    @each_page
    def test_headings_go_down_one_level_at_a_time(self, page):
        levels = Page(page).headings
        assert levels[0] == 1
        assert all(below <= above + 1 for above, below in itertools.pairwise(levels))

    @each_page
    def test_every_figure_says_in_words_what_it_shows(self, page):
        figures = re.findall("<svg.*?</svg>", page, flags=re.DOTALL)
        assert len(figures) >= 5
        for figure in figures:
            title, description = re.search(
                'role="img".*?<title[^>]*>(.+?)</title><desc[^>]*>(.+?)</desc>', figure
            ).groups()
            assert len(title) > 10
            assert len(description) > 20
            assert "<style" not in figure

    @each_page
    def test_every_figure_is_well_formed_and_keeps_to_its_sheet_and_to_the_colours_of_the_page(self, page):
        for figure in re.findall("<svg.*?</svg>", page, flags=re.DOTALL):
            tree = ET.fromstring(figure)
            width, height = map(float, tree.attrib["viewBox"].split()[2:])
            assert {mark.tag for mark in tree} == {"title", "desc", *(MARKS & {mark.tag for mark in tree})}
            for mark in tree:
                paints = {mark.attrib.get(name, "none") for name in ("fill", "stroke")}
                assert all(paint == "none" or f"{paint[4:-1]}: #" in page for paint in paints), paints
                numbers = {name: float(mark.attrib.get(name, 0)) for name in ("x", "y", "cx", "cy", "width", "height")}
                assert 0 <= numbers["x"] + numbers["cx"] <= width - numbers["width"]
                assert 0 <= numbers["y"] + numbers["cy"] <= height - numbers["height"]
                for point in re.findall(r"[0-9.-]+,[0-9.-]+", mark.attrib.get("d", "")):
                    x, y = map(float, point.split(","))
                    assert 0 <= x <= width
                    assert 0 <= y <= height

    def test_hostile_names_are_legible_and_never_markup(self):
        page = PAGES["hostile names"]
        said = Page(page).everything()
        for name in HOSTILE:
            assert words.shorten(name, 100) in said
        assert page.count("<script") == 1
        assert "<b>more" not in page
        assert " 49 " not in said
        assert not set("\x00\x1b\u202e") & set(page)

    def test_other_peoples_sentences_are_cleaned_and_escaped_too(self):
        one = audit()
        check = dataclasses.replace(one.diagnostics[0], message=HOSTILE[6] + HOSTILE[0])
        page = render_html(replaced(one, diagnostics=(check,), data=dataclasses.replace(one.data, notes=HOSTILE)))
        assert not set("\x00\x1b\u202e") & set(page)
        assert Page(page).everything().count("</svg><script>alert('x')</script>") == 2

    def test_hostile_names_are_legible_in_the_figures(self):
        figure = re.search("<svg[^>]*audit-2-classes-figure.*?</svg>", PAGES["hostile names"], re.DOTALL)[0]
        said = Page(figure).everything()
        for name in HOSTILE:
            assert words.shorten(name, 20)[:-1] in said

    @each_example
    def test_the_headline_is_the_json(self, example):
        page = render_html(example)
        numbers = re.findall(
            '<div class="number.*?<div class="big">(.*?)</div>.*?<div class="counts">(.*?)</div>', page, re.S
        )
        tree = json.loads(to_json(example))
        expected = [share for one in tree["audits"] for share in (one["clean"], one["worst_case"]["accuracy"])]
        assert len(numbers) == len(expected)
        for (big, beside), share in zip(numbers, expected, strict=True):
            assert re.sub("<.*?>|\N{NO-BREAK SPACE}%", "", big) == f"{100 * share['k'] / share['n']:.1f}"
            low, high = (f"{100 * end:.1f}" for end in share["wilson"])
            assert beside.startswith(f"{low}\N{EN DASH}{high}\N{NO-BREAK SPACE}%")
            assert beside.endswith(f"{share['k']:,} of {share['n']:,}")

    @each_example
    def test_the_ece_in_the_diagram_is_the_ece_in_the_json(self, example):
        page = render_html(example)
        for number, one in enumerate(json.loads(to_json(example))["audits"], 1):
            for side in ("clean", "attacked"):
                figure = re.search(f"<svg[^>]*audit-{number}-reliability-{side}-title.*?</svg>", page, re.S)[0]
                assert f">ECE {one['calibration'][side]['ece']['value']:.3f}<" in figure

    @pytest.mark.parametrize("quality", ["unreliable", "invalid"])
    def test_a_number_whose_evaluation_failed_is_struck_out_and_called_so(self, quality):
        one = audit(quality=quality)
        page = render_html(report(one))
        read = Page(page)
        robust = words.percent(one.worst_case.accuracy.value)
        assert read.struck.count(robust) == 3  # headline, sentence, table
        assert f"Of the 500 test images, <s>{robust}</s> (95" in page
        assert f"This number is {quality}: likely too high" in read.everything()
        assert words.percent(one.clean.value) not in read.struck
        assert f"~~{robust.replace(chr(160), ' ')}~~" in render_markdown(report(one)).replace(chr(160), " ")

    @pytest.mark.parametrize("quality", ["reliable", "reliable with remarks"])
    def test_a_number_whose_evaluation_held_is_not_struck_out(self, quality):
        shown = report(audit(quality=quality))
        assert Page(render_html(shown)).struck == []
        assert "~~" not in render_markdown(shown)

    def test_a_requirement_has_a_colour_only_beside_its_limit(self):
        one = audit()
        without = dataclasses.replace(one.verdict, requirement="met", rule=None)
        stated = dataclasses.replace(without, rule="robust_accuracy >= 0.25")
        assert '<div class="verdict">\n      <h3>Requirement' in render_html(replaced(one, verdict=without))
        coloured = render_html(replaced(one, verdict=stated))
        assert '<div class="verdict good">\n      <h3>Requirement' in coloured
        assert "robust_accuracy &gt;= 0.25" in coloured

    def test_of_a_thousand_classes_the_twelve_lowest_and_five_highest_are_drawn(self):
        page = PAGES["a thousand classes"]
        figure = re.search("<svg[^>]*audit-1-classes-figure.*?</svg>", page, re.DOTALL)[0]
        drawn = re.findall(r">(class number \d+)<", figure)
        order = [row.name for row in sentences.ranked(EXAMPLES["a thousand classes"].audits[0])]
        assert drawn == order[:12] + order[-5:]
        assert "983 classes in between" in figure
        assert len(re.findall(">worst class", figure)) == 1
        assert "the 12 lowest and the 5 highest" in page
        assert all(f"<bdi>{name}</bdi>" in page for name in THOUSAND)

    def test_classes_without_a_sample_are_listed_but_not_ranked(self):
        one = audit()
        empty = dataclasses.replace(one.per_class[3], clean=proportion(0, 0), robust=proportion(0, 0), name="unseen")
        page = render_html(replaced(one, per_class=(empty, *one.per_class[1:])))
        figure = re.search("<svg[^>]*audit-1-classes-figure.*?</svg>", page, re.DOTALL)[0]
        assert "unseen" in page
        assert "unseen" not in figure

    @pytest.mark.slow
    def test_large_pictures_keep_the_page_below_three_megabytes(self):
        one = audit(shape=(3, 224, 224), gallery=6)
        page = render_html(report(dataclasses.replace(one, gallery=one.gallery * 5)))
        assert len(page.encode()) < 3_000_000
        assert re.search(r"the first \d of 30; the JSON has all", page)

    def test_samples_that_were_broken_come_before_those_that_were_not(self):
        one = audit()
        robust = dataclasses.replace(one.gallery[0], id=3, adversarial_prediction=one.gallery[0].label)
        page = render_html(replaced(one, gallery=(*one.gallery, robust)))
        broken, survived = page.split('<h4 class="survived">Attacked and not broken</h4>')
        assert broken.count('<li class="sample">') == len(one.gallery)
        assert survived.count('<li class="sample">') == 1
        assert '<h4 class="survived">' not in render_html(replaced(one))

    def test_rows_of_a_table_list_the_features_moved_most_under_their_names(self):
        page = PAGES["two classes"]
        said = Page(page).everything()
        assert f"{words.shorten(HOSTILE[0], 60)} 0.5 0.25 \N{MINUS SIGN}0.25 feature 4 0 3 +3 age 1 2 +1" in said
        assert "9 features were changed in all" in said

    def test_a_bare_report_has_no_empty_sections(self):
        one = audit(gallery=0)
        bare = replaced(one, attacks=(), per_class=(), diagnostics=())
        bare = dataclasses.replace(bare, command=None, environment={}, artefacts=())
        read = Page(render_html(bare))
        assert "No class has any samples." in read.everything()
        assert "No examples: the inputs are neither images nor" in read.everything()
        assert not {"audit-1-convergence", "audit-1-slices"} & {attrs.get("id") for _, attrs in read.tags}
        assert render_markdown(bare)

    def test_two_models_open_side_by_side_and_say_whether_they_compare(self):
        first, second = audit("one", 0.2), audit("two", 0.5)
        other = dataclasses.replace(second, data=dataclasses.replace(second.data, sha256="56" * 32))
        assert "evaluated on the same samples under the same threat model" in render_html(report(first, second))
        assert "that takes a paired test: robustkit compare." in render_html(report(first, second))
        assert "not evaluated on the same samples, so" in render_html(report(first, other))
        assert 'id="overview"' not in render_html(report(first))

    def test_a_long_loss_path_is_drawn_with_a_point_a_pixel_from_its_first_step_to_its_last(self):
        one = audit()
        long = dataclasses.replace(one.attacks[0], loss_path=tuple(step / 5000 for step in range(5001)))
        page = render_html(replaced(one, attacks=(long, *one.attacks[1:])))
        figure = re.search("<svg[^>]*audit-1-convergence-figure.*?</svg>", page, re.DOTALL)[0]
        drawn = max(re.findall('d="M([^"]*)"', figure), key=len).split()
        assert 300 < len(drawn) <= 420
        assert (drawn[0].split(",")[0], drawn[-1].split(",")[0]) == ("3", "413")

    @pytest.mark.slow
    def test_it_needs_no_plotting_library(self):
        code = (
            "import sys; sys.modules['matplotlib'] = None\n"
            "from report_examples import report\n"
            "from robustkit.report import render_html\n"
            "import hashlib; print(hashlib.sha256(render_html(report()).encode()).hexdigest())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == hashlib.sha256(PAGES["two models"].encode()).hexdigest(), done.stderr
