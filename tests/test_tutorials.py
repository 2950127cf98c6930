"""The tutorials, followed to the letter in an empty folder."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from follow_page import follow
from torch import nn

from robustkit.model.small_models import initial_weights

PAGES = {page.stem: page for page in sorted((Path(__file__).parent.parent / "docs" / "tutorials").glob("*.md"))}


def small_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a zoo of one small network in the place of RobustBench, which would download; it saves in its format."""
    names = ("robustbench", "robustbench.data", "robustbench.utils", "robustbench.model_zoo")
    names += ("robustbench.model_zoo.models",)
    modules = {name: types.ModuleType(name) for name in names}

    def model() -> nn.Module:
        with initial_weights(seed=0):
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))

    def load_model(name: str, model_dir: str, dataset: str, threat_model: str) -> None:
        path = Path(model_dir, dataset, threat_model, f"{name}.pt")
        path.parent.mkdir(parents=True)
        torch.save({"state_dict": {f"module.{key}": value for key, value in model().state_dict().items()}}, path)

    def load_cifar10(n_examples: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.rand(n_examples, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return x, model()(x).argmax(1)

    zoo = {"cifar10": {"Linf": {"Addepalli2022Efficient_RN18": {"model": model, "gdrive_id": "none"}}}}
    modules["robustbench.data"].load_cifar10 = load_cifar10
    modules["robustbench.utils"].load_model = load_model
    modules["robustbench.model_zoo.models"].model_dicts = zoo
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_works_to_the_letter(page, in_folder, monkeypatch):
    if page == "robustbench":
        small_zoo(monkeypatch)
    follow(PAGES[page].read_text(encoding="utf-8"))
