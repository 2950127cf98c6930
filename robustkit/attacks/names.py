"""What people call an attack and its accuracy, from the label that ledgers, JSON and requirements use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEAR_BOUNDARY = "-close"  # ends the label of an attack that goes on with near-boundary samples alone
_NAMES = {
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "apgd-margin": "APGD-margin",
    "apgd-t": "APGD-T",
    "ddn": "DDN",
    "fab": "FAB",
    "fab-t": "FAB-T",
    "fgsm": "FGSM",
    "fmn": "FMN",
    "mifgsm": "MI-FGSM",
    "noise": "Random noise",
    "pgd": "PGD",
    "square": "Square",
    "transfer": "Transfer",
}


def attack_name(label: str) -> str:
    """Returns "APGD-CE (long, near-boundary samples)" for "apgd-ce-close"; labels of unknown attacks are kept."""
    kind, bracket, settings = label.partition("(")
    attack = kind.removesuffix(NEAR_BOUNDARY)
    if attack not in _NAMES:
        return label
    notes = ["long, near-boundary samples"] if attack != kind else []
    notes += [settings.removesuffix(")").replace(",", ", ")] if bracket else []
    return f"{_NAMES[attack]} ({'; '.join(notes)})" if notes else _NAMES[attack]


def strength(label: str, settings: Mapping[str, Any]) -> str:
    """Returns an attack with what it was allowed to do, such as "PGD (20 steps, 5 restarts)"."""
    said = []
    for key, one in (("steps", "step"), ("queries", "query"), ("targets", "target"), ("restarts", "restart"),
                     ("eot", "EOT sample")):  # fmt: skip
        count = settings.get(key)
        if isinstance(count, int) and count > (key in ("restarts", "eot")):
            said.append(f"{count:,} {one if count == 1 else key if key != 'eot' else 'EOT samples'}")
    name = attack_name(label)
    if not said:
        return name
    return f"{name[:-1]}; {', '.join(said)})" if name.endswith(")") else f"{name} ({', '.join(said)})"


def measured_alone(place: int, cascade: bool, settings: Mapping[str, Any]) -> bool:
    """Returns whether an attack went after every initially correct sample, so that its accuracy is its own.

    Args:
        place: In the order of the attacks, from 0.
        cascade: Whether later attacks are spared what earlier ones broke.
        settings: Of the attack.
    """
    return place == 0 or not (cascade or settings.get("close"))


def accuracy_name(label: str, remaining: bool) -> str:
    """Returns what to call an accuracy: "FAB-T", or "after FAB-T" where it is what attacks up to that one left."""
    return f"after {attack_name(label)}" if remaining else attack_name(label)
