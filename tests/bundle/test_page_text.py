"""Pages compared by what they say: another layout is the same page, another word, picture or style is not."""

from __future__ import annotations

import pytest

from robustkit.bundle.page_text import said

PAGE = (
    b"<!doctype html><html><style>p{color:red}</style><p class=\"a\" id='b'>87.5&nbsp;% of 64 &amp; more</p>"
    b"<!-- x --><p>a &lt;img src=x</html>"
)
SAME = (
    b"<!DOCTYPE html>\n<html>\n <style>p{color:red}</style>\n<p id=b class=a>87.5\xc2\xa0% of\n64 &#38; more</p>\n"
    b"<!--x--> <p>a &#60;img src=x\n</html>\n"
)


def test_white_space_escapes_and_the_order_of_attributes_say_nothing():
    assert said("report.html", PAGE) == said("report.html", SAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"87.5", b"88.5"),
        (b"more", b"less"),
        (b'class="a"', b'class="hidden"'),
        (b"color:red", b"color:white"),
        (b"</p>", b"</p><p>reliable</p>"),
        (b"</p>", b"</p><script>alert()</script>"),
        (b"<p ", b"<s "),
        (b"html", b"HTML PUBLIC"),
        (b"<!-- x", b"<!--> 100 %"),
        (b"&lt;img src=x", b"<img src=x>"),
    ],
)
def test_whatever_a_reader_may_see_is_said(old, new):
    assert said("report.html", PAGE.replace(old, new, 1)) != said("report.html", PAGE)


def test_markdown_is_words():
    assert said("report.md", b"# A  report\n\n87.5 %") == [("text", word) for word in ("#", "A", "report", "87.5", "%")]
    assert said("report.md", b"<b>") == [("text", "<b>")]
