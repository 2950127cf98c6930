"""The canvas that the figures of the report are drawn on."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import HOSTILE

import robustkit
from robustkit.report.figures.svg import INK, Sheet


def marks(sheet: Sheet) -> list[ET.Element]:
    """What was drawn, read as XML, without title and description."""
    return list(ET.fromstring(sheet.svg("a title", "a description")))[2:]


def test_places_are_in_units_of_the_scales_and_shifts_in_pixels():
    sheet = Sheet("it", 100, 80)
    plot = sheet.plot(20, 10, 60, 40, x=(-1, 1), y=(0, 200))
    plot.text(0, 50, "here", dx=2, dy=-3)
    plot.rect((0, 0.5), (100, 0), INK, 1)
    plot.line([(-1, 0), (0.3333, 200)], INK, dash="4 3")
    plot.band([-1, 1], [0, 0], [100, 200], INK, 0.25)
    plot.dots([(1, 200)], INK)
    sheet.text(5, 7, "there")
    text, rect, line, band, dot, other = (mark.attrib for mark in marks(sheet))
    assert (text["x"], text["y"], text["dy"]) == ("52", "37", ".35em")
    assert [rect[name] for name in ("x", "y", "width", "height")] == ["51", "30", "13", "20"]
    assert (line["d"], line["stroke-dasharray"], line["fill"]) == ("M20,50 60,10", "4 3", "none")
    assert (band["d"], band["fill-opacity"]) == ("M20,50 80,50 80,10 20,30Z", "0.25")
    assert (dot["cx"], dot["cy"], dot["r"]) == ("80", "10", "3")
    assert (other["x"], other["y"]) == ("5", "7")


@given(st.lists(st.tuples(*[st.floats()] * 2), min_size=1), st.tuples(*[st.floats(allow_nan=False)] * 2))
def test_no_value_spills_over_the_edge_of_its_plot(points, scale):
    sheet = Sheet("it", 100, 80)
    plot = sheet.plot(20, 10, 60, 40, x=scale, y=scale)
    plot.line(points)
    plot.dots(points, INK)
    plot.rect(points[0], points[-1], INK)
    line, *dots, rect = marks(sheet)
    drawn = [tuple(map(float, point.split(","))) for point in line.attrib["d"][1:].split()]
    drawn += [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in dots]
    left, top, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
    drawn += [(left, top), (left + width, top + height)]
    assert all(20 <= x <= 80 and 10 <= y <= 50 for x, y in drawn)


@pytest.mark.parametrize("name", [*HOSTILE, "شبكة عصبية", "e\u0301\u0323\u0308"])
def test_words_of_others_arrive_as_they_are_and_are_never_markup(name):
    sheet = Sheet("it", 100, 80)
    sheet.text(0, 0, name)
    svg = sheet.svg(name, f"about {name}")
    title, description, text = ET.fromstring(svg)
    printable = re.sub("[\x00\x1b\u202e]", "\N{REPLACEMENT CHARACTER}", name)
    assert (title.text, description.text, text.text) == (printable, f"about {printable}", printable)
    assert "<script" not in svg


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1 + 0.2, "0.3"),
        (-0.001, "0"),
        (10, "10"),
        (1 / 3, "0.33"),
        (math.nextafter(212.5, 0), "212.5"),
        (1e3, "1000"),
    ],
)
def test_numbers_are_short_and_the_last_bits_of_a_float_do_not_matter(value, written):
    sheet = Sheet("it", 2000, 2000)
    sheet.text(value, 0, "x")
    assert marks(sheet)[0].attrib["x"] == written


def test_nothing_but_the_plots_knows_a_plotting_library():
    package = Path(robustkit.__file__).parent
    known = {path for path in package.rglob("*.py") if "matplotlib" in path.read_text(encoding="utf-8")}
    assert {path.relative_to(package).parts[0] for path in known} == {
        "plots",
        "evaluation",
    }  # `Evaluation.plot` says what it returns
