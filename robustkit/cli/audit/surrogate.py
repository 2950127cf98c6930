"""The model on which a transfer attack crafts, with its own mean and std, and measured: a bad one shows nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from robustkit.cli.audit.plan import Plan
from robustkit.cli.shared.model_and_data import ModelAndData, refuse_other_order
from robustkit.data.dataset import batches
from robustkit.data.labels import as_labels
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Surrogate:
    """The surrogate and what a reader must know about it."""

    classifier: Classifier
    told: str


def load_surrogate(plan: Plan, audited: ModelAndData) -> Surrogate | None:
    """Returns the surrogate with its clean accuracy on the audited data, None where none was asked for.

    Raises:
        ConfigurationError: If it cannot be loaded as named.
    """
    options = plan.surrogate_options
    if options is None:
        return None
    loaded = options.load_on(audited.dataset).in_eval_mode()
    refuse_other_order("--surrogate", loaded.classifier, audited.classifier)
    own = loaded.dataset.notes[len(audited.dataset.notes) :]
    accuracy = _clean_accuracy(loaded)
    return Surrogate(loaded.classifier, "; ".join([f"surrogate {options.model}: {accuracy}", *own]))


def _clean_accuracy(loaded: ModelAndData) -> str:
    """Returns the clean accuracy in words, and what to do where it is no better than a constant answer."""
    dataset, classifier = loaded.dataset, loaded.classifier
    if isinstance(dataset.source, Iterator):
        return "clean accuracy not measured, because the data can be read only once"
    right, labels = 0, Counter[int]()
    with classifier.frozen(), torch.no_grad():
        for batch in batches(dataset, loaded.batch_size):
            logits = classifier.logits(classifier.accept(batch.x))
            y = as_labels(batch.y, logits.shape[1])
            right += int((logits.argmax(1).cpu() == y).sum())
            labels.update(y.tolist())
    n = labels.total()
    text = f"clean accuracy {100 * right / n:.1f} % ({right} of {n})"
    if right > max(labels.values()):
        return text
    return (
        f"{text}, no better than always naming the most frequent class, so its transfer attack shows nothing; give"
        " --surrogate-weights, and --surrogate-mean and --surrogate-std as it was trained with"
    )
