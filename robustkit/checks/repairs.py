"""The usual mistakes between a model and its data: which of them, undone, makes the model right?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from robustkit.checks.preprocessing_mistakes import Changed, other_colours, other_constants, other_inputs, own_constants
from robustkit.maths.intervals import tail
from robustkit.model.classifier import Classifier
from robustkit.model.normalization import normalized
from robustkit.model.output import candidates
from robustkit.model.unpacked import layout_taken

GAIN = 0.05  # of accuracy, the least that a repair has to bring
FITTED_GAIN = 0.1  # the same where it is fitted to the samples: their own mean also undoes an honest shift of the data
FITTED = 0.03  # of accuracy, by which a repair that is fitted to the samples has to be better than any other
LUCK = 1e-4  # how often one of them may seem to by chance; about thirty are tried
FEW = 1e-3  # the same for mean, std and colours alone, of which there are few
ORDERED = 0.5  # accuracy that another order of the labels has to reach: it fits whatever is systematic a little

Tried = tuple[str, str, Tensor]  # change, cure, and which samples are right then


@dataclass(frozen=True)
class Repair:
    """A mistake that explains the errors.

    Attributes:
        change: What was changed, such as "with the labels shifted by one".
        cure: What to do about it, with the option to type.
        accuracy: Of the repaired model, a fraction.
    """

    change: str
    cure: str
    accuracy: float


def find_repair(classifier: Classifier, x: Tensor, y: Tensor, logits: Tensor, rows: int) -> Repair | None:
    """Returns the repair with the highest accuracy, None where none makes the model significantly better.

    Each is compared with the model as it is by McNemar's exact test, and has to bring five points. What is fitted to
    these very samples, their own mean or order of labels, has to bring ten, and is the answer only if nothing else does
    nearly as well.

    Args:
        classifier: Inside its `frozen()` context.
        x: Accepted inputs (N, ...).
        y: Labels (N,).
        logits: What the model answers (N, K).
        rows: How many samples it sees at once.
    """
    now = logits.argmax(1) == y
    plain = _best(_judged(now, *tried) for tried in _tried(classifier, x, y, logits, rows))
    own = _right(own_constants(x), classifier, x, y, rows)
    fitted = _best((own and _judged(now, *own, least=FITTED_GAIN), _ordered(logits, y)))
    return fitted if fitted and (not plain or fitted.accuracy > plain.accuracy + FITTED) else plain


def other_preprocessing(
    classifier: Classifier, x: Tensor, y: Tensor, logits: Tensor, rows: int
) -> tuple[Repair | None, str]:
    """Returns what is to be said of mean, std and colours where a model is good; arguments as for `find_repair`.

    A model may hardly suffer from other constants than those it was trained with, or from BGR, and yet be attacked in
    another space. So whatever is significantly better is a repair, however little it brings, and constants that are as
    good are named.
    """
    now, found, doubt = logits.argmax(1) == y, [], ""
    for changed in (*other_constants(classifier, x), *other_colours(x)):
        if tried := _right(changed, classifier, x, y, rows):
            found.append(_judged(now, *tried, least=0.0, luck=FEW))
            right = int(tried[2].sum())
            if changed.settings and not doubt and right >= int(now.sum()) and not _identity(changed, classifier, x):
                doubt = f"as many ({right}) are correct {changed.change}: if the model was trained so, {changed.cure}"
    return _best(found), doubt


def _identity(changed: Changed, classifier: Classifier, x: Tensor) -> bool:
    """Whether constants do to inputs what those of the model do."""
    other = classifier.replace(**changed.settings)
    return normalized(x[:1], other.mean, other.std).equal(normalized(x[:1], classifier.mean, classifier.std))


def _best(found: Iterable[Repair | None]) -> Repair | None:
    return max(filter(None, found), key=lambda repair: repair.accuracy, default=None)


def _tried(classifier: Classifier, x: Tensor, y: Tensor, logits: Tensor, rows: int) -> Iterator[Tried]:
    """Yields what can be tried."""
    answers = logits.argmax(1)
    for offset, done, cure in ((1, "lowered", "subtract 1 from"), (-1, "raised", "add 1 to")):
        yield f"with all labels {done} by one", f"{cure} the labels of the data", answers + offset == y
    thresholds = "the outputs seem to be ordinal thresholds (CORAL, K-1 for K classes): return one score for each class"
    yield "with the number of positive outputs as the answer", thresholds, (logits > 0).sum(1) == y
    distances = "the scores seem to be distances or losses, the lowest being the answer: return -scores"
    yield "with the lowest score as the answer", distances, logits.argmin(1) == y
    yield from _other_outputs(classifier, x, y, rows)
    for changed in (*other_constants(classifier, x), *other_inputs(x, classifier.bounds)):
        if tried := _right(changed, classifier, x, y, rows):
            yield tried


def _right(changed: Changed, classifier: Classifier, x: Tensor, y: Tensor, rows: int) -> Tried | None:
    """Returns what a change of the input does, None where the model cannot take it."""
    if layout_taken(classifier.module) is not None:
        return None  # it would change the inputs that are passed on, too
    try:
        other = classifier.replace(**changed.settings, tally=classifier.tally)
        parts = [other.logits(changed.apply(part)).argmax(1) for part in torch.split(x, rows)]
    except Exception:  # whatever a stranger's module says to inputs of another shape
        return None
    return changed.change, changed.cure, torch.cat(parts) == y


def _other_outputs(classifier: Classifier, x: Tensor, y: Tensor, rows: int) -> Iterator[Tried]:
    """Yields the other tensors among what the model returns."""
    answers: dict[Any, list[Tensor]] = {}
    for part in torch.split(x, rows):
        output = classifier.raw(part)
        for key, scores in candidates(output).items():
            answers.setdefault(key, []).append(scores.argmax(1))
        if len(answers) < 2:
            return
    kind = "the key" if isinstance(output, Mapping) else "number"
    for key, found in answers.items():
        if sum(map(len, found)) == len(y) and key != classifier.select:
            yield f"with the output {kind} {key!r}", f"give --output-key {key} (select={key!r})", torch.cat(found) == y


def _judged(
    now: Tensor, change: str, cure: str, then: Tensor, least: float = GAIN, luck: float = LUCK
) -> Repair | None:
    gained, lost, n = int((then & ~now).sum()), int((now & ~then).sum()), len(now)
    if gained <= lost or gained - lost < least * n or tail(gained, gained + lost, 0.5) >= luck:
        return None
    return Repair(change, cure, float(then.double().mean()))


def _ordered(logits: Tensor, y: Tensor) -> Repair | None:
    """Returns the other order of the labels, found on one half of the samples and judged on the other."""
    answers, classes = logits.argmax(1), logits.shape[1]
    halves = torch.arange(len(y), device=y.device) % 2 == 0
    met = torch.zeros(classes, classes, dtype=torch.int64, device=y.device)
    met.index_put_((y[halves], answers[halves]), torch.ones_like(y[halves]), accumulate=True)
    output = linear_sum_assignment(met.cpu().numpy(), maximize=True)[1]
    label = torch.from_numpy(np.argsort(output)).to(y.device)[answers[~halves]]
    labels = sorted(set(y.tolist()))
    pairs = ", ".join(f"{mine} is output {output[mine]}" for mine in labels if output[mine] != mine)
    cure = (
        f"label {pairs[:160]}: give the class names in the order of the outputs (--class-names), or reorder the labels"
    )
    change, now, then = "with the labels in another order", answers[~halves] == y[~halves], label == y[~halves]
    found = _judged(now, change, cure, then, least=FITTED_GAIN)
    return found if found and found.accuracy >= ORDERED else None
