"""Transfer learning: a trained network gets a new last layer, which may learn alone at first."""

from __future__ import annotations

from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.model.small_models import initial_weights


def head_of(module: nn.Module) -> str:
    """Returns the name of the last layer: the last linear layer, or the last convolution where there is none.

    Raises:
        ConfigurationError: If there is neither.
    """
    for kind in (nn.Linear, nn.Conv2d):
        names = [str(name) for name, part in module.named_modules() if isinstance(part, kind)]
        if names:
            return names[-1]
    raise ConfigurationError(
        f"head: expected a linear layer or a convolution at the end of {type(module).__name__}, got none; replace it"
        " yourself"
    )


def replace_head(module: nn.Module, num_classes: int, seed: int = 0) -> str:
    """Gives `module` a fresh last layer of `num_classes` outputs, in place, and returns its name.

    Args:
        module: A classifier whose last layer is linear or a convolution: all of torchvision's and timm's are.
        num_classes: Outputs of the new layer, at least 2.
        seed: Decides its weights.

    Raises:
        ConfigurationError: If there is no such layer or `num_classes` is below 2.
    """
    if num_classes < 2:
        raise ConfigurationError(f"head: expected 2 or more classes, got {num_classes}; correct it")
    name = head_of(module)
    old = module.get_submodule(name)
    fresh: nn.Module
    with initial_weights(seed):
        if isinstance(old, nn.Linear):
            fresh = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
        else:
            assert isinstance(old, nn.Conv2d)
            fresh = nn.Conv2d(old.in_channels, num_classes, old.kernel_size, old.stride, old.padding)  # type: ignore[arg-type]
    assert isinstance(old.weight, nn.Parameter)
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, fresh.to(old.weight.device, old.weight.dtype))
    if hasattr(module, "num_classes"):
        module.num_classes = num_classes  # type: ignore[assignment]
    return name


def train_only_head(module: nn.Module, only: bool, learnable: list[nn.Parameter]) -> None:
    """Lets the last layer alone learn, or everything in `learnable`; frozen layers keep their BatchNorm statistics."""
    head = set(map(id, module.get_submodule(head_of(module)).parameters())) if only else set()
    for parameter in learnable:
        parameter.requires_grad_(not only or id(parameter) in head)
    module.train()
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()
