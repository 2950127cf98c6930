"""The pages in docs/extend, followed to the letter in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugins import install

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = {page.stem: page for page in sorted((ROOT / "docs" / "extend").glob("*.md"))}
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def follow(page: Path, folder: Path) -> int:
    """Writes the files, runs the commands, finds the outputs, in the order of the page; returns how many it found."""
    python = Path(sys.executable).parent
    path = os.pathsep.join([str(ROOT), str(folder / "site")])
    environment = {**os.environ, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}
    shown, found = "", 0
    for kind, name, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "output":
            for line in text.splitlines():
                assert line in shown, f"{page.name} expects {line!r}, got:\n{shown}"
                found += 1
        elif kind == "sh":
            if name == "installed":
                pretend_to_install(folder)
            shell = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            shown = done.stdout + done.stderr
            assert done.returncode == 0, f"{page.name}: {text}\n{shown}"
        else:
            (folder / name).write_text(text, encoding="utf-8")
    return found


def pretend_to_install(folder: Path) -> None:
    """Leaves what `pip install .` would, without asking an index for the build system."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    groups = project["project"]["entry-points"]
    points = {group.removeprefix("robustkit."): points for group, points in groups.items()}
    install(folder / "site", project["project"]["name"], **points)
    for module in project["tool"]["setuptools"]["py-modules"]:
        (folder / f"{module}.py").rename(folder / "site" / f"{module}.py")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_to_the_letter(page, tmp_path):
    assert follow(PAGES[page], tmp_path) >= 1


def test_there_is_a_page_for_everything_one_can_add():
    assert PAGES.keys() >= {"attack", "objective", "probe", "report_section", "model_and_data"}
    texts = "".join(page.read_text(encoding="utf-8") for page in PAGES.values())
    for group in (
        "attacks",
        "objectives",
        "augmentations",
        "corruptions",
        "protocols",
        "models",
        "datasets",
        "sections",
    ):
        assert f"robustkit.{group}`" in texts
