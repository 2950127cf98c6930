"""Does what a page of docs/extend says, in the current folder: writes its files, runs its commands, finds its outputs.

Commands of robustkit and python run in this process, one after the other, so that torch is imported once.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

from plugins import install

from robustkit.cli import run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def follow(page: str) -> None:
    """Raises AssertionError where something does not come out as the page says."""
    shown = ""
    for kind, name, text in BLOCK.findall(page):
        if kind == "output":
            missing = [line for line in text.splitlines() if line not in shown]
            assert not missing, f"expected {missing}, got:\n{shown}"
        elif kind == "sh":
            if name == "installed":
                pretend_to_install()
            shown = "".join(command(line) for line in text.replace("\\\n", " ").splitlines())
        else:
            Path(name).write_text(text, encoding="utf-8")


def command(line: str) -> str:
    """Returns what a line of the shell prints; it must succeed."""
    program, *arguments = shlex.split(line)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        if program == "robustkit":
            code = run(arguments)
        elif program == "python":
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_path(arguments[0], run_name="__main__")
            sys.path.pop(0)
            code = 0
        else:
            done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=False)
            out.write(done.stdout)
            code = done.returncode
    forget()
    assert code == 0, f"{line}: exit code {code}\n{out.getvalue()}"
    return out.getvalue()


def forget() -> None:
    """Makes the next command import the files of the page anew."""
    here = Path.cwd()
    for name, module in list(sys.modules.items()):
        if here in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]


def pretend_to_install() -> None:
    """Leaves what `pip install .` would, without asking an index for the build system."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    groups = project["project"]["entry-points"]
    points = {group.removeprefix("robustkit."): points for group, points in groups.items()}
    install(Path("site"), project["project"]["name"], **points)
    for module in project["tool"]["setuptools"]["py-modules"]:
        Path(f"{module}.py").rename(Path("site", f"{module}.py"))


if __name__ == "__main__":
    follow(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write("followed\n")
