"""Files that appear whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.base.write_file import write_atomically, written_in_steps


def test_text_and_bytes_arrive_as_they_are_and_replace_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "a\r\nb\né")
    assert path.read_bytes() == "a\r\nb\né".encode()
    write_atomically(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_draft(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file", "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigurationError, match=r"^write: .*file' \(No space left on device\); choose"):
        write_atomically(path, "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]


def test_a_folder_is_not_overwritten(tmp_path):
    with pytest.raises(ConfigurationError, match="expected a file that can be written"):
        write_atomically(tmp_path, "text")


def test_missing_folders_are_made(tmp_path):
    assert write_atomically(tmp_path / "a/b/file", "x") == tmp_path / "a/b/file"
    assert (tmp_path / "a/b/file").read_text() == "x"


def names(folder) -> list[tuple[str, str]]:
    return sorted((file.name, file.read_text()) for file in folder.iterdir())


def test_a_file_in_steps_takes_its_name_at_the_end_and_holds_every_step_at_once(tmp_path):
    write_atomically(tmp_path / "file", "old")
    (tmp_path / "file.part").write_text("of an earlier run")
    with written_in_steps(tmp_path / "file") as add:
        add("a\r\n")
        assert (tmp_path / "file.part").read_bytes() == b"a\r\n"
        add("\u00e9")
        assert names(tmp_path)[0] == ("file", "old")
    assert (tmp_path / "file").read_bytes() == "a\r\n\u00e9".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def interrupted(path, *steps):
    with written_in_steps(path) as add:
        for step in steps:
            add(step)
        raise KeyboardInterrupt


def test_an_interrupted_file_keeps_its_steps_and_the_old_file(tmp_path):
    write_atomically(tmp_path / "file", "old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "file", "one ", "two ")
    assert names(tmp_path) == [("file", "old"), ("file.part", "one two ")]


def test_nothing_is_made_before_the_first_step(tmp_path):
    with written_in_steps(tmp_path / "new/file"):
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new/file")
    assert not list(tmp_path.iterdir())


def test_a_file_in_steps_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match=r"^write: .*got '.*file/below' \(.*\); choose"),
        written_in_steps(tmp_path / "file/below") as add,
    ):
        add("x")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(ConfigurationError, match=r"^write: .*got '.*folder' \(Is a directory\)"),
        written_in_steps(tmp_path / "folder") as add,
    ):
        add("x")


def test_files_are_written_here_inside_the_draft_of_a_bundle_or_for_a_while():
    package = Path(robustkit.__file__).parent
    writing = r"write_text\(|write_bytes\(|open\([^)]*\"[rb]*[wxa]b?\"|save_file\(|torch\.save\("
    found = {str(p.relative_to(package)) for p in package.rglob("*.py") if re.search(writing, _code(p))}
    assert found == {"base/write_file.py", "bundle/save.py", "evaluation/evidence.py", "data/spooled.py"}


def _code(path: Path) -> str:
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if "os.devnull" not in line and "torch.save(module)" not in line)
