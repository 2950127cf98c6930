"""A folder takes the place of an earlier one as a whole, and what a killed process left is cleared."""

from __future__ import annotations

import pytest

from robustkit.base import new_folder
from robustkit.base.new_folder import draft_beside, drafts_of, movable, recover, swap


@pytest.fixture
def folders(tmp_path):
    folder, place = tmp_path / "out", draft_beside(tmp_path / "out")
    for path, text in ((folder, "old"), (place, "new")):
        path.mkdir()
        (path / "file").write_text(text)
    return folder, place


@pytest.mark.parametrize("one_step", [True, False])
def test_two_folders_exchange_their_names(folders, monkeypatch, one_step):
    folder, place = folders
    folder.chmod(0o750)
    if not one_step:
        monkeypatch.setattr(new_folder, "_exchanged", lambda *_: False)
    swap(place, folder)
    assert [(path / "file").read_text() for path in folders] == ["new", "old"]
    assert folder.stat().st_mode & 0o777 == 0o750


def test_killed_between_two_steps_the_earlier_folder_comes_back(folders, monkeypatch):
    folder, place = folders
    monkeypatch.setattr(new_folder, "_exchanged", lambda *_: False)
    rename, moved = type(place).rename, []

    def killed(self, target):
        if moved:
            raise SystemExit
        moved.append(rename(self, target))

    with monkeypatch.context() as patch:
        patch.setattr(type(place), "rename", killed)
        with pytest.raises(SystemExit):
            swap(place, folder)
    assert not folder.exists()
    recover(folder)
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_only_own_drafts_are_cleared(folders, tmp_path):
    folder, place = folders
    for name in (".out.mine.tmp", ".other.0123456789abcdef.tmp", ".out.notes"):
        (tmp_path / name).write_text("")
    (tmp_path / ".out.0123456789abcdef.tmp.zip").write_text("")
    recover(folder)
    assert not place.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".other.0123456789abcdef.tmp", ".out.mine.tmp", ".out.notes", "out")
    ]


def test_a_folder_where_somebody_is_at_work_stays(folders, monkeypatch):
    folder, _ = folders
    assert movable(folder)
    monkeypatch.chdir(folder)
    assert not movable(folder)
    assert list(drafts_of(folder))
