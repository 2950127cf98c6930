"""Folders to run commands in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nets import write_digits
from two_weights import write_two_weights

FACTORY = """
import torch
from torch import nn
from robustkit.model.small_models import create

def cnn():
    return create("cnn", (1, 8, 8), 10)

def broken():
    raise RuntimeError("no such disk")
"""


@pytest.fixture
def case(in_folder: Path) -> Iterator[Path]:
    """A folder with a trained network as weights, 60 digits as npz, and a factory."""
    write_digits(in_folder, 60)
    (in_folder / "nets_of_mine.py").write_text(FACTORY)
    yield in_folder
    sys.modules.pop("nets_of_mine", None)


@pytest.fixture
def two_weights(in_folder: Path) -> Iterator[Path]:
    """A folder with a trained network and a damaged twin of it as weights, 60 digits, and a factory."""
    write_two_weights(in_folder)
    yield in_folder
    sys.modules.pop("nets_of_mine", None)
