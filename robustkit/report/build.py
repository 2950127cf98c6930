"""From an evaluation to the report: nothing is measured here, only named and put in its place."""

from __future__ import annotations

import datetime
import platform
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import robustkit
from robustkit.checkpoints import sha256, weights_sha256
from robustkit.classifier import Classifier
from robustkit.curve import Curve, Distances
from robustkit.evaluation import AttackRun, Evaluation
from robustkit.gallery import Example
from robustkit.groups import Groups, accuracy_by_slice, clustered_interval
from robustkit.report.document import (
    SCHEMA,
    AccuracyCurve,
    Artefact,
    AttackResult,
    Audit,
    CalibrationPair,
    ClassRow,
    CurvePoint,
    Data,
    Exhibit,
    Method,
    Nearest,
    Report,
    Scalar,
    SliceRow,
    Subject,
    ThreatModel,
    Verdict,
    WorstCase,
)
from robustkit.report.io import result_sha256
from robustkit.report.pictures import difference, picture
from robustkit.threat import Threat, eps_text, parse_eps

WHITE_BOX = "white-box: weights, architecture and defences are known"
ANY_ACCESS = "gradients, scores and labels; no limit on queries"
EXCLUDED = (
    "physical changes and patches",
    "changes of meaning such as rotation or weather",
    "poisoning of training data or model",
    "theft of the model and confidentiality of the data",
)


def build_audit(
    evaluation: Evaluation,
    classifier: Classifier,
    *,
    name: str,
    source: str | None = None,
    weights: str | Path | None = None,
    defences: Sequence[str] = (),
    limit: int | None = None,
    curve: Curve | None = None,
    distances: Distances | None = None,
    groups: Groups | None = None,
) -> Audit:
    """Returns everything the evaluation found about one model, as a report holds it.

    Args:
        evaluation: From `robustkit.evaluate`.
        classifier: The model that was evaluated.
        name: What to call it.
        source: Where it came from, as one would type it.
        weights: The weight file, to be hashed.
        defences: What was done to make it robust, one phrase each.
        limit: The limit that was given to `evaluate`, if any.
        curve: From `robustkit.curve.security_curve`, if it was run.
        distances: From `robustkit.curve.minimal_distances`, if it was run.
        groups: Slices and origins of the samples, from `robustkit.groups.read_groups`.
    """
    names = classifier.class_names or evaluation.dataset.class_names or ()
    if len(names) != evaluation.num_classes:
        names = tuple(map(str, range(evaluation.num_classes)))
    clean, seed = evaluation.clean_accuracy, evaluation.seed
    origins = groups.origins(evaluation.ledger) if groups else None
    return Audit(
        subject=_subject(classifier, evaluation, names, name, source, weights, defences),
        data=Data(
            name=evaluation.dataset.name,
            split=evaluation.dataset.split,
            selection=_selection(evaluation, limit),
            n=clean.n,
            input_shape=evaluation.input_shape,
            ids_sha256=evaluation.ids_sha256,
            sha256=evaluation.data_sha256,
            notes=(*evaluation.dataset.notes, *(groups.describe(evaluation.ledger) if groups else ())),
        ),
        threat=_threat(evaluation.threat, {run.attack.kind for run in evaluation.runs}),
        verdict=Verdict(requirement="none given", quality=evaluation.quality, coverage=_not_tested(evaluation)),
        method=Method(
            protocol=evaluation.protocol.label,
            fingerprint=evaluation.fingerprint,
            cascade=evaluation.protocol.cascade,
            changes=evaluation.protocol.changes,
            draws=evaluation.draws,
            early=evaluation.early,
            stopped=evaluation.stopped,
            planned=evaluation.planned,
            accelerated=evaluation.accelerated,
        ),
        clean=clean,
        attacks=tuple(_attack(evaluation, run) for run in evaluation.runs),
        worst_case=WorstCase(
            accuracy=evaluation.robust_accuracy,
            attack_success=evaluation.attack_success(),
            broken_by={run.label: evaluation.attack_success(run.label).k for run in evaluation.runs},
            stored=evaluation.robust_accuracy_stored,
            anytime=evaluation.anytime_interval,
            clustered=None if origins is None else clustered_interval(evaluation.ledger.robust, origins, seed),
        ),
        per_class=tuple(ClassRow(k, names[k], right, robust) for k, right, robust in evaluation.per_class()),
        calibration=CalibrationPair(
            clean=evaluation.calibration(),
            attacked=evaluation.calibration(attacked=True),
            attacked_made_by="for each sample the point with the largest margin against it among all attacks; "
            "an attack stops at the first wrong answer, and samples wrong from the start are left as they are",
        ),
        diagnostics=evaluation.diagnostics,
        gallery=tuple(e for example in evaluation.examples if (e := _exhibit(example, evaluation, names)) is not None),
        curve=None if curve is None else _curve(curve),
        nearest=None if distances is None else _nearest(distances),
        clean_clustered=None if origins is None else clustered_interval(evaluation.ledger.right, origins, seed),
        slices=tuple(SliceRow(*row) for row in accuracy_by_slice(evaluation.ledger, groups, seed)) if groups else (),
    )


def build_report(
    audits: Sequence[Audit],
    *,
    title: str,
    command: str | None = None,
    seed: int = 0,
    artefacts: Sequence[Artefact] = (),
) -> Report:
    """Returns the report over some audits, with the environment of this process.

    Args:
        audits: At least one.
        title: Its headline.
        command: The command line that repeats it.
        seed: Seed of the runs.
        artefacts: Files that belong to it.
    """
    return Report(
        schema=SCHEMA,
        id=str(uuid.uuid4()),
        title=title,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        tool=f"robustkit {robustkit.__version__}",
        command=command,
        seed=seed,
        environment=environment(),
        audits=tuple(audits),
        artefacts=tuple(artefacts),
        result_sha256=result_sha256(audits),
    )


def environment() -> dict[str, Scalar]:
    """Returns versions, hardware and the switches that can change a result."""
    cuda = torch.cuda.is_available()
    return {
        "robustkit": robustkit.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "foolbox": version("foolbox"),
        "platform": platform.platform(),
        "cuda": torch.version.cuda if cuda else None,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def _selection(evaluation: Evaluation, limit: int | None) -> str:
    n = len(evaluation.ledger)
    if not evaluation.early:
        return "all samples" if limit is None else f"the first {n} samples"
    of = "" if evaluation.planned is None else f" of {evaluation.planned}"
    return f"{n}{of} samples in random order" + (f"; {evaluation.stopped}" if evaluation.stopped else "")


def _not_tested(evaluation: Evaluation) -> tuple[str, ...]:
    kinds = {run.attack.kind for run in evaluation.runs}
    missing = [kind for kind in ("black-box", "transfer") if kind not in kinds]
    return (
        "other norms, and budgets other than those declared",
        *([f"{' and '.join(missing)} attacks"] if missing else []),
        "whatever the threat model excludes",
    )


def _curve(curve: Curve) -> AccuracyCurve:
    points = zip(curve.radii, curve.accuracy, strict=True)
    return AccuracyCurve(
        norm=curve.norm,
        protocol=curve.label,
        points=tuple(CurvePoint(eps_text(eps), parse_eps(eps), accuracy) for eps, accuracy in points),
    )


def _nearest(distances: Distances) -> Nearest:
    deciles = [distances.quantile(tenth / 10) for tenth in range(1, 10)]
    return Nearest(
        norm=distances.norm,
        attacks=distances.attacks,
        deciles=tuple(value if np.isfinite(value) else None for value in deciles),
    )


def _subject(
    classifier: Classifier,
    evaluation: Evaluation,
    names: tuple[str, ...],
    name: str,
    source: str | None,
    weights: str | Path | None,
    defences: Sequence[str],
) -> Subject:
    steps = [f"input expected in {classifier.bounds[0]:g}..{classifier.bounds[1]:g}"]
    for verb, constant in (("subtract", classifier.mean), ("divide by", classifier.std)):
        if constant is not None:
            values = ", ".join(f"{value:g}" for value in constant.flatten().tolist()[:4])
            steps.append(f"{verb} {values}{' ...' if constant.numel() > 4 else ''} (differentiable)")
    return Subject(
        name=name,
        source=source,
        architecture=type(classifier.model).__name__,
        parameters=sum(p.numel() for p in classifier.module.parameters()),
        weights_sha256=weights_sha256(classifier.module),
        weights_file_sha256=None if weights is None else sha256(weights),
        defences=tuple(defences),
        preprocess=tuple(steps),
        output=classifier.output,
        dtype=str(classifier.model_dtype).removeprefix("torch."),
        device=str(classifier.device),
        num_classes=evaluation.num_classes,
        class_names=names,
    )


def _threat(threat: Threat, kinds: set[str]) -> ThreatModel:
    blind = not kinds & {"white-box", "adapter"}  # nobody looked into the model, so nobody who can is spoken for
    own = " and a surrogate of their own" if "transfer" in kinds else ""
    return ThreatModel(
        goal="integrity, untargeted" if threat.target is None else f"integrity, targeted at class {threat.target}",
        knowledge=f"black-box: the scores of the model{own}" if blind else WHITE_BOX,
        access="scores and labels; as many queries as the attacks list" if blind else ANY_ACCESS,
        norm=threat.norm,
        eps=eps_text(threat.eps),
        eps_value=threat.radius,
        bounds=threat.bounds,
        target=threat.target,
        exclusions=EXCLUDED,
    )


def _attack(evaluation: Evaluation, run: AttackRun) -> AttackResult:
    steps = evaluation.ledger[f"{run.label}/steps"][evaluation.ledger[f"{run.label}/margin"] > 0]
    return AttackResult(
        name=run.label,
        implementation=f"{type(run.attack).__module__}.{type(run.attack).__name__}",
        source=run.attack.source,
        params=run.attack.settings(),
        seed=evaluation.seed,
        accuracy=evaluation.accuracy(run.label),
        attack_success=evaluation.attack_success(run.label),
        forwards=run.forwards,
        backwards=run.backwards,
        seconds=run.seconds,
        steps_to_break=float(np.median(steps)) if len(steps) else None,
        loss_path=run.loss_path,
        rechecked_changes=run.rechecked_changes,
        zero_gradient_rows=run.zero_gradients,
        nonfinite_gradient_rows=run.nonfinite_gradients,
    )


def _exhibit(example: Example, evaluation: Evaluation, names: tuple[str, ...]) -> Exhibit | None:
    bounds = evaluation.threat.bounds
    clean, adversarial = picture(example.x.numpy(), bounds), picture(example.x_adv.numpy(), bounds)
    change = difference(example.x.numpy(), example.x_adv.numpy(), bounds)
    if clean is None or adversarial is None or change is None:
        return None
    return Exhibit(
        id=example.id,
        label=names[example.label],
        attack=example.attack,
        clean_prediction=names[example.clean_prediction],
        clean_confidence=example.clean_confidence,
        adversarial_prediction=names[example.adversarial_prediction],
        adversarial_confidence=example.adversarial_confidence,
        norm=evaluation.threat.norm,
        distance=example.distance,
        gain=change[1],
        clean=clean,
        adversarial=adversarial,
        difference=change[0],
    )
