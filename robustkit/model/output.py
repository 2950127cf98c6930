"""What a model returns: where in it the class scores are, what these mean, and how they become logits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from robustkit.base.errors import ConfigurationError

logger = logging.getLogger("robustkit")

Output = Literal["auto", "logits", "probabilities", "log_probabilities", "sigmoid", "binary_logit"]
OUTPUTS: tuple[Output, ...] = ("auto", "logits", "probabilities", "log_probabilities", "sigmoid", "binary_logit")
Select = str | int | Callable[[Any], Tensor]

_ROUNDING = 1e-2  # by which the sum of a row of probabilities may be off: the inputs of a sum in half precision are
_EXACT = 1e-3  # by which it may be off where nobody said that the rows are probabilities
_ROWS = 4  # fewer of them may look like something else by accident


def find_scores(output: Any, select: Select | None, classes: int | None = None) -> Any:
    """Returns the part of a model's output that holds the class scores, None where there is none or `select` has none.

    Args:
        output: What the model returned.
        select: Where they are, if that was said.
        classes: How many there should be, if that is known: it decides between several tensors.

    Raises:
        ConfigurationError: If several tensors could be meant.
    """
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
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    found = candidates(output)
    if isinstance(output, Sequence):
        return _chosen(found, classes, ordered=True) if found else _first_column(output)
    return _chosen(found, classes, ordered=False) if found and classes else None


def candidates(output: Any) -> dict[Any, Tensor]:
    """Returns the parts of a tuple, list or mapping that could be scores (N, K), by their number or key."""
    pairs = output.items() if isinstance(output, Mapping) else enumerate(output) if isinstance(output, Sequence) else ()
    return {key: part for key, part in pairs if isinstance(part, Tensor) and part.ndim == 2}


def _chosen(found: dict[Any, Tensor], classes: int | None, ordered: bool) -> Tensor:
    """Returns the tensor as wide as there are classes; of several that are equally wide in a sequence the first."""
    fitting = [part for part in found.values() if part.shape[1] == classes or (part.shape[1], classes) == (1, 2)]
    alike = fitting or [*found.values()]
    if len(alike) == 1 or (ordered and len({part.shape[1] for part in alike}) == 1):
        return alike[0]
    seen = ", ".join(f"{key!r} of shape {tuple(part.shape)}" for key, part in found.items())
    raise ConfigurationError(
        f"Classifier: the model returns several tensors that could be class scores: {seen}; "
        f"say which one with select= (--output-key), such as {[*found][-1]!r}"
    )


def _first_column(output: Sequence[Any]) -> Any:
    """Returns the first tensor (N,) of a sequence, else whatever is first, None if nothing is."""
    columns = [part for part in output if isinstance(part, Tensor) and part.ndim == 1]
    return next(iter([*columns, *output]), None)


def detect_output(scores: Tensor, ask: bool = True) -> Output:
    """Returns what rows of scores (N, K) are: "probabilities", "log_probabilities", "binary_logit" or "logits".

    "auto" means that they cannot tell: a few rows of logits may well lie in 0..1, as those of a fresh network do.

    Args:
        scores: What the model returned.
        ask: Whether four rows and more that could be either are an error.

    Raises:
        ConfigurationError: If they could as well be probabilities, each by itself, as logits.
    """
    scores = scores.detach().double()
    inside = _inside(scores)
    if scores.shape[1] == 1:
        if inside:
            raise ConfigurationError(
                "Classifier: one output column with values in 0..1 could be a probability or a logit; "
                "say output='probabilities' or output='binary_logit'"
            )
        return "binary_logit"
    if inside and _sums_to_one(scores, _ROUNDING):
        logger.warning("the model returns probabilities: attacks use their logarithm (say output='probabilities')")
        return "probabilities"
    if inside and not (ask and len(scores) >= _ROWS):
        return "auto"
    if inside:
        raise ConfigurationError(
            f"Classifier: {scores.shape[1]} output columns with values in 0..1 that do not add up to 1 could be "
            "sigmoids, one class against the rest each, or logits; say output='sigmoid' or output='logits' (--output)"
        )
    return "log_probabilities" if _are_logarithms(scores) else "logits"


def check_output(scores: Tensor, output: Output) -> None:
    """Looks whether rows of scores (N, K) can be what they are said to be, or were taken for.

    Raises:
        ConfigurationError: If they cannot.
    """
    scores = scores.detach().double()
    inside, several = _inside(scores), scores.shape[1] > 1
    seen = f"values from {float(scores.min()):.4g} to {float(scores.max()):.4g}"
    if output in ("probabilities", "sigmoid") and not inside:
        raise _other(output, f"values in 0..1, got {seen}", "logits")
    if output == "probabilities" and several and not _sums_to_one(scores, _ROUNDING):
        sums = scores.sum(1)
        raise _other(
            output, f"rows that add up to 1, got {float(sums.min()):.4g} to {float(sums.max()):.4g}", "sigmoid"
        )
    if output == "log_probabilities" and not _are_logarithms(scores):
        raise _other(output, f"rows whose exponentials add up to 1, got {seen}", "logits")
    if len(scores) < _ROWS or not inside:
        return
    if output in ("logits", "sigmoid") and several and _sums_to_one(scores, _EXACT):
        raise _other(output, "rows that do not add up to 1 in 0..1, as probabilities do", "probabilities")
    if output == "binary_logit" and bool((scores > 0).any()):
        raise _other(output, f"negative values, too, got {seen} in {len(scores)} rows", "probabilities")


def width_advice(got: int, expected: int) -> str:
    """Returns what it may mean that there are `got` columns where there should be `expected`."""
    if got == expected - 1:
        return (
            "one column fewer is what ordinal models (CORAL) return, a threshold between neighbouring classes each: "
            "return one score for each class; else correct num_classes, or select the right part of the output"
        )
    return "correct num_classes, or select the right part of the output"


def as_logits(scores: Tensor, output: Output) -> Tensor:
    """Returns logits (N, K) for scores (N, K) of a kind; those of a single column get one for class 0 beside it.

    Args:
        scores: What the model returned.
        output: Their kind. The logits of "sigmoid" are log(p / (1 - p)) for each class by itself.

    Raises:
        ConfigurationError: If a single column is expected, and there are more.
    """
    tiny, single = torch.finfo(scores.dtype).tiny, scores.shape[1] == 1
    if output == "binary_logit":
        if not single:
            raise ConfigurationError(
                f"Classifier: output 'binary_logit' expects one column, got {scores.shape[1]}; use 'logits'"
            )
        return torch.cat([torch.zeros_like(scores), scores], dim=1)
    if output == "probabilities":
        scores = torch.cat([1 - scores, scores], dim=1) if single else scores
        return scores.clamp(min=tiny).log()
    if output == "sigmoid":
        scores = scores.clamp(tiny, 1 - torch.finfo(scores.dtype).eps / 2)
        return scores.log() - torch.log1p(-scores)
    return scores


def as_probabilities(logits: Tensor, output: Output) -> Tensor:
    """Returns what the model believes (N, K): the softmax of its logits, or the sigmoids as they are.

    Rows of sigmoids do not add up to one: each is the probability of its class against the rest.
    """
    return logits.sigmoid() if output == "sigmoid" else logits.softmax(dim=1)


def _inside(scores: Tensor) -> bool:
    return bool(((scores >= 0) & (scores <= 1 + 1e-6)).all())


def _sums_to_one(scores: Tensor, tolerance: float) -> bool:
    return bool(((scores.sum(dim=1) - 1).abs() < tolerance).all())


def _are_logarithms(scores: Tensor) -> bool:
    near = torch.logsumexp(scores, dim=1).abs() < _ROUNDING
    return bool((scores <= 1e-6).all()) and bool(near.all())


def _other(output: Output, expected: str, likely: Output) -> ConfigurationError:
    return ConfigurationError(
        f"Classifier: output '{output}' expects {expected}; it seems to be '{likely}': say output='{likely}' (--output)"
    )
