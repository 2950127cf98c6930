"""Whether the clean accuracy is believable: the one that is known of the model, or at least better than a guess."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import between
from robustkit.checks.diagnostic import Diagnostic, diagnostic
from robustkit.checks.repairs import find_repair, other_preprocessing
from robustkit.data.dataset import Batch, Dataset, batches
from robustkit.data.labels import as_labels
from robustkit.data.sampling import indexed, sampled
from robustkit.maths.intervals import proportion, tail
from robustkit.model.classifier import Classifier

LOOKED_AT, BYTES = 512, 2**26  # samples on which a model is compared with a guess; fewer of large ones, 16 at least
PASS = 64  # of them at a time
LUCK = 0.01  # how often a guess may pass for a model
OTHERS = 10  # samples of other classes than the most frequent one, below which "always the same" cannot be told
GOOD = 0.9  # an accuracy above which only mean, std and the order of colours can be wrong
LIMIT = "better than always answering the most frequent class, and no usual mistake explains it"


def some_samples(data: Any, first: Batch) -> Batch:
    """Returns at most 512 samples from all over the data, or the `first` ones where these cannot be indexed."""
    dataset = data if isinstance(data, Dataset) else Dataset(name="data", source=data)
    count = min(LOOKED_AT, max(16, BYTES // max(1, first.x[0].nbytes)))
    return first.rows(0, count) if indexed(dataset) is None else next(batches(sampled(dataset, count), count))


def clean_accuracy(classifier: Classifier, x: Tensor, y: Tensor) -> Diagnostic:
    """Returns Q01: whether the model is better than a guess, and which usual mistake explains it if it is not.

    It fails in two cases. The accuracy is not significantly above the share of the most frequent class, nor above what
    predictions as frequent as these would agree with the labels by chance, although the samples are enough to see
    it: half-way between the guess and no mistake is ruled out, too. Or one of the usual mistakes explains most of the
    errors, so that undoing it makes the model significantly better.

    Args:
        classifier: Inside its `frozen()` context.
        x: Accepted inputs (N, ...), best from all over the data.
        y: Labels (N,) on the same device.
    """
    with torch.no_grad():
        logits = torch.cat([classifier.logits(part) for part in torch.split(x, PASS)])
        predicted = logits.argmax(1)
        right, n = int((predicted == y).sum()), len(y)
        look = (classifier, x, y, logits, PASS)
        repair, doubt = (find_repair(*look), "") if right <= GOOD * n else other_preprocessing(*look)
    seen = f"{right} of {n} samples ({100 * right / n:.1f} %) are correct"
    meant = f"if this accuracy is meant, give --expected-clean-accuracy {right / n:.3g}"
    if repair:
        message = f"{seen}, {100 * repair.accuracy:.1f} % {repair.change}: {repair.cure}; {meant}"
        return diagnostic("Q01", right / n, LIMIT, "fail", message)
    guess, status = _compared_with_a_guess(predicted, y, logits.shape[1])
    message = "; ".join(filter(None, (seen, guess, doubt)))
    if status == "fail":
        message += f"; {_untrained(classifier.module)}; {meant}"
    return diagnostic("Q01", right / n, LIMIT, status, message)


def _compared_with_a_guess(predicted: Tensor, y: Tensor, classes: int) -> tuple[str, Any]:
    """Returns in words how the predictions (N,) compare with guesses, and the status that follows."""
    right, n = int((predicted == y).sum()), len(y)
    labels, answers = (torch.bincount(each, minlength=classes).double() / n for each in (y, predicted))
    most = float(labels.max())
    if (1 - most) * n < OTHERS:  # hardly any other class: then it can only be told from a guess among all of them
        most, by_chance = 1 / classes, 1.0
        guess = f"a guess among {classes} classes would have {100 * most:.1f} % right"
    else:
        by_chance = float(labels @ answers)
        guess = f"always answering class {int(labels.argmax())} would have {100 * most:.1f} % right"
        if float(answers.max()) == 1:
            return f"it answers class {int(answers.argmax())} to every sample; {guess}", "fail"
    if tail(right, n, most) < LUCK:
        return guess, "pass"
    if tail(right, n, min(by_chance, 1.0)) < LUCK:
        return (
            f"{guess}, which is not clearly less; predictions follow the labels, but the classes are unequal",
            "remark",
        )
    if right < n and tail(n - right, n, (1 - most) / 2) < LUCK / 10:
        return f"{guess}, so the model is not better than a guess", "fail"
    return f"{guess}; too few samples to tell the model from a guess", "pass"


def _untrained(module: nn.Module) -> str:
    """Returns what to look at when no usual repair helps."""
    norms = [part.state_dict() for part in module.modules() if isinstance(part, _BatchNorm)]
    if norms and all("running_mean" in norm and not norm["running_mean"].any() for norm in norms):
        return "its BatchNorm layers have never seen a batch, so no trained weights were loaded: give --weights"
    return (
        "no other labels, mean and std, scale, order of channels or output repairs it: check that trained weights were "
        "loaded (--weights), and that the model was trained on these classes"
    )


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
    expected = between("evaluate", "expected_clean_accuracy, a fraction,", expected, "[0, 1]")
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
