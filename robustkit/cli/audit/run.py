"""From the plan of an audit to its results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustkit.attacks import FMN, PGD, SigmaZero, Transfer
from robustkit.attacks.protocols import Protocol
from robustkit.attacks.radius import boundless
from robustkit.base.processes import ranks
from robustkit.cli.audit.plan import Plan
from robustkit.cli.audit.surrogate import load_surrogate
from robustkit.cli.shared import samples
from robustkit.cli.shared.model_and_data import ModelAndData
from robustkit.cli.shared.progress import Bar, progress, told
from robustkit.data.labels import names_of_classes
from robustkit.data.sampling import sampled
from robustkit.defenses import Ensemble
from robustkit.evaluation.curve import Curve, Distances, minimal_distances, security_curve
from robustkit.evaluation.ensemble_members import Transfer as Members
from robustkit.evaluation.ensemble_members import members_of
from robustkit.evaluation.result import Evaluation
from robustkit.evaluator import evaluate
from robustkit.maths.norms import COUNTED, SPARSE
from robustkit.report.requirements import measures
from robustkit.report.requirements.gates import check_names

MEMBER_SAMPLES = 500  # on which the members of an ensemble are looked at one by one


@dataclass(frozen=True)
class Results:
    """What an audit found.

    Attributes:
        loaded: The model with its data.
        evaluation: What every attack did to every sample.
        curve: The robust accuracy at other radii, if asked for.
        distances: The minimal adversarial perturbations, if asked for.
        members: What the members of an ensemble do by themselves; None in all processes but the first.
        surrogate: What a reader must know about the surrogate, if there is one.
        others: The same as `evaluation` under each further threat model.
    """

    loaded: ModelAndData
    evaluation: Evaluation
    curve: Curve | None = None
    distances: Distances | None = None
    members: Members | None = None
    surrogate: str | None = None
    others: tuple[Evaluation, ...] = ()


def run(plan: Plan) -> Results:
    """Loads, attacks and measures as planned."""
    loaded = plan.model.load().only(plan.samples, plan.seed).in_eval_mode()
    surrogate = load_surrogate(plan, loaded)
    threats = plan.every_threat_on(loaded)
    protocols = [plan.protocol_on(loaded, norm, eps) for norm, eps in threats]
    if surrogate:
        protocols = [
            protocol.plus(Transfer(surrogate=surrogate.classifier, norm=norm, eps=eps))
            for protocol, (norm, eps) in zip(protocols, threats, strict=True)
        ]
        loaded = loaded.with_note(surrogate.told)
    for protocol in protocols:
        _check_requirements(plan, loaded, protocol)
    protocol, *further = protocols
    silent = plan.quiet or not ranks().first
    with told(silent), progress(silent) as bar:
        evaluation = _evaluate(plan, loaded, protocol, bar, plan.parts_folder, plan.finished_folders)
        if plan.share:
            return Results(loaded, evaluation)
        # Where the run stopped early, the extras look at the same samples: the first ones of its random order.
        seen = dataclasses.replace(loaded, dataset=sampled(evaluation.dataset, first=len(evaluation.ledger)))
        kept = {"folder": plan.parts_folder, "finished": plan.finished_folders}
        common = {"batch_size": loaded.batch_size, "seed": plan.seed, **kept}
        return Results(
            loaded,
            evaluation,
            _curve(plan, seen, protocol, bar, common) if plan.curve else None,
            _distances(plan, seen, common) if plan.minimal else None,
            _members(plan, seen, bar, common) if isinstance(loaded.classifier.module, Ensemble) else None,
            surrogate.told if surrogate else None,
            tuple(_evaluate(plan, loaded, other, bar, None, []) for other in further),
        )


def _check_requirements(plan: Plan, loaded: ModelAndData, protocol: Protocol) -> None:
    """Raises ConfigurationError for what cannot be judged afterwards, before the work."""
    if plan.groups:
        plan.groups.check(loaded.dataset)
    if plan.requirements:
        slices = plan.groups.slices() if plan.groups else ()
        known = loaded.classifier.class_names, loaded.dataset.class_names
        classes = names_of_classes(loaded.count_classes(), *known)
        check_names(plan.requirements, measures.names(classes, protocol, slices, plan.curve or ()))


def _evaluate(
    plan: Plan, loaded: ModelAndData, protocol: Protocol, bar: Bar, folder: Path | None, finished: list[Path]
) -> Evaluation:
    return evaluate(
        loaded.classifier,
        loaded.dataset,
        protocol,
        batch_size=loaded.batch_size,
        seed=plan.seed,
        expected_clean_accuracy=plan.expected_clean_accuracy,
        until=plan.until,
        budget=plan.time_limit,
        progress=bar.evaluation(),
        evidence=not plan.no_evidence,
        shard=plan.share,
        folder=folder,
        finished=finished,
        probes=plan.probes,
        tuning=plan.model.load_tuning(plan.tuning),
    )


def _curve(plan: Plan, loaded: ModelAndData, protocol: Protocol, bar: Bar, common: dict[str, Any]) -> Curve:
    show = bar.evaluation("curve")
    return security_curve(loaded.classifier, loaded.dataset, protocol, plan.curve or (), progress=show, **common)


def _distances(plan: Plan, loaded: ModelAndData, common: dict[str, Any]) -> Distances:
    search, eps = SigmaZero if plan.norm in SPARSE else FMN, boundless(plan.radius_for(loaded))
    return minimal_distances(loaded.classifier, loaded.dataset, [search(norm=plan.norm, eps=eps)], **common)


def _members(plan: Plan, loaded: ModelAndData, bar: Bar, common: dict[str, Any]) -> Members | None:
    if not ranks().first or plan.norm in COUNTED:  # which PGD does not know
        return None
    eps = plan.radius_for(loaded)
    some = samples.read(sampled(loaded.dataset, MEMBER_SAMPLES, seed=plan.seed))
    return members_of(
        loaded.classifier,
        some.x,
        some.y,
        attacks=[PGD(norm=plan.norm, eps=eps, steps=20, loss=loss) for loss in ("ce", "margin")],
        progress=lambda done, total: bar.count("attack every member", done, total),
        **common,
    )
