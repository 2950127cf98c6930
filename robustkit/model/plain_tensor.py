"""Tensors that keep their numbers in another form, such as quantised ones, as ordinary tensors."""

from __future__ import annotations

from torch import Tensor


def plain(value: Tensor) -> Tensor:
    """Returns the numbers that a tensor stands for: those of torch and torchao that are quantised are dequantised."""
    if value.is_quantized or (type(value).__module__.startswith("torchao") and hasattr(value, "dequantize")):
        numbers: Tensor = value.dequantize()
        return numbers
    return value
