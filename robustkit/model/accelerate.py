"""A copy of a model that computes the same in less time, for the search; the model itself decides the outcome."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robustkit.model.classifier import Classifier

_TOLERANCE = 1e-4  # largest difference of a logit, as a share of the spread of its row


def faster(classifier: Classifier, x: Tensor) -> Classifier:
    """Returns a classifier with a faster copy of a convolutional model, or the same one where there is none.

    Batch norms are folded into the convolutions before them, where torch.fx can see which those are, and weights are
    stored channels last. On a CPU both together save about a quarter of a pass. The copy shares the tally. It is used
    only if its logits for `x` agree with the model's to 1e-4 of their spread, and not for random models, whose copy
    would draw other numbers.

    Args:
        classifier: Inside its `frozen()` context.
        x: A few clean inputs (N, C, H, W).
    """
    module = classifier.module
    convolutional = any(isinstance(part, nn.Conv2d) for part in module.modules())
    if classifier.draws > 1 or not convolutional or isinstance(module, torch.jit.ScriptModule):
        return classifier
    try:
        twin = copy.deepcopy(module).eval().requires_grad_(False)
        for conv, norm in _pairs(twin):
            before: Any = twin.get_submodule(conv)
            after: Any = twin.get_submodule(norm)
            twin.set_submodule(conv, fuse_conv_bn_eval(before, after))
            twin.set_submodule(norm, nn.Identity())
        found = classifier.replace(model=twin.to(memory_format=torch.channels_last), tally=classifier.tally)
        with torch.no_grad():
            expected, got = classifier.logits(x), found.logits(x)
    except (
        Exception,
        SystemExit,
    ):  # whatever a stranger's module does when it is copied or traced, the original is at hand
        return classifier
    spread = (expected.amax(dim=1) - expected.amin(dim=1)).clamp(min=1e-6)
    close = ((expected - got).abs().amax(dim=1) <= _TOLERANCE * spread).all()
    return found if bool(close) else classifier


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Returns the names of convolutions and the batch norms that alone read them; none where tracing fails."""
    try:
        nodes = list(torch.fx.symbolic_trace(module).graph.nodes)
    except (Exception, SystemExit):  # control flow that depends on data cannot be traced
        return []
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    parts = dict(module.named_modules())
    pairs = []
    for node in nodes:
        if node.op != "call_module" or not isinstance(parts[node.target], _BatchNorm):
            continue
        before = node.args[0]
        single = before.op == "call_module" and len(before.users) == 1 and calls[before.target] == 1
        tracked = parts[node.target].running_mean is not None and calls[node.target] == 1
        if single and tracked and isinstance(parts[before.target], nn.Conv1d | nn.Conv2d | nn.Conv3d):
            pairs.append((before.target, node.target))
    return pairs
