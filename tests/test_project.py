"""The shape of the project itself."""

from __future__ import annotations

import ast
import configparser
import functools
import os
import pkgutil
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import robustkit

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "robustkit"
checkout_only = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="looks at a git checkout, this is none")

DOORS = {"", "__main__"}  # the package itself and `python -m robustkit` may look into every room


def floors() -> list[set[str]]:
    """Returns the floors of the house from the ground up, as docs/architecture.md draws them."""
    return [{word.strip("/") for word in line.split("|")[0].split()} for line in reversed(drawn("floors").splitlines())]


def drawn(name: str) -> str:
    """Returns what docs/architecture.md holds between ```name and ```."""
    return (ROOT / "docs" / "architecture.md").read_text().partition(f"```{name}\n")[2].partition("```")[0]


def modules() -> dict[str, Path]:
    """Returns every module of the package by dotted name, without `robustkit.`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").rstrip(".")] = path
    return found


MODULES = modules()


def imports(code: str, module: str = "") -> set[str]:
    """Returns the modules of the package that `code` imports, in whatever form; "" is the package itself."""
    names = set()
    package = module if module in MODULES and MODULES[module].stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = f"robustkit.{package}".rstrip(".").split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}".removeprefix("robustkit.")
                names.add(f"robustkit.{submodule}" if submodule in MODULES else base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    own = {name for name in names if name == "robustkit" or name.startswith("robustkit.")}
    return {name.removeprefix("robustkit").lstrip(".") for name in own}


@pytest.mark.parametrize(
    "code",
    [
        "import robustkit.cli",
        "import robustkit.cli.audit as a",
        "from robustkit import cli",
        "from robustkit.cli import main",
        "from robustkit.cli.audit import command",
        "from .. import cli",
        "from ..cli import audit",
        "def f():\n    from robustkit import cli",
        "if TYPE_CHECKING:\n    from robustkit.cli import audit",
        "import_module('robustkit.cli.audit')",
        "importlib.import_module('robustkit.cli')",
        "__import__('robustkit.cli')",
    ],
)
def test_the_guard_sees_every_form_of_import(code: str) -> None:
    assert {name.split(".")[0] for name in imports(code, "maths.norms")} == {"cli"}


def test_the_guard_sees_an_import_of_the_package_itself() -> None:
    assert imports("import robustkit", "maths.norms") == imports("from robustkit import Classifier") == {""}


def test_every_room_stands_on_one_floor() -> None:
    rooms = [room for floor in floors() for room in floor]
    assert sorted(rooms) == sorted({name.split(".")[0] for name in MODULES} - DOORS)
    assert len(floors()) >= 10


@pytest.mark.parametrize("name", [name for name in MODULES if name not in DOORS])
def test_imports_point_down_only(name: str) -> None:
    below, room = set(), name.split(".")[0]
    for floor in floors():
        if room in floor:
            break
        below |= floor
    taken = {other.split(".")[0] for other in imports(MODULES[name].read_text(), name)}
    assert taken <= below | {room}, f"{name} imports from its own floor or above: {sorted(taken - below - {room})}"


def test_no_imports_run_in_a_circle() -> None:
    ahead = {name: imports(path.read_text(), name) & MODULES.keys() for name, path in MODULES.items() if name}
    while free := [name for name, others in ahead.items() if not others & ahead.keys() - {name}]:
        for name in free:
            del ahead[name]
    assert not ahead, f"circles among {sorted(ahead)}"


def test_few_files_stand_at_the_door() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8


@functools.cache
def functions() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Returns every function and method of the package by module and name."""
    found = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{name}:{node.name}:{node.lineno}"] = node
    return found


def test_no_function_is_longer_than_a_page() -> None:
    long = {name: n for name, node in functions().items() if (n := (node.end_lineno or 0) - node.lineno + 1) > 80}
    assert not long, f"split {long}"


MANY_PARAMETERS = {
    "evaluator:evaluate": "the entry point: each is a choice of the user's, all but three have a default",
    "defenses.training.loop:fit": "the entry point of training, which takes what a recipe does not hold",
}


def test_few_functions_take_more_than_twelve_parameters() -> None:
    many = set()
    for name, node in functions().items():
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        if len([argument for argument in every if argument.arg not in ("self", "cls")]) > 12:
            many.add(name.rpartition(":")[0])
    assert many == MANY_PARAMETERS.keys()


def sources() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or not p.stem.startswith("__")]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_device_is_hard_coded_and_nothing_seeds_the_global_generator(path: Path) -> None:
    text = path.read_text()
    assert ".cuda()" not in text
    assert '"cuda:0"' not in text
    if path.name != "foolbox.py":  # foolbox draws from the global generators, inside a fork of them
        private = re.sub(r"Generator\([a-z]*\)\.manual_seed", "", text)
        assert "manual_seed" not in private or path.name in ("small_models.py", "training_mode.py", "apply.py")


@checkout_only
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


PUBLIC = [name for name in robustkit.__all__ if isinstance(getattr(robustkit, name), ModuleType)]


def test_dir_shows_the_public_names_that_the_documentation_lists() -> None:
    assert dir(robustkit) == sorted(drawn("public").split())
    for name in dir(robustkit):
        getattr(robustkit, name)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_says_what_it_is_for_and_what_it_offers(name: str) -> None:
    module = getattr(robustkit, name)
    assert module.__doc__
    assert module.__all__
    found: dict[str, object] = {}
    exec(f"from robustkit.{name} import *", found)
    assert set(module.__all__) <= found.keys()
    within = {item.name for item in pkgutil.iter_modules(getattr(module, "__path__", []))}
    hidden = {item for item in within & set(module.__all__) if not isinstance(found[item], ModuleType)}
    assert not hidden, f"names that hide a module of robustkit.{name}: {hidden}"


@pytest.mark.parametrize("code", ["import robustkit; dir(robustkit)", "from robustkit import cli; cli.run(['--help'])"])
def test_torch_is_not_imported_before_it_is_needed(code: str) -> None:
    check = f"import sys; {code}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, cwd=ROOT)


@pytest.mark.slow
def test_a_public_module_is_there_without_importing_it() -> None:
    code = "import robustkit; robustkit.attacks.PGD(eps=0.1); robustkit.report.build_audit"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


def test_a_type_checker_knows_the_public_names_and_refuses_others(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="needs mypy, which is in the extra dev")
    code = tmp_path / "code.py"
    code.write_text("import robustkit\nrobustkit.attacks.PGD\nrobustkit.evaluate\nrobustkit.nonexistent\n")
    options = ["--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent", "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, f"--cache-dir={tmp_path / 'cache'}", str(code)]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False).stdout
    assert [line.partition(": error: ")[2] for line in said.splitlines()[:-1]] == [
        'Module has no attribute "nonexistent"  [attr-defined]'
    ], said


def required(*extras: str) -> set[str]:
    """Returns the distributions that setup.cfg asks for, with these extras."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    asked = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in extras)]
    return {re.split(r"[^\w.-]", line)[0] for text in asked for line in text.splitlines() if line}


def libraries(folder: Path) -> set[str]:
    """Returns the distributions whose modules the files of `folder` import, other than Python's and their own."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    own = {"robustkit", *(path.stem for path in folder.glob("*.py"))}
    called = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    return {called.get(name, name) for name in names - own - sys.stdlib_module_names}


def test_every_library_that_is_imported_is_declared() -> None:
    optional = ("timm", "tracking", "notebook")
    there = {"tomllib", "annotationlib", "pytest"}  # with Python, and with pytest, which alone loads its plug-in
    assert libraries(PACKAGE) - there <= required(*optional)
    assert libraries(ROOT / "tests") <= required("test")


def test_the_constraints_for_the_lowest_versions_follow_from_the_requirements() -> None:
    lowest = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["lowest"]
    written = (ROOT / ".ci" / "lowest.txt").read_text()
    assert written == lowest(ROOT / "setup.cfg"), "run: python .ci/lowest.py > .ci/lowest.txt"


@pytest.mark.parametrize("file", ["CITATION.cff", ".github/workflows/ci.yml", ".pre-commit-config.yaml"])
def test_files_that_machines_read_can_be_read(file: str) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load((ROOT / file).read_text())


def test_the_workflow_runs_every_python_that_is_promised() -> None:
    promised = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert f"python: {promised}".replace("'", '"') in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
