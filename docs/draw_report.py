"""Draws docs/report.png, the first page of the report of `robustkit demo`; needs playwright and chromium.

robustkit demo && python docs/draw_report.py robustkit-demo
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from robustkit.report import load, render_html

TARGET = Path(__file__).with_name("report.png")


def main(folder: str) -> None:
    """Draws the report in `folder` as it is drawn today."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as started:
        page_file = Path(place) / "report.html"
        page_file.write_text(render_html(load(Path(folder) / "report.json")), encoding="utf-8")
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1300, "height": 900}, device_scale_factor=0.82)
        page.goto(page_file.as_uri())
        first = page.locator(".summary").first.bounding_box()
        shown = {"x": 0, "y": 0, "width": 1300, "height": first["y"] + first["height"] + 24}
        page.screenshot(path=TARGET, full_page=True, clip=shown)
        chromium.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
