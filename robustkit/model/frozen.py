"""Borrowing a module without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Context in which `module` is in eval mode, its parameters are constants and gradients are enabled.

    cuDNN is switched off inside when the module holds a recurrent layer, because its RNN backward refuses eval
    mode (pytorch issue 5878). On leaving, also by an exception, everything is as it was: the mode of every
    sub-module, requires_grad and grad of every parameter, the value of every buffer and the global random state.
    The context also leaves `torch.no_grad` and `torch.inference_mode` for its duration.
    """
    modes = [(part, part.training) for part in module.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    owners = [(part, dict(part._buffers.items())) for part, _ in modes]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    devices = sorted({p.device.index for p, *_ in parameters if p.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=devices))
        if any(isinstance(part, nn.RNNBase) for part, _ in modes):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.callback(_restore, modes, parameters, owners, buffers)
        for part, _ in modes:
            part.training = False
        for parameter, *_ in parameters:
            parameter.requires_grad_(False)
        yield


def _restore(
    modes: list[tuple[nn.Module, bool]],
    parameters: list[tuple[nn.Parameter, bool, torch.Tensor | None]],
    owners: list[tuple[nn.Module, dict[str, torch.Tensor | None]]],
    buffers: list[tuple[torch.Tensor, torch.Tensor]],
) -> None:
    for part, training in modes:
        part.training = training
    for parameter, requires_grad, grad in parameters:
        parameter.requires_grad_(requires_grad)
        parameter.grad = grad
    for part, registered in owners:
        for name, buffer in registered.items():
            part._buffers[name] = buffer
    for buffer, value in buffers:
        buffer.data.copy_(value)  # through .data, because a backward pass of the user may be waiting for this buffer
