"""From an evaluation to the report: nothing is measured here, only named and arranged."""

from __future__ import annotations

import dataclasses
import datetime
import re
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import NoneType

import numpy as np

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import every, flag, instance, path
from robustkit.base.settings import seed as known_seed
from robustkit.base.version import __version__
from robustkit.checks.joining import labelled
from robustkit.data.dataset import Dataset
from robustkit.data.labels import names_of_classes
from robustkit.data.whole import hash_whole as hash_of_all
from robustkit.evaluation.attack_run import AttackRun
from robustkit.evaluation.curve import Curve, Distances
from robustkit.evaluation.ensemble_members import Transfer
from robustkit.evaluation.record_changes import record_changes
from robustkit.evaluation.result import Evaluation
from robustkit.evaluation.slices import Groups, accuracy_by_slice, clustered_interval
from robustkit.model.classifier import Classifier
from robustkit.report.document.about import About
from robustkit.report.document.across import AcrossThreats
from robustkit.report.document.curve import curve_of, nearest_of
from robustkit.report.document.data import Whole
from robustkit.report.document.ensemble import ensemble_of
from robustkit.report.document.environment import build_subject, environment
from robustkit.report.document.io import result_sha256
from robustkit.report.document.ledger_summaries import confusion, margins, risk_coverage
from robustkit.report.document.report import (
    SCHEMA,
    AccuracyCurve,
    Artefact,
    AttackResult,
    Audit,
    CalibrationPair,
    ClassRow,
    Data,
    Ensemble,
    Method,
    Nearest,
    Report,
    SliceRow,
    Subject,
    Verdict,
    WorstCase,
)
from robustkit.report.document.table import Changes, changes_of, table_of
from robustkit.report.figures.feature_changes import changed_row
from robustkit.report.figures.pictures import gallery_item
from robustkit.report.threat_model import not_tested, threat_model

FROM = "; drawn from "  # parts the samples of a run that may stop early from those they were drawn from
NAMED = 10  # classes without samples that are named, of more the number is said


def build_audit(
    evaluation: Evaluation,
    classifier: Classifier,
    *,
    name: str,
    source: str | None = None,
    weights: str | Path | None = None,
    defences: Sequence[str] = (),
    curve: Curve | None = None,
    distances: Distances | None = None,
    members: Transfer | None = None,
    groups: Groups | None = None,
    limit: int | None = None,
    hash_whole: bool = True,
) -> Audit:
    """Returns everything the evaluation found about one model, as a report holds it.

    Args:
        evaluation: From `robustkit.evaluate`.
        classifier: The model that was evaluated.
        name: What to call it.
        source: Where it came from, as one would type it.
        weights: The weight file, to be hashed.
        defences: What was done to make it robust, one phrase each.
        curve: From `robustkit.evaluation.curve.security_curve`, if it was run.
        distances: From `robustkit.evaluation.curve.minimal_distances`, if it was run.
        members: From `robustkit.evaluation.ensemble_members.members_of`, where the model is an ensemble.
        groups: Slices and origins of the samples, from `robustkit.evaluation.slices.read_groups`.
        hash_whole: Read all data once that the samples were chosen from, and state their hash.
        limit: Deprecated and without effect: the evaluation knows which samples it looked at.
    """
    if limit is not None:
        told = "build_audit: limit has no effect, evaluation.dataset.selection replaces it"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
    instance("audit", "evaluation", evaluation, Evaluation)
    instance("audit", "classifier", classifier, Classifier)
    instance("audit", "name", name, str)
    instance("audit", "source", source, str, NoneType)
    every("audit", "defences", defences, str)
    flag("audit", "hash_whole", hash_whole)
    weights = None if weights is None else path("audit", "weights", weights)
    kinds = ((curve, Curve), (distances, Distances), (members, Transfer), (groups, Groups))
    for value, kind in kinds:
        instance("audit", kind.__name__.lower(), value, kind, NoneType)
    names = names_of_classes(evaluation.num_classes, classifier.class_names, evaluation.dataset.class_names)
    audit = assemble(
        evaluation,
        build_subject(classifier, names, name, source, weights, defences),
        curve=None if curve is None else curve_of(curve, evaluation),
        nearest=None if distances is None else nearest_of(distances, evaluation),
        ensemble=None if members is None else ensemble_of(members, classifier),
        whole=_whole(evaluation.dataset, names) if hash_whole else None,
        changes=_changes(evaluation, classifier, names),
    )
    audit = _grouped(audit, evaluation, groups) if groups else audit
    empty = [row.name for row in audit.per_class if not row.clean.n]
    if not empty:
        return audit
    more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
    note = f"classes without samples: {', '.join(empty[:NAMED])}{more}"
    return dataclasses.replace(audit, data=dataclasses.replace(audit.data, notes=(*audit.data.notes, note)))


def _whole(dataset: Dataset, names: Sequence[str]) -> Whole | None:
    """Returns what a report says of all data that samples were chosen from; `names` are those of the outputs."""
    found = None if dataset.whole is None else hash_of_all(labelled(dataset.whole, names))
    return None if found is None else Whole(*found)


def _grouped(audit: Audit, evaluation: Evaluation, groups: Groups) -> Audit:
    """Returns the audit with accuracy by slice, and intervals that account for samples of one origin."""
    ledger, seed = evaluation.ledger, evaluation.seed
    origins = groups.origins(ledger)
    clean, robust = (
        None if origins is None else clustered_interval(hits, origins, seed) for hits in (ledger.right, ledger.robust)
    )
    return dataclasses.replace(
        audit,
        data=dataclasses.replace(audit.data, notes=(*audit.data.notes, *groups.describe(ledger))),
        worst_case=dataclasses.replace(audit.worst_case, clustered=robust),
        clean_clustered=clean,
        slices=tuple(SliceRow(*row) for row in accuracy_by_slice(ledger, groups, seed)),
    )


def assemble(
    evaluation: Evaluation,
    subject: Subject,
    *,
    curve: AccuracyCurve | None = None,
    nearest: Nearest | None = None,
    ensemble: Ensemble | None = None,
    whole: Whole | None = None,
    changes: Changes | None = None,
) -> Audit:
    """Returns what is found in the evaluation about a model that is described already; arguments as there."""
    names, features, threat = subject.class_names, evaluation.dataset.feature_names, evaluation.threat
    kinds = {run.attack.kind for run in evaluation.runs}
    clean = evaluation.clean_accuracy
    return Audit(
        subject=subject,
        data=Data(
            name=evaluation.dataset.name,
            split=evaluation.dataset.split,
            selection=_selection(evaluation),
            n=clean.n,
            input_shape=evaluation.input_shape,
            ids_sha256=evaluation.ids_sha256,
            sha256=evaluation.data_sha256,
            notes=evaluation.dataset.notes,
            whole=whole,
        ),
        threat=threat_model(evaluation.threat, kinds),
        verdict=Verdict(requirement="none given", quality=evaluation.quality, coverage=not_tested(kinds)),
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
            probe_seconds=evaluation.probe_seconds or None,
        ),
        clean=clean,
        attacks=tuple(_attack(evaluation, run) for run in evaluation.runs),
        worst_case=WorstCase(
            accuracy=evaluation.robust_accuracy,
            attack_success=evaluation.attack_success(),
            broken_by={run.label: evaluation.attack_success(run.label).k for run in evaluation.runs},
            stored=evaluation.robust_accuracy_stored,
            anytime=evaluation.anytime_interval,
        ),
        per_class=tuple(ClassRow(k, names[k], right, robust) for k, right, robust in evaluation.per_class()),
        calibration=CalibrationPair(
            clean=evaluation.calibration(),
            attacked=evaluation.calibration(attacked=True),
            attacked_made_by="for each sample, the point with the smallest logit margin over all attacks; an "
            "attack stops at the first wrong prediction, and initially misclassified samples are left unchanged",
        ),
        diagnostics=evaluation.diagnostics,
        gallery=tuple(filter(None, (gallery_item(one, names, threat) for one in evaluation.examples))),
        changed_rows=tuple(filter(None, (changed_row(one, names, threat, features) for one in evaluation.examples))),
        curve=curve,
        nearest=nearest,
        confusion=confusion(evaluation.ledger, names),
        margins=margins(evaluation.ledger),
        risk_coverage=risk_coverage(evaluation.ledger),
        ensemble=ensemble,
        table=table_of(evaluation, changes),
    )


def _changes(evaluation: Evaluation, classifier: Classifier, names: Sequence[str]) -> Changes | None:
    """Returns what breaks the records of a table, where the points were kept."""
    found = record_changes(evaluation, classifier)
    if found is None or evaluation.threat.schema is None:
        return None
    labels = dict(zip(evaluation.ledger["id"].tolist(), evaluation.ledger["label"].tolist(), strict=True))
    return changes_of(found, evaluation.threat.schema, names, [labels[id] for id in found.ids.tolist()])


def build_report(
    audits: Sequence[Audit],
    *,
    title: str,
    command: str | None = None,
    seed: int = 0,
    artefacts: Sequence[Artefact] = (),
    about: About | None = None,
    across: AcrossThreats | None = None,
) -> Report:
    """Returns the report over some audits, with the environment of this process.

    Args:
        audits: At least one.
        title: Its headline.
        command: The command line that repeats it.
        seed: Seed of the runs.
        artefacts: Files that belong to it.
        about: What the people concerned say about the model and the audit; see `robustkit.report.document.about`.
        across: The worst case over the threat models of the audits.
    """
    every("report", "audits", audits, Audit)
    if not audits:
        raise ConfigurationError("report: expected one or more audits, got none; see build_audit")
    instance("report", "title", title, str)
    instance("report", "command", command, str, NoneType)
    every("report", "artefacts", artefacts, Artefact)
    instance("report", "about", about, About, NoneType)
    instance("report", "across", across, AcrossThreats, NoneType)
    seed = known_seed("report", seed)
    return Report(
        schema=SCHEMA,
        id=str(uuid.uuid4()),
        title=title,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        tool=f"robustkit {__version__}",
        command=command,
        seed=seed,
        environment=environment(),
        audits=tuple(audits),
        artefacts=tuple(artefacts),
        result_sha256=result_sha256(audits),
        about=about,
        across=across,
    )


def _selection(evaluation: Evaluation) -> str:
    n, selection = len(evaluation.ledger), evaluation.dataset.selection
    if not evaluation.early:
        # The count that was asked for is replaced by that of the samples there were.
        return "all samples" if selection is None else re.sub(r"\d+", str(n), selection, count=1)
    of = "" if evaluation.planned is None else f" of {evaluation.planned}"
    stopped = f"; {evaluation.stopped}" if evaluation.stopped else ""
    return f"{n}{of} samples in random order{stopped}" + (f"{FROM}{selection}" if selection else "")


def _attack(evaluation: Evaluation, run: AttackRun) -> AttackResult:
    steps = evaluation.ledger[f"{run.label}/steps"][evaluation.ledger[f"{run.label}/margin"] > 0]
    return AttackResult(
        name=run.label,
        implementation=run.attack.implementation(),
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
        alone=evaluation.alone(run.label),
        remaining=evaluation.remaining(run.label),
        success_of_attacked=evaluation.success_of_attacked(run.label),
    )
