"""Every block of docs/first_hour.md runs as it stands, and so does our side of its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from robustkit.model.small_models import initial_weights

PAGE = (Path(__file__).parent.parent / "docs" / "first_hour.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LINES = [line.rpartition("| `")[2].removesuffix("` |") for line in PAGE.splitlines() if line.endswith("` |")]


@pytest.fixture
def names():
    # A model that nearly every attack breaks at once, so that the long ones have nothing left to do.
    with initial_weights(seed=0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        model[1].bias.copy_(-0.5 * model[1].weight.sum(1))  # mid grey is on every boundary
    x = 0.5 + 0.05 * torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    return {"model": model, "x": x, "y": y, "loader": DataLoader(TensorDataset(x, y), 6)}


def test_every_block_runs_in_its_order(names, in_folder, quickly):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    for block in BLOCKS:
        exec(block, names)
    assert names["again"].robust_accuracy == names["evaluation"].robust_accuracy
    assert len(names["frame"]) == 12


@pytest.mark.parametrize("line", LINES)
def test_our_side_of_the_table_runs(names, quickly, line):
    if "load_data" in line:
        pytest.skip("the data would have to be downloaded")
    import robustkit

    eval(line, {"robustkit": robustkit, **names})
