"""Files that stand for models made of others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from two_weights import write_two_weights

from robustkit.base.errors import ConfigurationError
from robustkit.defenses.calibrators import CALIBRATORS
from robustkit.defenses.ensemble import Ensemble
from robustkit.defenses.preprocess import JPEG
from robustkit.loading.composed import KINDS, Composition, Part, write_composition
from robustkit.loading.model import load_model


@pytest.fixture
def folder(in_folder):
    write_two_weights(in_folder)
    yield in_folder
    sys.modules.pop("nets_of_mine", None)


def test_a_composition_calls_functions_only_when_trusted(folder):
    path = write_composition(Path("mine.json"), Composition(kind="jpeg", parts=(Part(model="nets_of_mine:cnn"),)))
    with pytest.raises(ConfigurationError, match="expected a trusted file, got one that calls 'nets_of_mine:cnn'"):
        load_model(path)
    assert "nets_of_mine" not in sys.modules
    assert isinstance(load_model(path, trust_checkpoint=True)[0], JPEG)


def test_a_composition_refuses_weights_it_was_not_made_with(folder):
    part = Part(model="cnn", weights="a.safetensors", input_shape=(1, 8, 8), num_classes=10)
    path = write_composition(Path("one.json"), Composition(kind="ensemble", parts=(part, part)))
    assert isinstance(load_model(path), Ensemble)
    Path("a.safetensors").write_bytes(Path("b.safetensors").read_bytes())
    with pytest.raises(ConfigurationError, match="expected the weights it was made with"):
        load_model(path)


SETTINGS = {
    "smoothed": {"sigma": 0.1},
    "temperature": {"temperature": 2.0},
    "vector": CALIBRATORS["vector"].unchanged(3),
    "isotonic": CALIBRATORS["isotonic"].unchanged(3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_composition_can_be_loaded(in_folder, kind):
    part = Part(model="mlp", input_shape=(1, 8, 8), num_classes=3)
    path = write_composition(Path("it.json"), Composition(kind=kind, settings=SETTINGS.get(kind, {}), parts=(part,)))
    assert load_model(path)(torch.rand(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a fault in the file"),
        ('{"kind": "ensemble"}', "a fault in parts"),
        ('{"kind": "ensemble", "parts": [{"modell": "cnn"}]}', r"a fault in parts\.0\.model"),
        ('{"kind": "ensembel", "parts": []}', "did you mean 'ensemble'"),
        ('{"kind": "jpeg", "parts": []}', "expected one part for jpeg, got 0"),
        ('{"kind": "ensemble", "parts": []}', "at least one member"),
        ('{"kind": "jpeg", "parts": [{"model": "it.json"}]}', "got itself"),
        (
            '{"kind": "jpeg", "settings": {"q": 1}, "parts": [{"model": "mlp", "input_shape": [4], "num_classes": 2}]}',
            "settings that jpeg has",
        ),
    ],
)
def test_a_faulty_composition_says_where(in_folder, content, message):
    Path("it.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        load_model("it.json")
