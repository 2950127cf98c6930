"""What a model returns: where in it the class scores are, and what these mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError

logger = logging.getLogger("robustkit")

Output = Literal["auto", "logits", "probabilities", "log_probabilities", "binary_logit"]
OUTPUTS: tuple[Output, ...] = ("auto", "logits", "probabilities", "log_probabilities", "binary_logit")
Select = str | int | Callable[[Any], Tensor]


def find_scores(output: Any, select: Select | None) -> Any:
    """Returns the part of a model's output that holds the class scores, None where `select` names none."""
    if select is not None:
        if callable(select):
            return select(output)
        if isinstance(select, str) and not isinstance(output, Mapping):
            return getattr(output, select, None)
        try:
            return output[select]
        except (KeyError, IndexError, TypeError):
            return None
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "logits"):
        return output.logits
    if isinstance(output, Mapping):
        return output.get("logits")
    return output[0] if isinstance(output, Sequence) and output else None


def detect_output(scores: Tensor) -> Output:
    """Returns what rows of scores (N, K) are: "probabilities", "log_probabilities", "binary_logit" or "logits".

    Raises:
        ConfigurationError: If a single column could as well be a probability as a logit.
    """
    scores = scores.detach().double()
    inside = bool(((scores >= 0) & (scores <= 1 + 1e-6)).all())
    if scores.shape[1] == 1:
        if inside:
            raise ConfigurationError(
                "Classifier: one output column with values in 0..1 could be a probability or a logit; "
                "say output='probabilities' or output='binary_logit'"
            )
        return "binary_logit"
    if inside and bool(((scores.sum(dim=1) - 1).abs() < 1e-2).all()):
        logger.warning("the model returns probabilities: attacks use their logarithm (say output='probabilities')")
        return "probabilities"
    if bool((scores <= 1e-6).all()) and bool((torch.logsumexp(scores, dim=1).abs() < 1e-2).all()):
        return "log_probabilities"
    return "logits"
