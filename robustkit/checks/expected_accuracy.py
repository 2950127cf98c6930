"""Whether the clean accuracy is the one that is known of the model."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.checks.diagnostic import Diagnostic, diagnostic
from robustkit.data.dataset import Dataset, batches
from robustkit.data.labels import as_labels
from robustkit.maths.intervals import proportion
from robustkit.model.classifier import Classifier


def expect_clean_accuracy(
    classifier: Classifier, dataset: Dataset, batch_size: int, expected: float | None
) -> list[Diagnostic]:
    """Returns Q01, the expected clean accuracy; nothing where none is expected.

    Args:
        classifier: The model.
        dataset: The samples, readable twice.
        batch_size: Rows the model sees at once.
        expected: The accuracy, a fraction in 0..1, that must lie in the 95 % Clopper-Pearson interval.

    Raises:
        ConfigurationError: If `expected` is no fraction, or the data can be read only once.
        InvalidEvaluation: If the accuracy is another one.
    """
    if expected is None:
        return []
    if not 0 <= expected <= 1:
        raise ConfigurationError(f"evaluate: expected a clean accuracy as a fraction in 0..1, got {expected}")
    if isinstance(dataset.source, Iterator):
        raise ConfigurationError(
            "evaluate: expected_clean_accuracy needs data that can be read twice, got an iterator; "
            "give a list, a data set or a loader"
        )
    right = n = 0
    with classifier.frozen(), torch.no_grad():
        for batch in batches(dataset, batch_size):
            logits = classifier.logits(classifier.accept(batch.x))
            y = as_labels(batch.y, logits.shape[1]).to(logits.device)
            right, n = right + int((logits.argmax(1) == y).sum()), n + len(y)
    low, high = proportion(right, n).clopper_pearson
    if not low <= expected <= high:
        raise InvalidEvaluation(
            f"evaluate: expected clean accuracy {100 * expected:.2f} %, got {right} of {n} = {100 * right / n:.2f} %"
            f" (95 % interval {100 * low:.1f}-{100 * high:.1f}); check mean, std, class order and checkpoint"
        )
    limits = f"{expected:.4f} inside the 95 % interval"
    return [diagnostic("Q01", right / n, limits, "pass", f"{right} of {n} right, as expected")]
