"""One bundle, and copies of it to forge."""

from __future__ import annotations

import shutil

import pytest
from bundles import quick, write


@pytest.fixture(scope="module", autouse=True)
def quickly(quickly):
    """Pages are drawn in earnest by tests/report and tests/cli."""


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """The bundle of 60 digits."""
    folder = tmp_path_factory.mktemp("verify") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        write(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(original, tmp_path / "copy")
