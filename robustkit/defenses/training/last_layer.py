"""Transfer learning: a trained network gets a new last layer, which may learn alone at first."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.settings import integer
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.small_models import initial_weights

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_SIDES = (224, 32, 28, 64, 8, 299)


def head_of(model: Classifier | nn.Module, example: Tensor | None = None, name: str | None = None) -> str:
    """Returns the name of the last layer: the linear layer or convolution whose output becomes the logits.

    One forward pass tells: of the layers that the logits depend on directly and that are as wide as these, it is the
    last one that ran. The order in which layers were declared says nothing.

    Args:
        model: A module, or the Classifier around it.
        example: At least one input (N, ...); by default inputs of usual sizes are tried.
        name: The caller's own choice, which is only checked.

    Raises:
        ConfigurationError: If there is no such layer, or no pass through the network with which to find it.
    """
    classifier = as_classifier(model)
    module = classifier.module
    layers: dict[str, nn.Module] = {str(n): part for n, part in module.named_modules() if isinstance(part, KINDS)}
    if name is not None:
        if name not in layers:
            raise ConfigurationError(f"head: expected the name of a layer, got {name!r}{suggest(name, layers)}")
        return name
    if not layers:
        raise ConfigurationError(
            f"head: expected a linear layer or a convolution at the end of {type(module).__name__}, got none; replace"
            " it yourself"
        )
    found = _layers_behind_the_logits(classifier, layers, example)
    if found:
        return found[-1]
    if len(layers) == 1:
        return next(iter(layers))
    why = "none that becomes the logits" if found == [] else f"no pass through {type(module).__name__} to find it with"
    raise ConfigurationError(
        f"head: expected a linear layer or a convolution whose output is the logits, got {why};"
        " name it (head=) or give an example input (example=)"
    )


def replace_head(
    model: Classifier | nn.Module,
    num_classes: int,
    seed: int = 0,
    example: Tensor | None = None,
    head: str | None = None,
) -> str:
    """Gives `model` a fresh last layer of `num_classes` outputs, in place, and returns its name.

    The new layer has the old one's settings. Where a pass through the network is possible, it is made, and the old
    layer comes back if the logits are not as many as they should be.

    Args:
        model: A network whose last layer is linear or a convolution, as in all of torchvision's and timm's; or the
            Classifier around it, which knows where in the output the logits are.
        num_classes: Outputs of the new layer, at least 2.
        seed: Decides its weights.
        example: As for `head_of`.
        head: Name of the layer to replace, found by default.

    Raises:
        ConfigurationError: If there is no such layer, it alone does not decide how many logits there are, or
            `num_classes` is below 2.
    """
    if num_classes < 2:
        raise ConfigurationError(f"head: expected 2 or more classes, got {num_classes}; correct it")
    num_classes = integer("head", "num_classes", num_classes, 2)
    classifier = as_classifier(model)
    module, name = classifier.module, head_of(classifier, example, head)
    old = module.get_submodule(name)
    fresh = _like(old, num_classes, seed)
    _exchange(module, old, fresh)
    got = _width(classifier, example)
    if got not in (None, num_classes):
        _exchange(module, fresh, old)
        raise ConfigurationError(
            f"head: expected {num_classes} logits with a new layer '{name}', got {got}; name the layer whose output is"
            " the logits (head=), or replace it yourself"
        )
    if isinstance(model, Classifier):
        model.num_classes = num_classes
    if hasattr(module, "num_classes"):
        module.num_classes = num_classes  # type: ignore[assignment]
    return name


def train_only_head(module: nn.Module, head: str | None, learnable: list[nn.Parameter]) -> None:
    """Lets the layer `head` alone learn, or everything in `learnable`; frozen layers keep their BatchNorm statistics.

    Args:
        module: The network.
        head: The name of the layer; None for everything.
        learnable: The parameters that may learn at all.
    """
    own = set() if head is None else set(map(id, module.get_submodule(head).parameters()))
    for parameter in learnable:
        parameter.requires_grad_(head is None or id(parameter) in own)
    module.train()
    for part in module.modules():
        parameters = list(part.parameters(recurse=False))
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def _layers_behind_the_logits(
    classifier: Classifier, layers: dict[str, nn.Module], example: Tensor | None
) -> list[str] | None:
    """Returns the layers whose output becomes the logits, in the order they ran; None where no pass is possible."""
    for x in _inputs(classifier.module, example):
        ran: list[tuple[str, Tensor]] = []

        def cut(name: str, ran: list[tuple[str, Tensor]] = ran) -> object:
            def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
                leaf = output.detach().requires_grad_()
                ran.append((name, leaf))
                return leaf.clone()  # so that what comes after may work in place

            return hook

        with ExitStack() as stack:
            for name, layer in layers.items():
                stack.callback(layer.register_forward_hook(cut(name)).remove)  # type: ignore[arg-type]
            logits = _logits(classifier, x)
        if logits is None:
            continue
        if not logits.requires_grad:
            return []
        grads = torch.autograd.grad(logits.sum(), [leaf for _, leaf in ran], allow_unused=True)
        classes = logits.shape[1]
        widths = {classes, 1} if classes == 2 else {classes}
        return [
            name
            for (name, _), grad in zip(ran, grads, strict=True)
            if grad is not None and layers[name].get_parameter("weight").shape[0] in widths
        ]
    return None


def _logits(classifier: Classifier, x: Tensor) -> Tensor | None:
    """Returns the logits for `x`, or None where the network does not take it; leaves no trace in the classifier."""
    asked = classifier.replace(output="logits", num_classes=None)
    asked.vanishes_at_edges = False
    try:
        with asked.frozen():
            return asked.logits(x)
    except Exception:  # whatever a network raises on inputs that it was not made for
        return None


def _width(classifier: Classifier, example: Tensor | None) -> int | None:
    """Returns how many logits there are; 0 where the network fails on an example that it should take."""
    for x in _inputs(classifier.module, example):
        if (logits := _logits(classifier, x)) is not None:
            return logits.shape[1]
    return None if example is None else 0


def _inputs(module: nn.Module, example: Tensor | None) -> Iterator[Tensor]:
    """Yields the example, or inputs of usual sizes for the first layers that could be the network's entrance."""
    if example is not None:
        yield example[:1]
        return
    device = next(module.parameters()).device
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    for channels in dict.fromkeys(part.in_channels for part in convolutions[:2]):
        for side in _SIDES:
            yield torch.zeros(1, channels, side, side, device=device)
    if not convolutions:
        for width in dict.fromkeys(part.in_features for part in module.modules() if isinstance(part, nn.Linear)):
            yield torch.zeros(1, width, device=device)


def _like(old: nn.Module, outputs: int, seed: int) -> nn.Module:
    """Returns an untrained layer with the settings of another one, but for the number of its outputs."""
    fresh, weight = copy.deepcopy(old), old.get_parameter("weight")
    groups = getattr(old, "groups", 1)
    if outputs % groups:
        raise ConfigurationError(
            f"head: expected a multiple of the {groups} groups of the last convolution, got {outputs} classes; replace"
            " it yourself"
        )
    setattr(fresh, "out_features" if isinstance(old, nn.Linear) else "out_channels", outputs)
    fresh.weight = nn.Parameter(torch.empty(outputs, *weight.shape[1:], device="cpu"))
    if old.bias is not None:
        fresh.bias = nn.Parameter(torch.empty(outputs, device="cpu"))
    with initial_weights(seed):
        fresh.reset_parameters()  # type: ignore[operator]
    return fresh.to(weight.device, weight.dtype)


def _exchange(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts one layer in the place of another, under all of its names."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if child is old:
                setattr(part, name, new)
