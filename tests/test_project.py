"""The shape of the project itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "robustkit"

# Lower layers first; a file may import from its own layer and from those before it.
LAYERS = (
    {"errors", "files"},
    {
        *("norms", "exact", "hyperplane", "rng", "losses", "stats", "calibration", "ranked", "labels", "suspects"),
        *("paired", "sizes"),
    },
    {
        "threat",
        "frozen",
        "classifier",
        "ranks",
        "chance",
        "bpda",
        "rows",
        "splitter",
        "engine",
        "craft",
        "attack",
        "defense",
        "data",
        "cleaning",
        "diagnostics",
    },
    {
        "attacks",
        "nearest",
        "defenses",
        "augment",
        "augmentations",
        "corruptions",
        "corrupted",
        "spatial",
        "models",
        "datasets",
        "checkpoints",
        "loading",
        "composition",
        "training",
        "recipe",
    },
    {
        "protocols",
        "pace",
        "doctor",
        "judge",
        "evidence",
        "inner",
        "smoothness",
        "copies",
        "witness",
        "subset",
        "experiments",
        "probes",
        "ledger",
        "gallery",
        "hindsight",
        "card",
        "evaluation",
        "merging",
        "parts",
        "pieces",
        "bench",
        "faster",
        "evaluator",
        "shift",
        "shifted",
        "curve",
        "closed_form",
        "planting",
        "planted",
        "transfer",
        "groups",
        "timing",
    },
    {"report"},
    {"bundle", "testing"},
    {"cli"},
)


def layer(module: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if module in names)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("robustkit."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("robustkit.")}
    return found


def sources() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or not p.stem.startswith("__")]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way_only(path: Path) -> None:
    here = layer(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    upwards = {name for name in imports(path) if layer(name) > here}
    # The engine names the attack type in annotations only.
    assert not upwards, f"{path.name} imports from a higher layer: {upwards}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_device_is_hard_coded_and_nothing_seeds_the_global_generator(path: Path) -> None:
    text = path.read_text()
    assert ".cuda()" not in text
    assert '"cuda:0"' not in text
    if path.name != "foolbox.py":  # foolbox draws from the global generators, inside a fork of them
        private = re.sub(r"Generator\([a-z]*\)\.manual_seed", "", text)
        assert "manual_seed" not in private or path.name in ("models.py", "loop.py", "augment.py")


@pytest.mark.parametrize("door", ["attacks", "defenses", "cli"])
def test_top_level_doors_lead_into_the_package(door: str) -> None:
    assert (ROOT / door).is_symlink()
    assert (ROOT / door).resolve() == PACKAGE / door


def test_no_file_is_longer_than_it_may_be_without_a_reason() -> None:
    long = {p.name: n for p in sources() if (n := len(p.read_text().splitlines())) > 330}
    assert not long, f"split {long}"


def test_wheel_holds_the_package_alone(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [n for n in names if not n.startswith(("robustkit/", "robustkit-"))]
    packed = {n for n in names if n.startswith("robustkit/")}
    tracked = subprocess.run(["git", "ls-files", "robustkit"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode == 0:
        assert set(tracked.stdout.split()) <= packed
    assert {"robustkit/py.typed", "robustkit/report/schema.json", "robustkit/report/templates/report.html.j2"} <= packed
