"""Does a model optimise or change itself during a forward pass? Then its gradient is misleading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from robustkit.checks.diagnostic import Diagnostic, diagnostic
from robustkit.model.classifier import Classifier
from robustkit.model.plain_tensor import plain

_DOORS: tuple[tuple[Any, str], ...] = (
    (torch.autograd, "grad"),
    (torch.autograd, "backward"),
    (torch.Tensor, "backward"),
)


def inner_optimisation(classifier: Classifier, x: Tensor) -> Diagnostic:
    """Returns Q22: whether a forward pass asks for gradients or changes parameters or buffers.

    Gradient calls are counted at the doors of autograd during one pass. A second pass in inference mode, where no
    gradient can be had, finds those that took another way in. Croce et al. 2022, arXiv 2202.13711, on why defenses that
    optimise at test time need attacks of their own.

    Args:
        classifier: Inside its `frozen()` context.
        x: Accepted inputs (N, ...); a few will do.
    """
    module = classifier.module
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    before = {name: tensor.detach().clone() for name, tensor in state.items()}
    with torch.enable_grad(), _watched() as calls:
        classifier.raw(x)
    asked = sum(calls) or _needs_gradients(classifier, x)
    changed = [name for name, old in before.items() if not _same(state[name], old)]
    grave = [name for name in changed if before[name].is_floating_point()]
    limit = "no gradient call and no changed weight in a forward pass"
    value = f"{int(asked)} gradient calls, {len(changed)} changed tensors"
    if asked:
        message = (
            "the model computes gradients in its forward pass: it optimises at test time, which attacks do not follow; "
            "use BPDA with that part as the identity, attack through the unrolled steps, or use Square"
        )
        return diagnostic("Q22", value, limit, "fail", message)
    if changed:
        message = f"a forward pass changes {', '.join(changed[:3])}{' and more' if len(changed) > 3 else ''}: "
        message += (
            "the model adapts at test time, so predictions depend on their order; freeze it"
            if grave
            else "probably a counter that no prediction depends on"
        )
        return diagnostic("Q22", value, limit, "fail" if grave else "remark", message)
    return diagnostic("Q22", value, limit, "pass", "a forward pass computes no gradient and changes nothing")


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Context in which every way into autograd adds a 1 to the list."""
    calls: list[int] = []
    originals = [(owner, name, getattr(owner, name)) for owner, name in _DOORS]

    def counted(original: Any) -> Any:
        def call(*arguments: Any, **settings: Any) -> Any:
            calls.append(1)
            return original(*arguments, **settings)

        return call

    try:
        for owner, name, original in originals:
            setattr(owner, name, counted(original))
        yield calls
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _needs_gradients(classifier: Classifier, x: Tensor) -> bool:
    """Whether the model, which has just answered, fails where no gradients are to be had."""
    try:
        with torch.inference_mode():
            classifier.raw(x[:2])
    except RuntimeError as error:
        return "grad" in str(error) or "inference" in str(error).lower()
    return False


def _same(now: Tensor, before: Tensor) -> bool:
    now, before = plain(now), plain(before)
    return now.shape == before.shape and bool(((now == before) | ((now != now) & (before != before))).all())
