"""Requirements such as "robust_accuracy >= 0.45", judged on a confidence bound and never on the point estimate.

"At least" is met where the lower bound reaches the limit, not met where even the upper bound lies below it, and
undecided in between. The bounds of a share are one-sided 95 % Clopper-Pearson bounds; of calibration figures the ends
of their 95 % bootstrap intervals; of runs that could stop early those of the 95 % interval corrected for that.

Every requirement is judged by itself, and all of them must be met: for that claim no correction is needed (Berger
1982). Who looks for single classes or slices that fail looks many times; for these, p values with Holm's correction
over all of them stand beside the raw ones.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from robustkit.attacks.names import attack_name
from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode
from robustkit.maths.intervals import holm, tail
from robustkit.maths.sample_size import samples_to_decide
from robustkit.report.document.report import Audit, GateResult
from robustkit.report.requirements.measures import AFTER, FIGURES, Measure, measures
from robustkit.report.text import words

Answer = Literal["met", "not met", "undecided", "none given"]
EXIT = {
    "met": ExitCode.OK,
    "none given": ExitCode.OK,
    "not met": ExitCode.NOT_MET,
    "undecided": ExitCode.UNDECIDED,
}


@dataclass(frozen=True)
class Requirement:
    """A figure, a direction and a limit; `rule` is how reports write it."""

    name: str
    at_least: bool
    limit: float
    rule: str

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Returns what a text such as "robust_accuracy>=0.45" or "ece <= 5%" asks for.

        Raises:
            ConfigurationError: It has another form, or a share is held against a limit outside 0..1.
        """
        at = max(text.rfind(">="), text.rfind("<="))
        name, typed = text[:at].strip(), text[at + 2 :].strip()
        try:
            limit = float(typed.removesuffix("%")) / (100 if typed.endswith("%") else 1)
        except ValueError:
            limit = math.nan
        if at < 1 or not name or not math.isfinite(limit):
            raise ConfigurationError(
                f"--require: expected NAME>=LIMIT or NAME<=LIMIT, got {text!r}; for example robust_accuracy>=0.45"
            )
        if not name.startswith(FIGURES) and not 0 <= limit <= 1:
            raise ConfigurationError(
                f"--require: expected a limit from 0 to 1 for {name}, got {typed}; write 45% or 0.45"
            )
        return cls(name, text[at] == ">", limit, f"{name} {text[at : at + 2]} {typed}")


def check_names(requirements: Iterable[Requirement], known: Iterable[str]) -> None:
    """Raises ConfigurationError for the first requirement about a figure that is not `known`, naming what is."""
    known = tuple(known)
    for requirement in requirements:
        if requirement.name not in known:
            _refuse_unmeasured(requirement.name, known)
            near = difflib.get_close_matches(requirement.name, known, n=1)
            near += [name for name in known if name.startswith(requirement.name)]
            plain = ", ".join(name for name in known if "[" not in name)
            parts = f"accuracy[ATTACK], {AFTER}[ATTACK], *_accuracy[CLASS]"
            hint = f"did you mean '{near[0]}'?" if near else f"known: {plain}, and {parts}"
            raise ConfigurationError(f"--require: expected the name of a figure, got '{requirement.name}'; {hint}")


def _refuse_unmeasured(name: str, known: Sequence[str]) -> None:
    """Raises ConfigurationError where `name` is about an attack of a cascade that never attacked all samples."""
    figure, _, attack = name.removesuffix("]").partition("[")
    if figure in ("accuracy", "attack_success_rate") and (instead := f"{AFTER}[{attack}]") in known:
        raise ConfigurationError(
            f"--require: expected a figure that was measured, got '{name}': in a cascade {attack_name(attack)} attacks"
            f" only what earlier attacks did not break; require '{instead}' or 'robust_accuracy', or audit with"
            " --attack instead of --protocol, where every attack runs alone"
        )


def judge(audit: Audit, requirements: Sequence[Requirement]) -> tuple[GateResult, ...]:
    """Returns for every requirement whether the audit meets it.

    Raises:
        ConfigurationError: A requirement is about a figure this audit does not have.
    """
    found = measures(audit)
    check_names(requirements, found)
    about = [found[requirement.name] for requirement in requirements]
    results = [_judge(*pair) for pair in zip(requirements, about, strict=True)]
    many = [i for i, measure in enumerate(about) if measure.family and results[i].p_value is not None]
    for i, adjusted in zip(many, holm([results[i].p_value or 0.0 for i in many]), strict=True):
        results[i] = dataclasses.replace(results[i], p_holm=adjusted)
    return tuple(results)


def judged(audit: Audit, requirements: Sequence[Requirement]) -> Audit:
    """Returns the audit with the requirements' results and the verdict that follows from them.

    Raises:
        ConfigurationError: A requirement is about a figure this audit does not have.
    """
    gates = judge(audit, requirements)
    rule = " and ".join(gate.rule for gate in gates) or None
    verdict = dataclasses.replace(audit.verdict, requirement=answer(gates), rule=rule)
    return dataclasses.replace(audit, gates=gates, verdict=verdict)


def answer(gates: Sequence[GateResult]) -> Answer:
    """Returns the answer to all requirements together: one that is not met outweighs any that are undecided."""
    found = {gate.status for gate in gates}
    order: tuple[Answer, ...] = ("not met", "undecided", "met")
    return next((status for status in order if status in found), "none given")


def exit_code(audits: Iterable[Audit]) -> ExitCode:
    """Returns the code that outweighs the others: unreliable, then not met, then undecided, else ok."""
    codes = {
        ExitCode.UNRELIABLE if audit.verdict.quality in ("invalid", "unreliable") else EXIT[audit.verdict.requirement]
        for audit in audits
    }
    order = (ExitCode.UNRELIABLE, ExitCode.NOT_MET, ExitCode.UNDECIDED)
    return next((code for code in order if code in codes), ExitCode.OK)


def _judge(requirement: Requirement, measure: Measure) -> GateResult:
    rule, limit, at_least = requirement.rule, requirement.limit, requirement.at_least
    if measure.value is None:
        return GateResult(
            rule, "undecided", None, None, None, "not measured in this audit, or without a confidence interval"
        )
    value, low, high = measure.value, measure.low, measure.high
    good, bad = (low, high) if at_least else (high, low)
    met, failed = (low >= limit, high < limit) if at_least else (high <= limit, low > limit)
    say = _percent if measure.hits else words.decimal
    is_good = value >= limit if at_least else value <= limit
    said = f"{measure.hits} = {say(value)}" if measure.hits else say(value)
    p_value = None
    if measure.share is not None:
        k, n = measure.share.k, measure.share.n
        p_value = tail(k, n, limit) if at_least == is_good else tail(n - k, n, 1 - limit)
    if met or failed:
        bound = good if met else bad
        side = "at least" if at_least == met else "at most"
        said += f"; {side} {say(bound)} ({measure.basis})"
        return GateResult(rule, "met" if met else "not met", value, bound, None, said, p_value)
    needed = _needed(measure, value, limit, at_least)
    would = "no sample size would decide it" if needed is None else f"about {needed:,} samples would decide it"
    said += f"; between {say(low)} and {say(high)} ({measure.basis}); {would}"
    if measure.chance is not None and not at_least and limit < measure.chance:
        said += f"; at this sample size even a perfectly calibrated model shows {say(measure.chance)}"
    return GateResult(rule, "undecided", value, good, needed, said, p_value)


def _needed(measure: Measure, value: float, limit: float, at_least: bool) -> int | None:
    """Returns how many samples would decide; intervals other than of plain shares shrink like one over their root."""
    if value == limit:
        return None
    if measure.share is not None:
        return samples_to_decide(value, limit, at_least)
    end = measure.low if value > limit else measure.high
    return math.ceil(measure.n * ((end - value) / (limit - value)) ** 2)


def _percent(value: float | None) -> str:
    return words.percent(value)
