"""A model of several inputs, behind rows that hold all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import instance
from robustkit.data.layout import Layout


class Unpacked(nn.Module):
    """A model that takes inputs by name, as a function of the rows that `robustkit.data.pack` makes.

    Args:
        model: Called with every input of the layout by its name: numbers as they are, whole numbers as int64.
        layout: How the inputs lie in a row: `data.layout`.

    Raises:
        ConfigurationError: If an argument is something else.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        super().__init__()
        instance("Unpacked", "model", model, nn.Module)
        instance("Unpacked", "layout", layout, Layout)
        self.unpacked, self.layout = model, layout
        self.train(model.training)

    @property
    def config(self) -> Any:
        """That of the model, where a `Classifier` finds the names of the outputs."""
        return getattr(self.unpacked, "config", None)

    def forward(self, x: Tensor) -> Any:
        """Returns what the model returns for the inputs in the rows `x` (N, width).

        Raises:
            ConfigurationError: If rows are not that wide, or in half precision, which holds no long lengths or ids.
        """
        if x.ndim != 2 or x.shape[1] != self.layout.width:
            raise ConfigurationError(
                f"model: expected packed rows of {self.layout.width} numbers, got shape {tuple(x.shape)}; give the data"
                " that robustkit.data.pack made with this layout"
            )
        if x.dtype in (torch.float16, torch.bfloat16):
            raise ConfigurationError(
                f"model: expected float32 beside inputs that are passed on, got {x.dtype}; use model.float()"
            )
        return self.unpacked(**self.layout.split(x))


def layout_taken(module: nn.Module) -> Layout | None:
    """Returns the layout of the rows that a module takes, where it is one of several inputs, or is made of such."""
    return next((part.layout for part in module.modules() if isinstance(part, Unpacked)), None)


def check_layout(who: str, module: nn.Module, layout: Layout | None) -> None:
    """Raises ConfigurationError where the rows of data with a layout are not those that a model takes."""
    takes = layout_taken(module)
    if layout is None or takes == layout:
        return
    if takes is None:
        raise ConfigurationError(
            f"{who}: expected a model for data with several inputs, got {type(module).__name__}; give"
            " Classifier(robustkit.model.Unpacked(model, data.layout), bounds=data.bounds)"
        )
    raise ConfigurationError(
        f"{who}: expected a model with the layout of the data, got one of {takes.described} for {layout.described};"
        " give Unpacked(model, data.layout)"
    )


def refuse_several(who: str, module: nn.Module) -> None:
    """Raises ConfigurationError for a model of several inputs, of which those that are passed on would change, too."""
    if (layout := layout_taken(module)) is not None:
        raise ConfigurationError(
            f"{who}: expected a model of one input, got one of {layout.described}, all of which it would change; use"
            " evaluate, or the model within"
        )


def unpacked(module: nn.Module, layout: Layout | None) -> nn.Module:
    """Returns a module that takes the rows of a layout, itself where it does or there is none."""
    return module if layout is None or isinstance(module, Unpacked) else Unpacked(module, layout)
