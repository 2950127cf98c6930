"""Attacking through an operation that has no useful gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError


class BPDA(nn.Module):
    """An operation forward, the gradient of another one backward: backward pass differentiable approximation.

    Quantisation, JPEG, a median or a look-up have a gradient that is zero, missing or misleading, so an attack through
    them stalls and the model looks robust. Put ``BPDA(operation)`` in the place of the operation: the output is that
    of the operation bit for bit, and the gradient is that of `substitute` at the same input. ::

        model = nn.Sequential(BPDA(jpeg), network)

    Athalye, Carlini & Wagner 2018, arXiv 1802.00420, section 4.1.

    Args:
        forward: The true operation, a module or a function from a batch to a batch of floating-point numbers. It gets
            a copy without a graph, so it may work in place, leave torch, or round. Modules become sub-modules.
        substitute: A differentiable function that is near the operation and returns the same shape. By default the
            identity, which is right for whatever gives back nearly its input.

    Raises:
        ConfigurationError: If an argument is no function, or when called, if the operation does not return
            floating-point numbers or the substitute another shape than the operation.
    """

    def __init__(
        self, forward: Callable[[Tensor], Tensor], substitute: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        for name, value in (("forward", forward), ("substitute", substitute or forward)):
            if not callable(value):
                raise ConfigurationError(f"BPDA: expected {name} to be a function, got {value!r}; pass one")
        self.operation = forward
        self.substitute = substitute

    def forward(self, x: Tensor) -> Tensor:
        """Returns the operation's output for `x`; gradients flow back through the substitute."""
        with torch.no_grad():
            value = self.operation(x.detach().clone())
        if not isinstance(value, Tensor) or not value.is_floating_point():
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ConfigurationError(
                f"BPDA: expected the operation to return a floating-point tensor, got {found}; convert its result"
            )
        if self.substitute is None:
            return self._joined(value, x, "the identity")
        return self._joined(value, self.substitute(x), "the substitute") if torch.is_grad_enabled() else value

    def _joined(self, value: Tensor, stand_in: Tensor, who: str) -> Tensor:
        if value.shape != stand_in.shape:
            raise ConfigurationError(
                f"BPDA: expected the shape {tuple(value.shape)} of the operation from {who} too, got "
                f"{tuple(stand_in.shape)}; give a differentiable substitute= that returns what the operation returns"
            )
        joined: Tensor = _Joined.apply(stand_in, value)
        return joined


def declares_substitute(model: nn.Module) -> bool:
    """Returns whether a part of the model has a gradient that is declared to be another's."""
    return any(isinstance(module, BPDA) for module in model.modules())


class _Joined(torch.autograd.Function):
    """The value of one tensor with the history of another."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor) -> Tensor:
        return value.clone()  # a tensor of its own, so that the next layer may work in place on it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
