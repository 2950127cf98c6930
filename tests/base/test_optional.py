"""Packages that may be missing, or lack what they need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from robustkit.base.errors import ConfigurationError
from robustkit.base.optional import package


@pytest.mark.parametrize(("lost", "cure"), [
    ("pkg_resources", "'setuptools<81'"), ("no_such_module.part", "no_such_module"),
])  # fmt: skip
def test_a_module_that_a_package_lacks_is_what_is_to_be_installed(lost, cure, in_folder, monkeypatch):
    Path("lacking_package.py").write_text(f"import {lost}\n")
    monkeypatch.syspath_prepend(str(in_folder))
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    with pytest.raises(ConfigurationError, match=f"got no module {lost.partition('.')[0]}.*; pip install {cure}$"):
        package("lacking_package", "model", "git+lacking")
