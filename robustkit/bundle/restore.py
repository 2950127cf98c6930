"""An evaluation restored from its ledger: what the report states is taken over, what it derives is derived again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch

from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import Protocol
from robustkit.base.per_coordinate import PerCoordinate
from robustkit.base.settings import Scalar
from robustkit.data.dataset import Dataset
from robustkit.evaluation.attack_run import AttackRun, common_threat
from robustkit.evaluation.gallery import Example
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.result import Evaluation
from robustkit.maths.calibration import ClasswiseBins
from robustkit.model.classifier import Classifier
from robustkit.report.build import FROM, assemble
from robustkit.report.document.environment import environment
from robustkit.report.document.report import AttackResult, Audit
from robustkit.report.requirements.gates import Requirement, judged
from robustkit.report.requirements.measures import measures
from robustkit.report.threat_model import stated_radii


class _Named(Attack):
    """Stands for an attack that cannot be made again from its settings, such as one that carries a model along."""

    name = "unknown"
    source = "-"
    stated: AttackResult

    @property
    def label(self) -> str:
        """As the report has it."""
        return self.stated.name

    @property
    def steps_per_start(self) -> int:
        """As the settings have it."""
        return int(self.stated.params.get("steps") or 0)

    def settings(self) -> dict[str, Scalar]:
        """As the report has them."""
        return dict(self.stated.params)

    def start(self, problem: Any, rows: Any) -> Any:
        """Never called: nothing is attacked here."""
        raise NotImplementedError


class _Stated(ClasswiseBins):
    """The classwise error as the report states it: it needs all probabilities, which only the model can give."""

    def __init__(self, num_classes: int, stated: Any) -> None:
        super().__init__(num_classes, stated.bins)
        self.n = stated.n
        self.value = stated.classwise_ece.value

    def ece(self) -> float:
        """Returns what is stated."""
        return float(self.value)


def known_attacks() -> dict[str, type[Attack]]:
    """Returns every attack class of this process by its full name."""

    def below(kind: Any) -> Iterator[type[Attack]]:
        for sub in kind.__subclasses__():
            yield sub
            yield from below(sub)

    return {kind.implementation(): kind for kind in below(Attack) if not issubclass(kind, _Named)}


def restore_attack(stated: AttackResult, eps: PerCoordinate | None = None) -> Attack:
    """Returns the attack that a report describes, or what stands for it.

    Args:
        stated: The attack as the report has it.
        eps: The radii of its audit where they differ by coordinate, of which its settings only say which they are.
    """
    kind = known_attacks().get(stated.implementation)
    given = {**stated.params, "eps": eps} if eps and stated.params.get("eps") == str(eps) else stated.params
    if kind and (made := _made(kind, given, stated.params)):
        return made
    module, _, name = stated.implementation.rpartition(".")
    facts = {
        "__module__": module, "name": kind.name if kind else stated.name, "kind": kind.kind if kind else "unknown",
        "minimal": kind is None or kind.minimal, "source": kind.source if kind else stated.source, "stated": stated,
    }  # fmt: skip
    common = {f.name: given[f.name] for f in dataclasses.fields(Attack) if f.name in given}
    named: type[Attack] = type(name, (_Named,), facts)
    return named(**common)  # type: ignore[arg-type]


def _made(kind: type[Attack], given: dict[str, Any], params: dict[str, Scalar]) -> Attack | None:
    """Returns the attack made of what is `given`, if its settings are then those of the report."""
    try:
        settings = kind(**given).settings()
        # What was left open is stated as it was resolved, such as the step size of PGD.
        attack = kind(**{name: value for name, value in given.items() if settings[name] == params[name]})
        return attack if attack.settings() == params else None
    except Exception:
        return None


def restore(stated: Audit, ledger: Ledger, versions: dict[str, Scalar]) -> Evaluation:
    """Returns the evaluation behind an audit, with the ledger given instead of the one it had.

    Args:
        stated: The audit as the report has it.
        ledger: Its ledger.
        versions: Of what it was made with, as in `Report.environment`.

    Raises:
        RobustkitError: If the ledger or the statements make no evaluation.
    """
    method, threat, pair = stated.method, stated.threat, stated.calibration
    eps = stated_radii(threat)
    attacks = [restore_attack(result, eps) for result in stated.attacks]
    bare = Classifier(torch.nn.Identity(), bounds=threat.bounds_per_coordinate or threat.bounds)
    name = method.protocol.removesuffix(" (adapted)") if method.changes else method.protocol
    protocol = Protocol(name, tuple(attacks), method.changes, method.cascade)
    fingerprint = protocol.fingerprint(getattr(torch, stated.subject.dtype), versions)
    known = all(attack.kind != "unknown" for attack in attacks)
    settled = known and same_versions(versions, "robustkit")
    attacked = [ledger[f"{label}/prediction"] >= 0 for label in ledger.attacks]
    rounded = [ledger[f"{label}/stored_prediction"] >= 0 for label in ledger.attacks]
    return Evaluation(
        ledger=ledger,
        threat=common_threat(attacks, bare),
        protocol=protocol,
        fingerprint=fingerprint if settled else method.fingerprint,
        runs=tuple(
            AttackRun(
                attack, result.name, result.forwards, result.backwards, result.zero_gradient_rows,
                result.nonfinite_gradient_rows, result.seconds, result.rechecked_changes, result.loss_path,
            )
            for attack, result in zip(attacks, stated.attacks, strict=True)
        ),
        num_classes=stated.subject.num_classes,
        input_shape=stated.data.input_shape,
        dataset=Dataset(
            name=stated.data.name, source=(), split=stated.data.split, bounds=bare.bounds, notes=stated.data.notes,
            selection=_selection(stated),
        ),
        seed=pair.clean.seed,
        draws=method.draws,
        data_sha256=stated.data.sha256,
        found=stated.diagnostics,
        clean_bins=_Stated(stated.subject.num_classes, pair.clean),
        attacked_bins=_Stated(stated.subject.num_classes, pair.attacked),
        on_grid=stated.worst_case.stored is not None
        and all(bool(((~tried) | there).all()) for tried, there in zip(attacked, rounded, strict=True)),
        accelerated=method.accelerated,
        probe_seconds=method.probe_seconds or 0.0,
        early=method.early,
        stopped=method.stopped,
        planned=method.planned,
        examples=tuple(_examples(stated, ledger)),
    )  # fmt: skip


def _selection(stated: Audit) -> str | None:
    """Returns which samples of a larger set an audit says it looked at."""
    said = stated.data.selection
    return (said.partition(FROM)[2] if stated.method.early else said if said != "all samples" else None) or None


def _examples(stated: Audit, ledger: Ledger) -> Iterator[Example]:
    """Yields the samples of the gallery as the ledger has them, their inputs left blank."""
    places = {int(id): place for place, id in enumerate(ledger["id"])}
    blank = torch.full(stated.data.input_shape, stated.threat.bounds[0], device="cpu")
    for exhibit in (*stated.gallery, *stated.changed_rows):
        place = places[exhibit.id]
        by = int(ledger["worst_attack"][place])
        yield Example(
            id=exhibit.id,
            label=int(ledger["label"][place]),
            attack=ledger.attacks[by],
            x=blank,
            x_adv=blank,
            clean_prediction=int(ledger["clean_prediction"][place]),
            clean_confidence=float(ledger["clean_confidence"][place]),
            adversarial_prediction=int(ledger["worst_prediction"][place]),
            adversarial_confidence=float(ledger["worst_confidence"][place]),
            distance=float(ledger[f"{ledger.attacks[by]}/distance"][place]),
        )


_PICTURES = ("clean", "adversarial", "difference", "saliency", "saliency_adversarial", "gain")


def derive(stated: Audit, evaluation: Evaluation) -> Audit:
    """Returns the audit again, made by the code that made it, with everything in it that follows from the ledger.

    Only what no ledger can tell is as stated: the model, costs, the curve, groups, what was measured on the way, and
    pictures.
    """
    audit = assemble(
        evaluation,
        stated.subject,
        curve=stated.curve,
        nearest=stated.nearest,
        ensemble=stated.ensemble,
        whole=stated.data.whole,
        changes=stated.table.changes if stated.table else None,
    )
    pictured = zip(audit.gallery, stated.gallery, strict=True)
    audit = dataclasses.replace(
        audit,
        gallery=tuple(dataclasses.replace(a, **{name: getattr(b, name) for name in _PICTURES}) for a, b in pictured),
        changed_rows=tuple(
            dataclasses.replace(a, features=b.features, changed=b.changed)
            for a, b in zip(audit.changed_rows, stated.changed_rows, strict=True)
        ),
    )
    audit = dataclasses.replace(
        audit,
        worst_case=dataclasses.replace(audit.worst_case, clustered=stated.worst_case.clustered),
        clean_clustered=stated.clean_clustered,
        slices=stated.slices,
    )
    if before_names := stated.attacks[0].success_of_attacked is None:  # a report before 1.4
        unnamed = (dataclasses.replace(a, alone=None, remaining=None, success_of_attacked=None) for a in audit.attacks)
        audit = dataclasses.replace(audit, attacks=tuple(unnamed))
    if stated.gates:
        rules = [Requirement.parse(gate.rule) for gate in stated.gates]
        if before_names and not {rule.name for rule in rules} <= measures(audit).keys():
            # It was judged by the accuracy of a single attack in a cascade, which nobody had measured.
            verdict = dataclasses.replace(
                audit.verdict, requirement=stated.verdict.requirement, rule=stated.verdict.rule
            )
            audit = dataclasses.replace(audit, gates=stated.gates, verdict=verdict)
        else:
            audit = judged(audit, rules)
    if unknown_attacks(evaluation):  # what an attack is worth as an alarm depends on its kind
        verdict = dataclasses.replace(audit.verdict, quality=stated.verdict.quality, coverage=stated.verdict.coverage)
        audit = dataclasses.replace(audit, verdict=verdict, diagnostics=stated.diagnostics)
    return audit


def without_later_checks(derived: Audit, stated: Audit) -> Audit:
    """Returns a derived audit without the checks that the version which wrote the stated one did not have."""
    had = {check.id for check in stated.diagnostics}
    kept = tuple(check for check in derived.diagnostics if check.id in had or check.status != "not run")
    return dataclasses.replace(derived, diagnostics=kept)


def unknown_attacks(evaluation: Evaluation) -> list[str]:
    """Returns the labels of attacks whose class this process does not know."""
    return [run.label for run in evaluation.runs if run.attack.kind == "unknown"]


def repeatable(evaluation: Evaluation) -> tuple[Protocol, list[str]]:
    """Returns the protocol with the attacks that can be run again, and the labels of those that only stand for one."""
    left_out = [run.label for run in evaluation.runs if isinstance(run.attack, _Named)]
    attacks = tuple(run.attack for run in evaluation.runs if not isinstance(run.attack, _Named))
    return dataclasses.replace(evaluation.protocol, attacks=attacks), left_out


def measured_on_the_way(stated: Audit, evaluation: Evaluation) -> list[str]:
    """Returns the diagnostics that do not follow from the ledger but were measured during the evaluation."""
    derived = dataclasses.replace(evaluation, found=()).diagnostics
    follows = {item.id for item in derived if item.status != "not run"}
    return [d.id for d in stated.diagnostics if d.status != "not run" and d.id not in follows]


def same_versions(recorded: dict[str, Scalar], *names: str) -> bool:
    """Returns whether these packages had the versions then that they have here."""
    here = environment()
    return all(recorded.get(name) == here[name] for name in names)
