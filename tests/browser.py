"""Pages in a real browser, whose network is closed and whose complaints are heard.

It needs the package playwright (the extra `browser`), Debian's chromium, and for `faults` the file of axe-core:
`npm install --no-save axe-core` in the root of the project, or ROBUSTKIT_AXE=/path/to/axe.min.js.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(os.environ.get("ROBUSTKIT_AXE", Path(__file__).parents[1] / "node_modules/axe-core/axe.min.js"))


@contextmanager
def browser() -> Iterator[Any]:
    """Context with Chromium, through playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'robustkit[browser]'")
    program = os.environ.get("ROBUSTKIT_CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(chromium: Any, file: Path, width: int = 1300, **settings: Any) -> Iterator[Any]:
    """Context with a page at work; afterwards it must have asked for nothing but itself, and not have complained."""
    heard: list[str] = []
    with chromium.new_context(viewport={"width": width, "height": 900}, **settings) as context:
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if not _own(request.url, file) else None)
        page.goto(file.as_uri())
        yield page
    assert heard == []


def faults(page: Any) -> list[str]:
    """Returns what axe-core finds wrong for people who hear a page or use its keys alone."""
    if not AXE.exists():
        pytest.skip("needs axe-core: npm install --no-save axe-core, or ROBUSTKIT_AXE=/path/to/axe.min.js")
    page.evaluate(AXE.read_text(encoding="utf-8") + "; null")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [f"{one['impact']} {one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]


def sheets(page: Any) -> int:
    """Returns on how many sheets of paper a page is printed."""
    return len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True)))


def _own(url: str, file: Path) -> bool:
    return url.startswith("data:image/png;base64,") or url == file.as_uri()
