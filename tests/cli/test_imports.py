"""Commands that judge or draw what is finished load neither torch nor what takes as long."""

from __future__ import annotations

import subprocess
import sys

from bundles import write

CODE = """
import sys
from robustkit.cli import run
for words in ("plan --half-width 2%", "gate bundle --require robust_accuracy>=0", "report bundle -f html --out pages",
              "compare bundle bundle --out both", "train --help"):
    code = run(words.split())
    loaded = sorted({"torch", "torchvision", "sklearn", "pandas"} & {*sys.modules})
    print(words.split()[0], code, loaded, file=sys.stderr)
"""


def test_a_command_that_asks_no_model_loads_no_torch(in_folder):
    write(in_folder / "bundle")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if line.endswith("]")]
    assert said == ["plan 0 []", "gate 0 []", "report 0 []", "compare 0 []", "train 0 []"], done.stderr
