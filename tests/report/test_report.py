from __future__ import annotations

import ast
import base64
import dataclasses
import hashlib
import io
import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from report_examples import ABOUT, HOSTILE, audit, complete, report

import robustkit.report
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.intervals import proportion
from robustkit.report import (
    difference,
    from_json,
    load,
    picture,
    render_html,
    render_markdown,
    result_sha256,
    save,
    schema,
    to_json,
)
from robustkit.report.text import sentences, words

FOLDER = Path(robustkit.report.__file__).parent
THOUSAND = tuple(f"class number {index}" for index in range(1000))
EXAMPLES = {
    "two models": report(),
    "two classes": report(audit("a table", 0.5, names=("no", "yes"), shape=(30,), gallery=0, quality="reliable")),
    "a thousand classes": report(audit("many", 0.3, names=THOUSAND, n=3000, quality="unreliable", norm="L2")),
    "hostile names": report(
        audit(HOSTILE[0], 0.3, names=HOSTILE, quality="invalid"),
        audit(HOSTILE[4], 0.5, names=HOSTILE, target=2),
        title=HOSTILE[1],
    ),
    "every part": report(complete(audit(robust=0.62, defended=True)), about=ABOUT),
}
MARKS = {"text", "rect", "path", "circle"}
each_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
PAGES = {name: render_html(example) for name, example in EXAMPLES.items()}
each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())


def changed(change) -> str:
    """The JSON of the two-model report after `change` has had its way with it."""
    tree = json.loads(to_json(EXAMPLES["two models"]))
    change(tree)
    return json.dumps(tree)


def replaced(audit, **changes):
    return report(dataclasses.replace(audit, **changes))


class TestJson:
    @each_example
    def test_reading_back_what_was_written_gives_the_same_report(self, example):
        assert from_json(to_json(example)) == example

    def test_text_is_stable_and_laid_out_to_be_read(self):
        text = to_json(EXAMPLES["two models"])
        lines = text.splitlines()
        assert text == to_json(from_json(text))
        assert text.endswith("}\n")
        assert lines[1] == '  "schema": "robustkit.report/1.3",'
        k = EXAMPLES["two models"].audits[0].clean.k
        assert any(line.strip().startswith('"clean": {') and f'"k": {k}' in text for line in lines)
        assert any(line.strip().startswith('"input_shape": [1, 8, 8]') for line in lines)

    def test_fields_from_a_later_minor_version_are_passed_over(self):
        def later(tree):
            tree["schema"] = "robustkit.report/1.7"
            tree["curve"] = [1, 2]
            tree["audits"][0]["clean"]["bayes"] = [0.1, 0.2]

        assert from_json(changed(later)).audits == EXAMPLES["two models"].audits

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda tree: tree["audits"][0]["clean"].pop("k"), "field required at audits[0].clean.k, got nothing"),
            (
                lambda tree: tree["audits"][1]["clean"].update(k="seven"),
                "valid integer at audits[1].clean.k, got 'seven'",
            ),
            (lambda tree: tree["audits"][0]["clean"].update(wilson=[0.1]), "at audits[0].clean.wilson[1], got nothing"),
            (
                lambda tree: tree["audits"][0]["verdict"].update(quality="great"),
                "at audits[0].verdict.quality, got 'great'",
            ),
            (lambda tree: tree["environment"].update(torch=["2.9"]), "at environment.torch, got a list"),
            (lambda tree: tree.update(audits={}), "at audits, got an object"),
            (
                lambda tree: tree.update(schema="robustkit.report/2.0"),
                "schema robustkit.report/1.x, got 'robustkit.report/2.0'",
            ),
            (lambda tree: tree.update(schema=None), "expected a report of schema robustkit.report/1.x, got None"),
        ],
    )
    def test_a_bad_field_is_named_in_one_line(self, change, complaint):
        with pytest.raises(ConfigurationError) as caught:
            from_json(changed(change), "a.json")
        assert complaint in str(caught.value)
        assert str(caught.value).startswith("a.json: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "{", "[1", '{"a": NaN}', "[" * 100_000, "\ufeff{}"])
    def test_text_that_is_no_json_is_refused(self, text):
        with pytest.raises(ConfigurationError, match=r"^report: expected JSON, got .*; write it again$"):
            from_json(text)

    @pytest.mark.parametrize("text", ["[]", "null", "3", "{}"])
    def test_json_that_is_no_report_is_refused(self, text):
        with pytest.raises(ConfigurationError, match="expected a report of schema"):
            from_json(text)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def test_whatever_one_value_is_replaced_by_the_answer_is_a_report_or_one_line(self, data):
        values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just([])

        def change(tree):
            at = tree
            while True:
                key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
                if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.integers(0, 4)) == 0:
                    at[key] = data.draw(values)
                    return
                at = at[key]

        try:
            read = from_json(changed(change))
        except ConfigurationError as error:
            complaint = str(error)
        else:
            complaint = "none"
            assert from_json(to_json(read)) == read
        assert len(complaint.splitlines()) == 1

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_a_number_that_is_not_finite_is_refused_by_its_path(self, number):
        one = audit()
        broken = dataclasses.replace(one.attacks[1], loss_path=(0.1, number))
        with pytest.raises(InvalidEvaluation, match=r"got (nan|inf) at audits\[0\]\.attacks\[0\]\.loss_path\[1\]"):
            to_json(replaced(one, attacks=(broken,)))

    def test_the_schema_file_is_the_schema_of_the_code(self):
        committed = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
        assert committed == schema(), "write json.dumps(schema(), indent=2, ensure_ascii=False) to schema.json"

    @each_example
    def test_what_is_written_obeys_the_schema(self, example):
        jsonschema.Draft202012Validator(schema()).validate(json.loads(to_json(example)))

    def test_the_schema_refuses_a_report_without_its_verdict(self):
        tree = json.loads(changed(lambda tree: tree["audits"][0].pop("verdict")))
        with pytest.raises(jsonschema.ValidationError, match="'verdict' is a required property"):
            jsonschema.Draft202012Validator(schema()).validate(tree)

    def test_the_result_hash_is_about_what_was_found_and_nothing_else(self):
        one = audit()
        slower = tuple(dataclasses.replace(attack, seconds=9.9) for attack in one.attacks)
        elsewhere = dataclasses.replace(
            one,
            attacks=slower,
            subject=dataclasses.replace(one.subject, device="cuda:0"),
            method=dataclasses.replace(one.method, probe_seconds=7.5),
        )
        assert "The probes among them took 7.5\N{NO-BREAK SPACE}s." in render_html(report(elsewhere))
        other = dataclasses.replace(one, clean=proportion(one.clean.k - 1, one.clean.n))
        assert result_sha256([elsewhere]) == result_sha256([one])
        assert result_sha256([other]) != result_sha256([one])
        assert result_sha256([one, one]) != result_sha256([one])

    def test_the_result_hash_does_not_know_the_order_of_settings(self):
        one = audit()
        turned = dataclasses.replace(one.attacks[0], params=dict(reversed(one.attacks[0].params.items())))
        assert result_sha256([dataclasses.replace(one, attacks=(turned, *one.attacks[1:]))]) == result_sha256([one])

    def test_the_result_hash_of_nothing_is_the_hash_of_an_empty_list(self):
        assert result_sha256([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


class TestFiles:
    def test_saving_makes_folders_and_loading_gives_the_report_back(self, tmp_path):
        path = save(EXAMPLES["hostile names"], tmp_path / "new" / "folder" / "report.json")
        assert load(path) == EXAMPLES["hostile names"]
        assert [file.name for file in path.parent.iterdir()] == ["report.json"]

    def test_loading_what_is_not_there_is_one_line(self, tmp_path):
        (tmp_path / "latin.json").write_bytes(b'{"title": "na\xefve"}')
        for name, reason in (("no.json", "No such file"), ("", "Is a directory"), ("latin.json", "not UTF-8")):
            with pytest.raises(ConfigurationError, match=f"^report: expected a readable JSON file, .*{reason}"):
                load(tmp_path / name)


def pixels(shown) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.png))))
    assert image.shape[:2] == (shown.height, shown.width)
    return image


class TestPictures:
    def test_bounds_are_black_and_white_and_the_middle_is_grey(self):
        x = np.array([[[-1.0, 0.0, 1.0], [-1.0, 1.0, 1.0]]])
        assert pixels(picture(x, (-1.0, 1.0))).tolist() == [[0, 128, 255], [0, 255, 255]]

    def test_three_channels_are_red_green_blue(self):
        x = np.zeros((3, 1, 3))
        x[[0, 1, 2], 0, [0, 1, 2]] = 1
        assert pixels(picture(x, (0, 1))).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]

    @pytest.mark.parametrize("shape", [(30,), (2, 8, 8), (4, 8, 8), (8, 8), (1, 3, 8, 8), (1, 0, 8)])
    def test_what_is_no_image_has_no_picture(self, shape):
        assert picture(np.zeros(shape), (0, 1)) is None
        assert difference(np.zeros(shape), np.zeros(shape), (0, 1)) is None

    @pytest.mark.parametrize(
        ("largest", "gain"),
        [(0, 1), (1, 0.5), (0.5, 1), (0.3, 1), (0.25, 2), (8 / 255, 10), (0.025, 20), (0.01, 50), (0.005, 100)],
    )
    def test_the_gain_is_the_largest_round_number_that_fits(self, largest, gain):
        clean = np.full((1, 1, 3), 0.5 if largest <= 0.5 else 0.0)
        adversarial = clean.copy()
        adversarial[0, 0, 0] += largest
        shown, used = difference(clean.astype(np.float32), adversarial.astype(np.float32), (0, 1))
        assert used == pytest.approx(gain, rel=1e-12)
        assert pixels(shown)[0, 1] == 128
        assert pixels(shown)[0, 0] == pytest.approx(127.5 + 255 * gain * largest, abs=0.51)

    @given(st.floats(1e-9, 2.0))
    def test_the_change_nearly_fills_the_range_and_never_leaves_it(self, largest):
        clean = np.zeros((1, 1, 1))
        _, gain = difference(clean, clean + largest, (-1.0, 1.0))
        assert 0.2 * (1 - 1e-5) <= gain * largest / 2 <= 0.5 * (1 + 1e-5)
        assert f"{gain:.0e}"[0] in "125"


class Page(HTMLParser):
    """Reads a page and complains about everything that is open, twice there, or loaded from somewhere."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input", "path", "rect", "use", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.struck: list[str] = []
        self.headings: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)
        if "s" in self.open:
            self.struck.append(data)

    def everything(self) -> str:
        return " ".join(" ".join(self.text).split())


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
    def test_nothing_is_fetched_and_no_script_runs(self, page):
        read = Page(page)
        assert {tag for tag, _ in read.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"} == set()
        for tag, attrs in read.tags:
            assert not [name for name in attrs if name.startswith("on")], tag
            assert (attrs.get("href") or "#").startswith(("#", "data:text/csv;charset=utf-8;base64,"))
            assert (attrs.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "@import" not in page
        assert re.findall(r"url\((?!#)", page) == []
        assert "default-src 'none'" in page

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
        assert page.count("<script") == 0
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

    def test_large_pictures_keep_the_page_below_three_megabytes(self):
        one = audit(shape=(3, 224, 224), gallery=6)
        page = render_html(report(dataclasses.replace(one, gallery=one.gallery * 5)))
        assert len(page.encode()) < 3_000_000
        assert re.search(r"the first \d of 30; the JSON has all", page)

    def test_a_bare_report_has_no_empty_sections(self):
        one = audit(gallery=0)
        bare = replaced(one, attacks=(), per_class=(), diagnostics=())
        bare = dataclasses.replace(bare, command=None, environment={}, artefacts=())
        read = Page(render_html(bare))
        assert "No class has any samples." in read.everything()
        assert "No pictures: the inputs are no images" in read.everything()
        assert not {"audit-1-convergence", "audit-1-slices"} & {attrs.get("id") for _, attrs in read.tags}
        assert render_markdown(bare)

    def test_two_models_open_side_by_side_and_say_whether_they_compare(self):
        first, second = audit("one", 0.2), audit("two", 0.5)
        other = dataclasses.replace(second, data=dataclasses.replace(second.data, sha256="56" * 32))
        assert "evaluated on the same samples under the same threat model" in render_html(report(first, second))
        assert "that takes a paired test, which robustkit compare makes." in render_html(report(first, second))
        assert "not judged on the same samples, so" in render_html(report(first, other))
        assert 'id="overview"' not in render_html(report(first))

    def test_a_long_loss_path_is_drawn_with_a_point_a_pixel_from_its_first_step_to_its_last(self):
        one = audit()
        long = dataclasses.replace(one.attacks[0], loss_path=tuple(step / 5000 for step in range(5001)))
        page = render_html(replaced(one, attacks=(long, *one.attacks[1:])))
        figure = re.search("<svg[^>]*audit-1-convergence-figure.*?</svg>", page, re.DOTALL)[0]
        drawn = max(re.findall('d="M([^"]*)"', figure), key=len).split()
        assert 300 < len(drawn) <= 420
        assert (drawn[0].split(",")[0], drawn[-1].split(",")[0]) == ("3", "413")

    def test_it_needs_no_plotting_library(self):
        code = (
            "import sys; sys.modules['matplotlib'] = None\n"
            "from report_examples import report\n"
            "from robustkit.report import render_html\n"
            "import hashlib; print(hashlib.sha256(render_html(report()).encode()).hexdigest())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == hashlib.sha256(PAGES["two models"].encode()).hexdigest(), done.stderr


class TestMarkdown:
    @each_example
    def test_it_is_drawn_from_the_json_alone(self, example):
        assert render_markdown(from_json(to_json(example))) == render_markdown(example)

    def test_one_audit_fits_on_sixty_lines_however_much_was_found(self):
        one = audit(quality="unreliable", names=HOSTILE)
        crowded = replaced(one, attacks=one.attacks * 9, diagnostics=one.diagnostics * 20)
        text = render_markdown(crowded)
        assert len(text.splitlines()) <= 60
        assert "33 more attacks" in text
        assert "- fail: Q12" in text

    def test_names_cannot_break_the_table_become_markup_or_call_somebody(self):
        one = audit(HOSTILE[0], names=HOSTILE)
        named = tuple(
            dataclasses.replace(attack, name=name) for attack, name in zip(one.attacks, HOSTILE[3:], strict=True)
        )
        text = render_markdown(replaced(one, attacks=named))
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) == 9
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
        assert not re.search(r"<|(?<!\\)`tick|(?<!\\)\*star|@\d|\x00", text)

    def test_the_headline_is_the_json(self):
        worst = EXAMPLES["two classes"].audits[0].worst_case.accuracy
        row = next(line for line in render_markdown(EXAMPLES["two classes"]).splitlines() if "(worst case)" in line)
        assert f"{worst.k} of {worst.n}" in row
        assert f"{100 * worst.k / worst.n:.1f}" in row


class TestWords:
    @pytest.mark.parametrize(
        ("fraction", "text"),
        [(0, "0.0"), (1, "100.0"), (0.9999, ">99.9"), (0.0001, "<0.1"), (0.31249, "31.2"), (0.9994, "99.9")],
    )
    def test_only_none_is_zero_and_only_all_is_a_hundred_percent(self, fraction, text):
        assert words.percent(fraction) == f"{text}\N{NO-BREAK SPACE}%"
        assert words.percent(None) == "\N{EN DASH}"

    @pytest.mark.parametrize(
        ("norm", "shape", "target", "expected"),
        [
            (
                "Linf",
                (1, 8, 8),
                None,
                "30.0 % (95 % interval 21.9\N{EN DASH}39.6 %) are still classified correctly when an attacker who "
                "knows the model may change each pixel by at most 8/255; pixel values range from 0 to 1. ",
            ),
            (
                "L2",
                (3, 8, 8),
                None,
                "may change the image by at most 0.5 in the L2 norm (the length of the change); "
                "pixel values range from 0 to 1. ",
            ),
            ("Linf", (30,), None, "may change each input value by at most 8/255; values range from 0 to 1. "),
            (
                "Linf",
                (1, 8, 8),
                2,
                "30.0 % (95 % interval 21.9\N{EN DASH}39.6 %) withstand every attack when an attacker "
                "who knows the model and wants the prediction “2” may change each pixel",
            ),
        ],
    )
    def test_the_plain_sentence_fits_norm_data_and_goal(self, norm, shape, target, expected):
        one = audit(norm=norm, shape=shape, target=target, gallery=0)
        worst = dataclasses.replace(one.worst_case, accuracy=proportion(30, 100))
        sentence = sentences.plain_sentence(dataclasses.replace(one, worst_case=worst)).replace(chr(160), " ")
        assert sentence.startswith(f"Of the 100 test {'images' if len(shape) == 3 else 'samples'}, ")
        assert expected in sentence
        assert sentence.endswith("This is an upper bound: a stronger attack can only lower it.")

    def test_limitations_follow_from_what_was_found(self):
        one = audit(defended=True)
        none_left = dataclasses.replace(one.worst_case, accuracy=proportion(0, 500))
        unsteady = dataclasses.replace(one.attacks[0], rechecked_changes=4)
        said = " ".join(sentences.limitations(dataclasses.replace(one, worst_case=none_left, attacks=(unsteady,))))
        assert "no adversarial example was found by these attacks" in said
        assert "adapts to this defence" in said
        assert "up to 0.7\N{NO-BREAK SPACE}% is still compatible" in said  # 1 - 0.025 ** (1 / 500)
        assert "changed the outcome 4 times" in said
        assert "were not run: Q19" in said
        assert "The smallest class has 50 samples" in said
        assert "defended" not in " ".join(sentences.limitations(audit(n=3000)))

    @given(st.text(), st.integers(1, 40))
    def test_a_shortened_name_is_one_printable_line_of_about_the_width(self, name, width):
        short = words.shorten(name, width)
        assert len(short) <= width + 1
        assert short == words.shorten(short, width + 2)
        assert not re.search("[\x00-\x1f\u202a-\u202e]", short)


# 2C of what a report must hold: claims that no measurement of this kind can carry.
CLAIMS = re.compile(
    r"\b(in)?secur\w*|\bcertif\w*|\bcomplian\w*|\bcomply\b|\bconform(s|ing|ant)?\b|\bsafe(ly|ty)?\b|\bguarant\w*|\bproven\b|"
    r"\bunbreakable\b|\bbulletproof\b|\b(robustness|security|safety) score\b|\bout of 100\b|\d ?/ ?100\b|"
    r"\brobust(ly)?\b(?![ _-]accurac)",
    re.IGNORECASE,
)


def fixed_texts() -> dict[str, str]:
    """Every text of ours that can reach a reader, whichever branch it stands in."""
    texts = {}
    for path in (*FOLDER.rglob("*.py"), FOLDER.parent / "evaluation" / "notebook_card.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        strings = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings
        ]
        texts[path.name] = "\n".join(string for string in strings if isinstance(string, str))
    for path in (FOLDER / "templates").glob("*.j2"):
        tokens = jinja2.Environment().lex(path.read_text(encoding="utf-8"))
        said = " ".join(value for _, kind, value in tokens if kind in ("data", "string"))
        texts[path.name] = re.sub(r"<[^>]*>|'unsafe-inline'", " ", said)
    return texts


class TestClaims:
    @pytest.mark.parametrize(
        "claim",
        [
            "The model is secure.",
            "certified",
            "It conforms to the act",
            "conforming",
            "EU compliant",
            "a robust model",
            "Robust: 3",
            "robustness score 81/100",
        ],
    )
    def test_the_net_catches_claims(self, claim):
        assert CLAIMS.search(claim)

    @pytest.mark.parametrize("fine", ["Robust accuracy", "robust_accuracy >= 0.6", "Robustness audit", "8/255"])
    def test_the_net_lets_measurements_pass(self, fine):
        assert not CLAIMS.search(fine)

    @pytest.mark.parametrize("name", sorted(fixed_texts()))
    def test_no_text_of_ours_claims_more_than_was_measured(self, name):
        assert [match[0] for match in CLAIMS.finditer(fixed_texts()[name])] == []

    def test_no_view_claims_more_than_was_measured(self):
        for name in EXAMPLES.keys() - {"hostile names"}:
            said = Page(PAGES[name]).everything() + render_markdown(EXAMPLES[name]).replace("\\", "")
            assert [match[0] for match in CLAIMS.finditer(said)] == []
