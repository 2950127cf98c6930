"""For test suites: one assertion that a model is as robust as it has to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import Protocol, as_protocol, get_protocol
from robustkit.attacks.threat import Eps
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.settings import every, sizes
from robustkit.base.settings import path as known_path
from robustkit.checks.joining import join_classes
from robustkit.data.as_dataset import as_dataset
from robustkit.data.labels import names_of_classes
from robustkit.evaluation.class_count import count_classes
from robustkit.evaluator import evaluate
from robustkit.maths.norms import Norm
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.report.build import build_audit
from robustkit.report.compare.baseline import check_comparable, fallen, read_baseline
from robustkit.report.document.report import Audit
from robustkit.report.requirements.gates import Requirement, check_names, judged
from robustkit.report.requirements.measures import names

__all__ = ["assert_robust"]


def assert_robust(
    model: Classifier | nn.Module | Callable[[Tensor], Any],
    data: Any,
    *requirements: str,
    baseline: str | Path | None = None,
    eps: Eps = "8/255",
    norm: Norm = "Linf",
    attacks: Sequence[Attack] | Protocol | None = None,
    limit: int | None = None,
    first: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> Audit:
    """Attacks the model and returns the audit, if it meets every requirement.

    A requirement is judged as `robustkit gate` does: on the one-sided 95 % confidence bound of an accuracy and
    the end of the bootstrap interval of a calibration figure. What the samples cannot decide does not pass.

    Args:
        model: The model; a bare module takes inputs in 0..1 and returns class scores.
        data: As for `robustkit.evaluate`.
        requirements: Such as "robust_accuracy>=0.45" or "ece<=5%", at least one where there is no baseline.
        baseline: An earlier audit of the same samples by the same attacks, its folder or report.json: robust accuracy
            must not be significantly below its own (McNemar's test at 5 %). Or a JSON list of more requirements.
        eps: Perturbation radius of the protocol, in input units.
        norm: Norm of the protocol.
        attacks: Instead of the protocol "fast", with an eps and norm of their own.
        limit: Only so many samples, drawn with every class in proportion; see `robustkit.data.sampled`.
        first: Only the first so many samples instead.
        batch_size: Rows the model sees at once.
        seed: Seed of all random numbers.

    Raises:
        AssertionError: A requirement is not met, or undecided; the message has counts, bound and the sample size
            that would decide it. Or robust accuracy fell below the baseline's.
        InvalidEvaluation: The evaluation, or that of the baseline, is invalid or unreliable, whatever the numbers.
        ConfigurationError: A requirement cannot be read or names no figure of this audit, or the baseline is of other
            samples or attacks.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test, not ours
    classifier = as_classifier(model)
    batch_size, limit, seed = sizes("assert_robust", batch_size, limit, seed)
    every("assert_robust", "requirements", requirements, str)
    rules = [Requirement.parse(text) for text in requirements]
    mark = None if baseline is None else read_baseline(known_path("assert_robust", "baseline", baseline))
    if isinstance(mark, tuple):
        rules, mark = [*rules, *mark], None
    if not rules and mark is None:
        raise ConfigurationError(
            "assert_robust: expected a requirement, got none; such as 'robust_accuracy>=0.45', or give a baseline"
        )
    data = as_dataset(data, classifier.bounds)
    classes, data = count_classes("assert_robust", classifier, data), join_classes(classifier, data)
    fast = get_protocol("fast", norm=norm, eps=eps, classes=classes)
    protocol = fast if attacks is None else as_protocol(attacks, lambda: classes)
    named = names_of_classes(classes, classifier.class_names, data.class_names)
    check_names(rules, names(named, protocol))
    settings: Any = {"batch_size": batch_size, "limit": limit, "first": first, "seed": seed, "examples": 0}
    found = evaluate(classifier, data, protocol, **settings)
    audit = judged(build_audit(found, classifier, name=type(classifier.model).__name__), rules)
    _check_reliable(audit)
    missed = [f"{gate.rule} is {gate.status}: {gate.message}" for gate in audit.gates if gate.status != "met"]
    if mark is not None:
        check_comparable(mark.audit, audit)
        missed += [fall for fall in (fallen(mark.ledger, found.ledger),) if fall]
    if missed:
        about = f"{audit.subject.name}, {audit.data.n:,} samples, {audit.threat.norm} {audit.threat.eps}"
        raise AssertionError("\n  ".join([about, *missed]))
    return audit


def _check_reliable(audit: Audit) -> None:
    __tracebackhide__ = True
    if audit.verdict.quality in ("invalid", "unreliable"):
        failed = "; ".join(f"{item.id}: {item.message}" for item in audit.diagnostics if item.status == "fail")
        raise InvalidEvaluation(
            f"assert_robust: expected an evaluation to rely on, got {audit.verdict.quality}: {failed}"
        )
