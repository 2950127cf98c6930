"""The input doctor: finds what is wrong with a model or its data before any attack is run."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.per_coordinate import by_coordinate, ends_on, overall
from robustkit.base.settings import integer
from robustkit.checks.clean_accuracy import LOOKED_AT, clean_accuracy, some_samples
from robustkit.checks.diagnostic import Diagnostic, check_name, diagnostic
from robustkit.checks.duplicates import Copies
from robustkit.checks.first_pass import ROWS, first_pass
from robustkit.checks.inner_optimization import inner_optimisation
from robustkit.checks.joining import join_classes
from robustkit.checks.loss_surface import smooth
from robustkit.data.dataset import Batch, batches
from robustkit.data.labels import as_labels
from robustkit.maths.losses import cross_entropy
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.range_edges import vanished
from robustkit.model.unpacked import layout_taken

MOST = 2000  # samples among which it looks for copies


def examine(
    classifier: Classifier, x: Tensor, y: Tensor, sample: Batch | None = None, expected: float | None = None
) -> tuple[Diagnostic, ...]:
    """Returns what the doctor found on the first samples (at most 64); nothing about the model is changed.

    Args:
        classifier: The model, wrapped.
        x: Inputs (N, ...) as the data set gives them.
        y: Labels in any form `as_labels` reads.
        sample: What the clean accuracy is judged on, best from all over the data; by default the same samples.
        expected: The clean accuracy that is expected, if any is; then it is not judged here.

    Raises:
        InvalidEvaluation: For input or output that would make every later number meaningless: range, dtype, shape,
            labels, predictions that depend on the batch. The message says what was seen, the likely cause and a fix.
    """
    classifier = as_classifier(classifier)
    inputs, labels = classifier.accept(x[:ROWS] if getattr(x, "ndim", 0) else x), as_labels(y)
    if len(x) != len(labels):
        raise InvalidEvaluation(
            f"doctor: expected one label per input, got {len(labels)} for {len(x)} inputs; give one each"
        )
    x, y = inputs, labels[:ROWS]
    was_training = [name or "the model" for name, part in classifier.module.named_modules() if part.training]
    with classifier.frozen(), torch.no_grad(), classifier.checked():
        accepted = classifier.accept(x)
        logits = first_pass(classifier, accepted)
        labels = _labels(y, logits).to(classifier.device)
        again = classifier.logits(accepted)
        repeat = _repeat(logits, again, classifier.draws)
        found = [
            _input(classifier, accepted),
            _mode(was_training),
            repeat,
            _output(classifier),
            _batches(classifier, accepted, logits) if repeat.status == "pass" else _unstable(),
            _gradients(classifier, accepted, labels),
            _scale(logits, classifier.model_dtype),
            inner_optimisation(classifier, accepted[:8]),
        ]
        if expected is None:
            some = Batch(x, y, y) if sample is None else sample
            parts = [classifier.accept(part) for part in torch.split(some.x, ROWS)]
            found.insert(0, clean_accuracy(classifier, torch.cat(parts), _labels(some.y, logits).to(classifier.device)))
    for item in found:
        if item.status == "fail" and item.id in ("Q02", "Q04"):
            raise InvalidEvaluation(f"doctor, {check_name(item.id)}: {item.message}")
    return tuple(found)


def checkup(
    classifier: Classifier, data: Any, tuning: Any = None, batch_size: int = 256, expected: float | None = None
) -> tuple[Diagnostic, ...]:
    """Returns every check that needs no attack: those of `examine`, the loss surface (Q18) and copies (Q23).

    Args:
        classifier: The model, wrapped.
        data: As for `robustkit.evaluate`; the first 2000 samples are checked, and read only once.
        tuning: What the model was trained or tuned on; see `robustkit.evaluate`.
        batch_size: Rows the model sees at once.
        expected: The clean accuracy that is expected, if any is; then it is not judged.

    Raises:
        InvalidEvaluation: As for `examine`.
    """
    classifier, batch_size = as_classifier(classifier), integer("checkup", "batch_size", batch_size)
    data = join_classes(classifier, data)
    stream, copies = batches(data, LOOKED_AT, MOST), Copies()
    head = next(stream)
    found = [*examine(classifier, head.x, head.y, some_samples(data, head), expected)]
    first = head.rows(0, ROWS)
    with classifier.frozen():
        x = classifier.accept(first.x)
        y = as_labels(first.y, classifier.classes(x[:1])).to(x.device)
        with torch.no_grad():
            right = classifier.logits(x).argmax(1) == y
        ids = first.ids.to(x.device)
        if bool(right.any()) and not any(item.id == "Q07" and item.value == "none" for item in found):
            found.append(smooth(classifier, x[right], y[right], ids[right], batch_size=batch_size))
        for batch in chain([head], stream):
            copies.add(classifier.accept(batch.x), batch)
        found.append(copies.diagnostic(classifier, tuning))
    return tuple(sorted(found, key=lambda item: item.id))


def _labels(y: Tensor, logits: Tensor) -> Tensor:
    """Returns class indices (N,); says what it may mean where they go one too far."""
    columns, labels = logits.shape[1], as_labels(y)
    if int(labels.max()) == columns:
        raise InvalidEvaluation(
            f"labels: expected 0..{columns - 1} for {columns} outputs, got {int(labels.min())}..{columns}; "
            + (
                "they seem to count from 1: subtract 1, or --class-map from-1"
                if int(labels.min()) > 0
                else "one output fewer than classes is what ordinal models (CORAL) return, thresholds between "
                "neighbouring classes: return one score for each class; or match data and model"
            )
        )
    return as_labels(y, columns)


def _input(classifier: Classifier, x: Tensor) -> Diagnostic:
    if by_coordinate(*classifier.bounds):
        text, limit = f"{float(x.min()):.4g}..{float(x.max()):.4g}", "within the range of each coordinate"
        return diagnostic("Q02", text, limit, "pass", "inputs are finite and within the range of their coordinate")
    low, high = overall(classifier.bounds)
    used = float(x.max() - x.min()) / (high - low)
    levels = (x - low) / (high - low) * 255
    on_grid = float(((levels - levels.round()).abs() < 1e-3).double().mean())
    text = f"{float(x.min()):.4g}..{float(x.max()):.4g}, {100 * on_grid:.0f} % on the 8-bit grid"
    limit = f"within {low:g}..{high:g}, using at least 2 % of it"
    if used < 0.02:
        message = f"inputs use only {float(x.min()):.4g}..{float(x.max()):.4g} of the declared {low:g}..{high:g}; "
        return diagnostic("Q02", text, limit, "fail", message + "were they scaled twice, or are the bounds wrong?")
    return diagnostic("Q02", text, limit, "pass", "inputs are finite and within the declared range")


def _mode(training: list[str]) -> Diagnostic:
    if not training:
        return diagnostic("Q03", "eval", "no module in training mode", "pass", "the model was in eval mode")
    message = (
        f"{len(training)} modules were in training mode (first: {training[0]}); audited in eval mode, then restored"
    )
    return diagnostic("Q03", "training", "no module in training mode", "remark", message)


def _repeat(logits: Tensor, again: Tensor, draws: int) -> Diagnostic:
    gap = float(((logits - again).abs().amax(dim=1) / _spread(logits)).max())
    if gap <= 1e-4:
        return diagnostic("Q05", gap, "relative logit gap <= 1e-4", "pass", "the model is deterministic")
    flips = int((logits.argmax(1) != again.argmax(1)).sum())
    seen = f"two passes over the same {len(logits)} samples differ by {gap:.2g} of the logit spread and flip {flips} "
    if draws > 1:
        message = f"{seen}predictions: the model is stochastic; each prediction is the mean of {draws} EOT samples"
        return diagnostic("Q05", gap, "relative logit gap <= 1e-4", "remark", message)
    message = (
        f"{seen}predictions: the model is stochastic, and attacks on a single EOT sample overestimate its robustness; "
        "average predictions over EOT samples (draws=16) and use EOT in the attacks (eot=16, or autoattack-rand)"
    )
    return diagnostic("Q05", gap, "relative logit gap <= 1e-4", "fail", message)


def _output(classifier: Classifier) -> Diagnostic:
    limit = "logits"
    if classifier.output == "probabilities":
        message = "the model returns probabilities; attacks use their logarithm, calibration uses the probabilities"
        return diagnostic("Q06", "probabilities", limit, "remark", message)
    if classifier.one_vs_rest:
        message = (
            "the model returns one probability for each class against the rest: attacks use their logits, the answer "
            "is the highest and its confidence that number; NLL and Brier score use them divided by their sum"
        )
        return diagnostic("Q06", "sigmoid", limit, "remark", message)
    return diagnostic("Q06", classifier.output.replace("_", " "), limit, "pass", "logits are available")


def _batches(classifier: Classifier, x: Tensor, logits: Tensor) -> Diagnostic:
    """Compares the batch with the same rows one by one, in batches of 7, and in reverse order."""
    alone = torch.cat([classifier.logits(x[i : i + 1]) for i in range(len(x))])
    sevens = torch.cat([classifier.logits(x[i : i + 7]) for i in range(0, len(x), 7)])
    reverse = classifier.logits(x.flip(0)).flip(0)
    spread = _spread(logits)
    gap = max(float(((other - logits).abs().amax(dim=1) / spread).max()) for other in (alone, sevens, reverse))
    clear = torch.diff(logits.topk(2, dim=1).values, dim=1).abs().squeeze(1) > 1e-3 * spread
    flips = max(int(((other.argmax(1) != logits.argmax(1)) & clear).sum()) for other in (alone, sevens, reverse))
    limit = "no clear prediction flips"
    if flips:
        message = (
            f"{flips} of {len(x)} predictions change with other batch sizes or orders; "
            "the model depends on batch composition (BatchNorm without running statistics, or a mean over dimension 0)"
        )
        return diagnostic("Q04", gap, limit, "fail", message)
    return diagnostic("Q04", gap, limit, "pass", "same predictions with other batch sizes and orders")


def _unstable() -> Diagnostic:
    return diagnostic("Q04", None, "no clear prediction flips", "not run", "not defined for a stochastic model")


def _gradients(classifier: Classifier, x: Tensor, y: Tensor) -> Diagnostic:
    tally = classifier.tally
    before = int(tally.zero_gradients), int(tally.nonfinite_gradients)
    limit = "no zero or NaN gradient; above 5 % the result is unreliable"
    try:
        classifier.vanishes_at_edges = _vanishes_at_edges(classifier, x[:8], y[:8])
        before = int(tally.zero_gradients), int(tally.nonfinite_gradients)
        classifier.gradient(x, y, cross_entropy)
    except (InvalidEvaluation, RuntimeError) as error:
        return diagnostic("Q07", "none", limit, "fail", str(error).splitlines()[0][:200])
    zero, bad = int(tally.zero_gradients) - before[0], int(tally.nonfinite_gradients) - before[1]
    found = gradient_diagnostic(zero, bad, len(x))
    if not classifier.vanishes_at_edges or found.status == "fail":
        return found
    message = (
        "gradients vanish at exactly the ends of the input range and nowhere else, as behind a clamp; attacks take "
        "them a hair inside, so the model is attacked as it would be without it"
    )
    return diagnostic("Q07", zero / len(x), limit, "remark", message)


def _vanishes_at_edges(classifier: Classifier, x: Tensor, y: Tensor) -> bool:
    """Returns whether gradients vanish at the ends of the range only, with a quarter of the entries put at each."""
    x, place = x.clone(), torch.arange(x[0].numel(), device=x.device).view(x.shape[1:]) * 7919 % 4
    if (layout := layout_taken(classifier.module)) is not None:
        place = torch.where(layout.fixed(x), -1, place)
    for end, bound in enumerate(ends_on(classifier.bounds, x)):
        there = torch.as_tensor(bound, dtype=x.dtype, device=x.device)
        x = torch.where((place == end) & there.isfinite(), there, x)
    classifier.vanishes_at_edges = False
    there = classifier.gradient(x, y, cross_entropy).grad
    classifier.vanishes_at_edges = True
    return vanished(x, there, classifier.gradient(x, y, cross_entropy).grad, classifier.bounds)


def _scale(logits: Tensor, dtype: torch.dtype) -> Diagnostic:
    """Returns Q21: whether the logits are too large for their floating-point precision."""
    step = float((torch.finfo(dtype).eps * logits.abs().amax(dim=1) / _spread(logits)).max())
    limit = "logits resolved to 1e-3 of their spread"
    if step <= 1e-3:
        return diagnostic("Q21", step, limit, "pass", "logits have enough precision for attacks")
    message = (
        f"logits as large as {float(logits.abs().max()):.3g} in {str(dtype).removeprefix('torch.')} resolve only about "
        f"{1 / step:.0f} values within their spread, so attacks see a step function; subtract the mean of the logits "
        "in the model, or compute in higher precision"
    )
    half = dtype in (torch.float16, torch.bfloat16)
    return diagnostic("Q21", step, limit, "remark" if half else "fail", message)


def gradient_diagnostic(zero: int, nonfinite: int, n: int) -> Diagnostic:
    """Returns Q07 for `zero` and `nonfinite` gradients among `n`."""
    limit = "no zero or NaN gradient; above 5 % the result is unreliable"
    if not zero + nonfinite:
        return diagnostic("Q07", 0.0, limit, "pass", "every input gradient is finite and not zero")
    share = (zero + nonfinite) / max(n, 1)
    message = (
        f"{zero} of {n} input gradients are zero and {nonfinite} contain NaN or infinity: part of the model "
        "(quantisation, saturation, a detached module) masks the gradient, and gradient attacks overestimate "
        "robustness; use BPDA for that part, or Square"
    )
    return diagnostic("Q07", share, limit, "fail" if share > 0.05 else "remark", message)


def _spread(logits: Tensor) -> Tensor:
    """Returns for every row the distance of its largest and smallest logit, at least 1e-6."""
    return (logits.amax(dim=1) - logits.amin(dim=1)).clamp(min=1e-6)
