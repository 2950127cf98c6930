"""A folder is claimed by one process, and free again once that has ended in whatever way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robustkit.base.errors import ConfigurationError
from robustkit.base.lock import claimed

HOLD = """
import sys, time
from robustkit.base.lock import claimed
with claimed(sys.argv[1]):
    print("here")
    time.sleep(60)
"""


def test_the_second_is_told_who_was_first_and_a_killed_one_leaves_no_lock(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-u", "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"here\n"
        with (
            pytest.raises(ConfigurationError, match=rf"'.*out', in use by process {other.pid} on .* since 20.*; wait"),
            claimed(tmp_path / "out"),
        ):
            pass
        other.send_signal(signal.SIGKILL)
    with claimed(tmp_path / "out"):
        assert (tmp_path / ".out.lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not list(tmp_path.iterdir())


def test_whoever_has_claimed_a_folder_may_do_so_again(tmp_path):
    with claimed(tmp_path / "out"):
        with claimed(tmp_path / "x/../out"):
            pass
        assert (tmp_path / ".out.lock").exists()
    assert not list(tmp_path.iterdir())


def test_an_error_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "out"):
        raise ZeroDivisionError
    with claimed(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())
