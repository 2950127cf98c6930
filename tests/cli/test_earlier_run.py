"""What a bundle remembers of model and data."""

from __future__ import annotations

from pathlib import Path

from robustkit.cli.shared.earlier_run import as_named
from robustkit.cli.shared.model_and_data import ModelOptions


def test_the_chosen_set_of_weights_is_recorded_and_none_is_not():
    options = dict.fromkeys(("data_root", "image_size", "bounds", "mean", "std", "classes", "class_names"))
    options |= {"model": "cnn", "weights": Path("w.pt"), "trust_checkpoint": False, "data": "digits", "split": "test"}
    options |= {"output": "auto", "device": "cpu"}
    assert "weights_key" not in as_named(ModelOptions(**options))
    assert as_named(ModelOptions(**options, weights_key="ema"))["weights_key"] == "ema"
