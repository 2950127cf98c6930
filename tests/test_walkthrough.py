"""The notebook that leads from a model to a report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "docs" / "walkthrough.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_every_code_cell_was_run_in_order_and_none_failed():
    ran = [cell["execution_count"] for cell in CELLS if cell["cell_type"] == "code"]
    outputs = [output for cell in CELLS for output in cell.get("outputs", [])]
    assert ran == list(range(1, len(CODE) + 1))
    assert not [output for output in outputs if output["output_type"] in ("error", "stream")]
    assert sum("text/html" in output.get("data", {}) for output in outputs) >= 5
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1


def test_it_holds_no_path_of_the_machine_it_was_run_on():
    text = NOTEBOOK.read_text(encoding="utf-8")
    pictures_left_out = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"/(root|home|tmp|work|usr|var|Users)/|site-packages|\\Users\\", pictures_left_out)


@pytest.mark.slow
def test_its_cells_run_and_end_with_a_report(tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    check = "assert (folder / 'report.html').stat().st_size > 100_000\nassert before.quality != 'unreliable'\n"
    script = tmp_path / "walkthrough.py"
    script.write_text("\n\n".join([*CODE, check]), encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
