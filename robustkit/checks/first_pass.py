"""The first samples a model is given: what it returns for them, or why it cannot take them."""

from __future__ import annotations

import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation, RobustkitError
from robustkit.model.classifier import Classifier
from robustkit.model.gradient import Tally

ROWS = 64  # samples that are looked at; the doctor's parts of 1 and 7 are chosen to divide them unevenly


def first_pass(classifier: Classifier, x: Tensor) -> Tensor:
    """Returns the logits of the first inputs.

    Raises:
        InvalidEvaluation: If the model does not take them, or what it returns is not one row of finite scores each.
    """
    try:
        logits = classifier.logits(x)
    except (RobustkitError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:  # may well be about the shape
        raise InvalidEvaluation(
            f"doctor: expected a model that takes inputs of shape {tuple(x.shape)}, got {type(error).__name__}: "
            f"{str(error).splitlines()[0][:160] if str(error) else 'no message'}; {_shape_advice(x)}"
        ) from error
    if len(logits) != len(x):
        raise InvalidEvaluation(
            f"doctor: expected one row of scores per input, got {len(logits)} rows for {len(x)} inputs; "
            "the model mixes the batch dimension with another; keep the batch in dimension 0"
        )
    if not bool(logits.isfinite().all()):
        row = int((~logits.isfinite()).any(dim=1).nonzero()[0])
        raise InvalidEvaluation(
            f"doctor: expected finite scores, got {logits[row].tolist()[:5]} for sample {row}; check the weights"
        )
    return logits


def count_outputs(classifier: Classifier, x: Tensor) -> int:
    """Returns how many outputs the model has, asking it about `x` if that is not known; no pass is counted.

    Raises:
        InvalidEvaluation: As `first_pass`, and if the inputs cannot be used.
    """
    if classifier.num_classes is not None:
        return classifier.num_classes
    counted, classifier.tally = classifier.tally, Tally()
    try:
        with classifier.frozen(), torch.no_grad():
            return first_pass(classifier, classifier.accept(x)).shape[1]
    finally:
        classifier.tally = counted


def _shape_advice(x: Tensor) -> str:
    if x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        return "the channels seem to be last: use x.permute(0, 3, 1, 2)"
    if x.ndim == 3:
        return "if these are images, the channel dimension is missing: use x.unsqueeze(1)"
    return "give the model inputs of the shape it was trained on"
