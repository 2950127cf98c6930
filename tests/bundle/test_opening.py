"""Opening a bundle: every file is the one that was written, and nothing else is taken for a bundle."""

from __future__ import annotations

import random
import zipfile

import pytest
from bundles import lies
from nets import digits_cnn

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.bundle.opening import check_files
from robustkit.model.classifier import Classifier


def test_a_thousand_changed_bytes_are_each_caught_and_named(folder):
    draw = random.Random(0)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    assert check_files(folder)[1] == []
    hits = dict.fromkeys(files, 0)
    for _ in range(1000):
        file = draw.choice(files)
        whole = file.read_bytes()
        place = draw.randrange(len(whole))
        changed = bytes([whole[place] ^ draw.randrange(1, 256)])
        file.write_bytes(whole[:place] + changed + whole[place + 1 :])
        (found,) = check_files(folder)[1]
        assert found.where == file.relative_to(folder).as_posix(), (file, place)
        file.write_bytes(whole)
        hits[file] += 1
    assert min(hits.values()) > 20
    assert check_files(folder)[1] == []


def test_missing_and_extra_files_are_named(folder):
    (folder / "report.md").unlink()
    (folder / "png/extra.png").write_text("")
    text = lies(folder, model=False, data=None)
    assert "report.md: expected this file, got none" in text
    assert "png/extra.png: expected no such file, got one" in text


def test_what_is_no_bundle_is_refused(folder, tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("../evil", "")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "")
    for name in ("none", "text.zip", "evil.zip", "other.zip", "."):
        with pytest.raises(ConfigurationError, match=r"^bundle '.*': expected"):
            robustkit.verify(tmp_path / name)
    assert not (tmp_path.parent / "evil").exists()
    with pytest.raises(ConfigurationError, match="mean of 1 draws"):
        robustkit.verify(folder, Classifier(digits_cnn(), draws=2))


@pytest.mark.parametrize("content", ["", "{}", "[", '{"schema": "robustkit.bundle/9.0"}', "\udcff"])
def test_a_manifest_that_is_none_is_named(folder, content):
    (folder / "manifest.json").write_bytes(content.encode(errors="surrogateescape"))
    result = robustkit.verify(folder)
    assert [m.where for m in result.false] == ["manifest.json"]
