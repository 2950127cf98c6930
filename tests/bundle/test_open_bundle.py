"""Opening a bundle: every file is the one that was written, and nothing else is taken for a bundle."""

from __future__ import annotations

import dataclasses
import os
import random
import zipfile

import pytest
from bundles import Forger, lies
from nets import digits_cnn

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.bundle.open_bundle import check_files
from robustkit.model.classifier import Classifier
from robustkit.report import to_json
from robustkit.report.document.manifest import from_text, to_text


@pytest.mark.slow
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


class TestWhatNoBundleHolds:
    """It ends the check before anything is opened: a device would be read for ever, a pipe never answers."""

    def ends(self, folder, where):
        (found,) = robustkit.verify(folder).false
        assert str(found).startswith(where)

    @pytest.mark.parametrize("name", ["ledger.csv", "report.html", "png"])
    def test_links_pipes_and_devices(self, folder, name):
        path = folder / name
        path.rename(folder.parent / "moved")
        path.symlink_to(folder.parent / "moved")
        self.ends(folder, f"{name}: expected a regular file, got a link")
        path.unlink()
        path.symlink_to("/dev/zero")
        self.ends(folder, f"{name}: expected a regular file, got a link")
        path.unlink()
        os.mkfifo(path)
        self.ends(folder, f"{name}: expected a regular file, got something else")

    @pytest.mark.parametrize("name", ["/dev/zero", "../../etc/passwd", "png/../ledger.csv", "./ledger.csv", ""])
    def test_paths_in_the_manifest(self, folder, name):
        path = folder / "manifest.json"
        whole = from_text(path.read_text())
        for field in ("ledger", "adversarials"):
            part = dataclasses.replace(whole.audits[0], **{field: name})
            path.write_text(to_text(dataclasses.replace(whole, audits=(part,))))
            self.ends(folder, f"manifest.json: audits[0].{field}: expected a file of the bundle, got ")
        path.write_text(to_text(dataclasses.replace(whole, files={**whole.files, name: "0" * 64})))
        self.ends(folder, "manifest.json: files: expected plain names, got ")

    def test_files_and_audits_without_end(self, folder):
        path = folder / "manifest.json"
        whole = from_text(path.read_text())
        with (folder / "report.json").open("r+b") as file:
            file.truncate(1 << 40)  # takes no room
        self.ends(folder, "report.json: expected at most 268,435,456 bytes")
        (folder / "report.json").unlink()
        path.write_text(to_text(dataclasses.replace(whole, audits=whole.audits * 101)))
        self.ends(folder, "manifest.json: audits: expected at most 100, got 101")

    def test_sizes_in_the_report_without_end(self, folder):
        forger = Forger(folder)
        forger.audit(lambda audit: audit["data"].update(input_shape=[1, 10**6, 10**6]))
        (folder / "report.json").write_text(to_json(forger.report))
        text = lies(folder, model=False, data=None)
        assert "data.input_shape: expected at most 67,108,864 values, got (1, 1000000, 1000000)" in text

    def test_an_archive_that_unpacks_without_end(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("manifest.json", "{}")
            archive.writestr("points.safetensors", bytes((1 << 26) + 1))
        with pytest.raises(ConfigurationError, match="unpacks to more than 100 times its size"):
            robustkit.verify(tmp_path / "bomb.zip")
        os.mkfifo(tmp_path / "pipe.zip")
        with pytest.raises(ConfigurationError, match="got a pipe or a device, not a file"):
            robustkit.verify(tmp_path / "pipe.zip")
