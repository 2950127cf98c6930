"""What the views say in words; one place, so that every view says the same."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from robustkit.attacks.names import STANDARD, attack_name, kind, strength
from robustkit.checks.diagnostic import check_name
from robustkit.report.document.about import About
from robustkit.report.document.report import Audit, ClassRow, Report, SliceRow, ThreatModel
from robustkit.report.text.per_coordinate import each_its_own, of_one_input
from robustkit.report.text.trust import on_trust
from robustkit.report.text.words import EMPTY, interval, percent, shorten


def is_image(shape: Sequence[int]) -> bool:
    """Returns whether an input of this shape is a grey or colour image."""
    return len(shape) == 3 and shape[0] in (1, 3)


def noun(audit: Audit) -> str:
    """Returns what one sample is called, in the plural."""
    return "images" if is_image(audit.data.input_shape) else "samples"


def perturbation(audit: Audit) -> str:
    """Returns in plain words what the attacker may do to an input."""
    threat, shape = audit.threat, audit.data.input_shape
    one, values, whole = ("pixel", "pixel values", "image") if is_image(shape) else ("input value", "values", "input")
    low, high = (f"{bound:g}" for bound in threat.bounds)
    ways = {
        "Linf": f"each {one} by at most {threat.eps}",
        "L2": f"the {whole} by at most {threat.eps} in the L2 norm (the length of the change)",
        "L1": f"the {whole} by at most {threat.eps} in the L1 norm (the sum of all changes)",
        "L0": f"at most {threat.eps} of the {math.prod(shape):,} {values}, however far",
        "L0-pixels": f"at most {threat.eps} pixels, all channels however far",
        "patch": f"the pixels of one square of {threat.eps} by {threat.eps}, anywhere, however far",
    }
    change = ways.get(threat.norm, f"the {whole} by at most {threat.eps} in the {threat.norm} norm")
    if threat.eps_per_coordinate is not None:
        change = each_its_own(threat.norm, threat.eps_per_coordinate, (one, values, whole), math.prod(shape))
    if threat.layout is not None:
        change = of_one_input(change, ways, threat)
    own = ", each within a range of its own" if threat.bounds_per_coordinate is not None else ""
    return f"{change}; {values} range from {low} to {high}{own}"


def attacker(threat: ThreatModel, class_names: Sequence[str]) -> str:
    """Returns in plain words who attacks and to what end."""
    who = "an attacker who knows the model"
    if "white" not in threat.knowledge.lower():
        kind, _, seen = threat.knowledge.partition(": ")
        who = f"an attacker who knows only {seen}" if seen else f"an attacker with {kind} knowledge of the model"
    if threat.target is not None:
        named = 0 <= threat.target < len(class_names)
        goal = shorten(class_names[threat.target], 60) if named else f"class {threat.target}"
        return f"{who} and wants the prediction \N{LEFT DOUBLE QUOTATION MARK}{goal}\N{RIGHT DOUBLE QUOTATION MARK}"
    if "targeted" in threat.goal.lower().replace("untargeted", ""):
        return f"{who} and wants a chosen wrong prediction"
    return who


def plain_sentence(audit: Audit) -> str:
    """Returns the result for a reader who has never heard of attacks on models."""
    share, split, doubt = audit.worst_case.accuracy, audit.data.split, doubtful(audit)
    which = f"{split} {noun(audit)}" if split else noun(audit)
    kept = "are still classified correctly"
    if audit.threat.target is not None or attacker(audit.threat, ()).endswith("wrong prediction"):
        kept = "withstand every attack"
    return (
        f"Of the {share.n:,} {which}, {percent(share.value)} "
        f"({100 * share.level:g}\N{NO-BREAK SPACE}% interval {interval(share)}) {kept} when "
        f"{attacker(audit.threat, audit.subject.class_names)} may change {perturbation(audit)}. "
        + (f"This number is {doubt}." if doubt else "This is an upper bound: a stronger attack can only lower it.")
    )


def method(audit: Audit) -> str:
    """Returns how the attacks were chosen and what makes a sample correct in the worst case."""
    how, worst = audit.method, audit.worst_case
    said = ["A sample counts as correct in the worst case only if it is classified correctly under every attack."]
    if how.protocol != "custom":
        said.append(f"Protocol: {how.protocol}, fingerprint {how.fingerprint}.")
    if how.changes:
        said.append(f"Differences from the published protocol: {'; '.join(how.changes)}.")
    if how.cascade:
        said.append(
            "Each attack runs only on samples that no earlier attack broke: the accuracy after an attack counts what "
            "it and those before it broke. Only that of the first attack is its own."
        )
    if near := [attack_name(attack.name) for attack in audit.attacks if attack.params.get("close") is not None]:
        said.append(f"On near-boundary samples only: {', '.join(shorten(name, 60) for name in near)}.")
    if how.draws > 1:
        said.append(f"The model is stochastic: each prediction is the mean of {how.draws} EOT samples.")
    if worst.anytime is not None:
        low, high = worst.anytime
        said.append(
            "The run was allowed to stop early. Corrected for optional stopping, the interval of the robust accuracy "
            f"is {100 * low:.1f}{EMPTY}{100 * high:.1f}\N{NO-BREAK SPACE}%."
        )
    if worst.clustered is not None:
        low, high = worst.clustered
        said.append(
            f"Some samples share an origin. The interval of the robust accuracy that accounts for this is "
            f"{100 * low:.1f}{EMPTY}{100 * high:.1f}\N{NO-BREAK SPACE}%."
        )
    if how.stopped:
        left = "" if how.planned is None else f" ({how.planned - worst.accuracy.n:,} samples were not evaluated)"
        said.append(f"It stopped because {how.stopped}{left}.")
    if worst.stored is not None:
        said.append(
            f"Robust accuracy with adversarial {'images' if is_image(audit.data.input_shape) else 'inputs'} rounded to "
            f"8 bits: {percent(worst.stored.value)}."
        )
    return " ".join(said)


def attacks_with_strength(audit: Audit) -> str:
    """Returns which attacks ran, with their steps, queries, targets and restarts."""
    return ", ".join(strength(attack.name, attack.params) for attack in audit.attacks)


def attacks(audit: Audit) -> str:
    """Returns which attacks ran: of a protocol that others can repeat each kind once, else with all they may do."""
    if not is_standard(audit):
        return attacks_with_strength(audit)
    return ", ".join(dict.fromkeys(kind(attack.name) for attack in audit.attacks))


def is_standard(audit: Audit) -> bool:
    """Returns whether the attacks are those of a protocol that others can name and repeat."""
    return audit.method.protocol.partition(" ")[0] in STANDARD


def protocol(audit: Audit) -> str:
    """Returns the protocol, or where it is none that others can name, the attacks themselves."""
    return audit.method.protocol if is_standard(audit) else attacks_with_strength(audit)


def basis(audit: Audit) -> str:
    """Returns what a robust accuracy rests on: how many attacks of which kind, on how many samples, by which protocol.

    "Reliable" means reliable for this and no more.
    """
    count, gradients = len(audit.attacks), sum(attack.backwards > 0 for attack in audit.attacks)
    kinds = {count: "gradient ", 0: "gradient-free "}.get(gradients, "")
    mixed = "" if kinds else f" ({gradients} with gradients, {count - gradients} without)"
    which = f"protocol {audit.method.protocol}" if is_standard(audit) else "not a standard protocol"
    return (
        f"Upper bound from {count} {kinds}attack{'' if count == 1 else 's'}{mixed} on {audit.data.n:,} "
        f"{noun(audit)}; {which}."
    )


def reliable(audit: Audit) -> str:
    """Returns the quality of the evaluation; where it is good, for what."""
    quality = audit.verdict.quality
    if doubtful(audit) or is_standard(audit):
        return quality
    return quality.replace("reliable", "reliable for these attacks", 1)


def doubtful(audit: Audit) -> str | None:
    """Returns the warning that belongs to a robust accuracy whose evaluation failed its checks, else None."""
    return {
        "unreliable": "unreliable: likely too high",
        "invalid": "invalid: likely too high, do not use it",
    }.get(audit.verdict.quality)


_STATED = {
    "purpose": "Intended purpose",
    "users": "Users",
    "harm": "Harm from errors",
    "domain": "Operating domain",
    "thresholds": "Decision thresholds",
    "requirement_origin": "Origin of the requirement",
    "auditor": "Auditor",
    "organisation": "Organisation",
    "party": "Party",
}
REQUIREMENT = {
    "met": "The confidence bound meets the requirement.",
    "not met": "The confidence bound misses the requirement.",
    "undecided": "The confidence interval contains the limit: these samples cannot decide it.",
    "none given": "This report says what was measured, not whether it is enough.",
}
QUALITY = {
    "reliable": "The checks of the evaluation passed.",
    "reliable with remarks": "No check of the evaluation failed, but read the remarks.",
    "unreliable": "A check of the evaluation failed: the accuracy under attack is likely too high.",
    "invalid": "A check that every number depends on failed: do not draw conclusions from this audit.",
}


def checks(audit: Audit) -> str:
    """Returns how many checks of the evaluation ended in which way."""
    found = [check.status for check in audit.diagnostics]
    ends = (("pass", "passed"), ("remark", "with a remark"), ("fail", "failed"), ("not run", "not run"))
    named = [f"{found.count(status)} {end}" for status, end in ends if status in found]
    return ", ".join(named) or "no checks recorded"


def ranked(audit: Audit) -> list[ClassRow]:
    """Returns the classes that have samples, lowest robust accuracy first."""
    rows = [row for row in audit.per_class if row.robust.value is not None]
    return sorted(rows, key=lambda row: (row.robust.value or 0.0, row.clean.value or 0.0, row.index))


def every_class(audit: Audit) -> list[ClassRow]:
    """Returns the ranked classes and then those without samples."""
    return [*ranked(audit), *(row for row in audit.per_class if row.robust.value is None)]


def ranked_slices(audit: Audit) -> list[SliceRow]:
    """Returns the data slices, lowest robust accuracy first; those without samples come last."""
    return sorted(audit.slices, key=lambda row: 2.0 if row.robust.value is None else row.robust.value)


def class_sizes(audit: Audit) -> str:
    """Returns how many samples the classes have."""
    sizes = [row.clean.n for row in audit.per_class]
    if not sizes:
        return EMPTY
    return f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"


def limitations(audit: Audit) -> list[str]:
    """Returns what the numbers of this audit do not say."""
    data, threat, worst = audit.data, audit.threat, audit.worst_case.accuracy
    said = [
        "For the samples counted as correct under attack, no adversarial example was found by these attacks. "
        "That does not prove that none exists.",
        f"Taken on trust: {'; '.join(['that these attacks were run as listed', *on_trust(audit)])}. With your own copy "
        "of model and data, robustkit verify FOLDER --attack-again 64 checks the rest and attacks 64 of these samples "
        "again.",
        f"The numbers hold for this threat model only: perturbations within {threat.norm} {threat.eps}. Other "
        "perturbations, however small, were not tested.",
        f"The numbers hold for these {data.n:,} samples of {data.name}. Other data can give other numbers.",
        f"The {100 * worst.level:g}\N{NO-BREAK SPACE}% intervals account for the choice of samples only, not for "
        "weak attacks or for variation between training runs.",
        "This report describes measurements. It makes no statement of conformity with a law or a standard.",
    ]
    if audit.subject.defences:
        said.append(
            "The model is defended. An attacker who adapts to this defence may succeed where these attacks did not."
        )
    if threat.exclusions:
        said.append(f"Not part of the threat model: {'; '.join(threat.exclusions)}.")
    if worst.k == 0 and worst.n:
        said.append(
            f"Every sample was broken. With {worst.n:,} samples, a true robust accuracy of up to "
            f"{percent(worst.clopper_pearson[1])} is still compatible with that (exact interval)."
        )
    sizes = [row.clean.n for row in audit.per_class if row.clean.n]
    if sizes and min(sizes) < 100:
        named = f"{min(sizes):,} sample{'' if min(sizes) == 1 else 's'}"
        said.append(f"The smallest class has {named}: per-class numbers are much less precise than the total.")
    if "not run" in {check.status for check in audit.diagnostics}:
        left = [check_name(check.id) for check in audit.diagnostics if check.status == "not run"]
        said.append(f"These checks of the evaluation were not run: {', '.join(left)}.")
    changed = sum(attack.rechecked_changes for attack in audit.attacks)
    if changed:
        said.append(
            f"A second pass over the stored adversarial inputs changed the outcome {changed:,} times: "
            "the model's predictions are not fully repeatable."
        )
    return said


def limitations_of(report: Report) -> list[str]:
    """Returns what the numbers of a report do not say, each once; what holds for some of its models names them."""
    said = [limitations(audit) for audit in report.audits]
    shared = [one for one in said[0] if all(one in others for others in said)]
    own = [
        f"{shorten(audit.subject.name, 60)}: {one}"
        for audit, found in zip(report.audits, said, strict=True)
        for one in found
        if one not in shared
    ]
    return [*shared, *own]


def stated(about: About | None) -> list[tuple[str, str]]:
    """Returns what the people concerned said about model and audit, each with its label."""
    said = dataclasses.asdict(about or About())
    if said["party"]:
        said["party"] += " party"
    return [(label, said[field]) for field, label in _STATED.items() if said[field]]
