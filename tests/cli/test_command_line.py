"""The command line as a whole: help, exit codes, old spellings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_installed_script_prints_its_version_without_importing_torch():
    script = Path(sys.executable).with_name("robustkit")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("robustkit 0.")
    quick = "import sys, robustkit.cli; robustkit.cli.run(['--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", quick], check=True, capture_output=True)
