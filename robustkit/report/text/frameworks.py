"""Which section of the report addresses which item of laws, standards and checklists, and which none does.

Every row is a finding aid. A section is named only where this report holds it; nothing is said about whether what it
holds is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustkit.report.document.report import Audit, Report

NOTICE = (
    "This report was prepared with regard to the items below. The table shows where the report addresses each item. It "
    "does not state that a law or a standard is met. Texts change: check the version in force."
)


@dataclass(frozen=True)
class Item:
    """One item of a framework; `section` is the name of the section that addresses it, None where none does."""

    item: str
    asks: str
    section: str | None


def mapping(report: Report) -> dict[str, list[Item]]:
    """Returns the items by framework; one counts as addressed only if every audit of the report addresses it."""
    signed = report.about is not None and report.about.signoff.name is not None
    found: dict[str, list[Item]] = {}
    for framework, item, asks, section, holds in _ITEMS:
        there = signed if section == "signoff" else all(holds(audit) for audit in report.audits)
        found.setdefault(framework, []).append(Item(item, asks, section if there else None))
    return found


def _always(audit: Audit) -> bool:
    return True


def _named(*words: str) -> Callable[[Audit], bool]:
    return lambda audit: any(word in attack.name.lower() for attack in audit.attacks for word in words)


def _without_gradients(audit: Audit) -> bool:
    return any(not attack.backwards and "noise" not in attack.name.lower() for attack in audit.attacks)


def _checked(*ids: str) -> Callable[[Audit], bool]:
    """Whether at least one of the checks was run."""
    return lambda audit: any(check.id in ids and check.status != "not run" for check in audit.diagnostics)


_ACT, _ANNEX_IV = "EU AI Act, Art. 15", "EU AI Act, Annex IV"
_NIST, _ISO = "NIST AI 100-2", "ISO/IEC 24029-1"
_ATLAS, _OWASP, _CARLINI = "MITRE ATLAS", "OWASP ML Top 10", "Carlini et al. 2019"
_ITEMS: tuple[tuple[str, str, str, str | None, Callable[[Audit], bool]], ...] = (
    (_ACT, "(1)", "Appropriate accuracy and robustness over the whole life cycle", "actions", _always),
    (_ACT, "(3)", "Levels and metrics of accuracy declared", "attacks", _always),
    (_ACT, "(4)", "Resilience to errors, faults and feedback loops", None, _always),
    (_ACT, "(5), adversarial examples", "Resilience to inputs designed to mislead the model", "attacks", _always),
    (_ACT, "(5), poisoning, confidentiality, flaws", "Resilience to the other attacks named there", None, _always),
    (_ANNEX_IV, "2(g), tests", "Test procedures, test data and their main traits, metrics", "method", _always),
    (_ANNEX_IV, "2(g), signature", "Test reports dated and signed by the persons responsible", "signoff", _always),
    (_ANNEX_IV, "2(g), impact", "Potentially discriminatory impact: results by group", "slices",
     lambda audit: bool(audit.slices)),
    (_NIST, "Stage, goal, capability, knowledge", "The attacker in the words of the taxonomy", "threat", _always),
    (_NIST, "Evasion", "Attacks at test time", "attacks", _always),
    (_NIST, "Poisoning, privacy, abuse", "The other classes of the taxonomy", None, _always),
    (_ISO, "State goals", "What is to be shown, and for which use", "scope", _always),
    (_ISO, "Plan tests", "Which tests, on which data, by which measure", "method", _always),
    (_ISO, "Metrics and data", "Choice and description of both", "data", _always),
    (_ISO, "Run", "Tests carried out and recorded", "repeat", _always),
    (_ISO, "Interpret", "What the results mean, and what they do not", "limits", _always),
    (_ISO, "Formal methods", "Proof or counter-example by analysis", None, _always),
    (_ATLAS, "AML.T0015", "Evade AI model", "attacks", _always),
    (_ATLAS, "AML.T0043.000", "Craft adversarial data: white-box optimisation", "method",
     lambda audit: any(attack.backwards for attack in audit.attacks)),
    (_ATLAS, "AML.T0043.001", "Craft adversarial data: black-box optimisation", "method", _without_gradients),
    (_ATLAS, "AML.T0043.002", "Craft adversarial data: black-box transfer", "method", _named("transfer")),
    (_ATLAS, "AML.T0043.003, .004", "Craft adversarial data: by hand; backdoor trigger", None, _always),
    (_ATLAS, "AML.T0031", "Erode the integrity of the model's predictions", "classes", _always),
    (_OWASP, "ML01", "Input manipulation attack", "attacks", _always),
    (_OWASP, "ML02 to ML10", "Poisoning, inversion, inference, theft and the rest", None, _always),
    (_CARLINI, "Threat model", "Precise threat model: goal, capability, knowledge", "threat", _always),
    (_CARLINI, "Adaptive attacks", "Attacks adapted to the defence", None, _always),
    (_CARLINI, "Clean accuracy", "Accuracy without attack reported", "attacks", _always),
    (_CARLINI, "Sanity tests", "More steps and a larger eps do more damage", "checks", _checked("Q11", "Q12", "Q13")),
    (_CARLINI, "Success rate vs eps", "A robustness curve that reaches full success", "curve",
     lambda audit: audit.curve is not None),
    (_CARLINI, "Hyper-parameters", "All settings of the attacks", "method", _always),
    (_CARLINI, "Gradient-free attack", "An attack that needs no gradient", "method", _without_gradients),
    (_CARLINI, "Transfer attack", "Adversarial examples transferred from another model", "method", _named("transfer")),
    (_CARLINI, "Random noise", "Noise of the same size as a baseline", "method", _named("noise")),
    (_CARLINI, "Convergence", "Attacks run until converged", "convergence", _checked("Q14")),
    (_CARLINI, "Targeted and untargeted", "Both goals tried", "method",
     lambda audit: audit.threat.target is None and _named("apgd-t", "fab-t")(audit)),
    (_CARLINI, "Worst case per example", "A sample counts only if it withstands every attack", "attacks", _always),
)  # fmt: skip
