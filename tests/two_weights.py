"""Two networks that are nearly the same, as files of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from nets import digits, digits_cnn
from safetensors.torch import save_file

from robustkit.model.small_models import create

FACTORY = """
from robustkit.model.small_models import create

def cnn():
    return create("cnn", (1, 8, 8), 10)
"""


def write_two_weights(folder: Path) -> None:
    """Writes a trained network and a damaged twin of it as weights, 60 digits, and a factory."""
    x, y = digits(60)
    np.savez(folder / "digits.npz", images=(x * 255).round().byte().numpy(), labels=y.numpy())
    save_file(digits_cnn().state_dict(), folder / "a.safetensors")
    twin = create("cnn", (1, 8, 8), 10)
    noise = torch.Generator().manual_seed(0)
    damaged = {
        name: value + 0.1 * value.std() * torch.randn(value.shape, generator=noise) if value.ndim > 1 else value
        for name, value in digits_cnn().state_dict().items()
    }
    twin.load_state_dict(damaged)
    save_file(twin.state_dict(), folder / "b.safetensors")
    (folder / "nets_of_mine.py").write_text(FACTORY)
