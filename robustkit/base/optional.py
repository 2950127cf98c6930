"""Packages that are there only where somebody installed them."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from robustkit.base.errors import ConfigurationError, one_line

_PROVIDED_BY = {  # what pip calls a module that packages need without saying so, where the names differ
    "autoattack": "git+https://github.com/fra31/auto-attack",
    "bs4": "beautifulsoup4",
    "pkg_resources": "'setuptools<81'",
    "yaml": "pyyaml",
}


def package(name: str, who: str, install: str | None = None) -> Any:
    """Returns an optional package, imported.

    Args:
        name: Of its module.
        who: Who needs it, for the message.
        install: What pip installs, by default the package of that name.

    Raises:
        ConfigurationError: If it is not installed, or cannot be imported.
    """
    top = name.partition(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{error.name or top}.".startswith(f"{top}."):
            lost = str(error.name).partition(".")[0]
            cure = f"pip install {_PROVIDED_BY.get(lost, lost)}"
            raise ConfigurationError(
                f"{who}: expected {top} with all that it needs, got no module {error.name}; {cure}"
            ) from None
        raise ConfigurationError(f"{who}: expected {top} to be installed; pip install {install or top}") from None
    except Exception as error:
        raise ConfigurationError(
            f"{who}: expected {top} to be importable, got {one_line(error)}; reinstall it"
        ) from error
