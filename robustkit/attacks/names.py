"""What people call an attack and its accuracy, from the label that ledgers, JSON and requirements use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robustkit.base.errors import ConfigurationError

if TYPE_CHECKING:
    from robustkit.attacks.base import Attack

STANDARD = ("autoattack", "autoattack-plus", "autoattack-rand", "fast")  # protocols that others can name and repeat
NEAR_BOUNDARY = "-close"  # ends the label of an attack that goes on with near-boundary samples alone
_COUNTED = {"steps": "step", "queries": "query", "targets": "target", "restarts": "restart", "eot": "EOT sample"}
_IN_LABEL = re.compile(rf"\b({'|'.join(_COUNTED)})=(\d+)\b")
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
    "hop-skip-jump": "HopSkipJump",
    "mifgsm": "MI-FGSM",
    "noise": "Random noise",
    "patch": "Patch",
    "pgd": "PGD",
    "sigma-zero": "sigma-zero",
    "sparse-rs": "Sparse-RS",
    "square": "Square",
    "square-pgd": "Square-PGD",
    "transfer": "Transfer",
}


def attack_name(label: str) -> str:
    """Returns "APGD-T (near-boundary samples; 3 targets)" for "apgd-t-close(targets=3)"; unknown labels are kept."""
    kind, bracket, settings = label.partition("(")
    attack = kind.removesuffix(NEAR_BOUNDARY)
    if attack not in _NAMES:
        return label
    notes = ["near-boundary samples"] if attack != kind else []
    settings = settings.removesuffix(")").replace(",", ", ")
    notes += [_IN_LABEL.sub(lambda found: _counted(found[1], int(found[2])), settings)] if bracket else []
    return f"{_NAMES[attack]} ({'; '.join(notes)})" if notes else _NAMES[attack]


def kind(label: str) -> str:
    """Returns the name of an attack without the settings and the samples that tell it from its namesakes."""
    return attack_name(label.partition("(")[0].removesuffix(NEAR_BOUNDARY))


def strength(label: str, settings: Mapping[str, Any]) -> str:
    """Returns an attack with what it was allowed to do, such as "PGD (20 steps, 5 restarts)"."""
    said, name = [], attack_name(label)
    in_label = {key for key, _ in _IN_LABEL.findall(label)}
    for key in _COUNTED:
        count = settings.get(key)
        if key not in in_label and isinstance(count, int) and count > (key in ("restarts", "eot")):
            said.append(_counted(key, count))
    if not said:
        return name
    return f"{name[:-1]}; {', '.join(said)})" if name.endswith(")") else f"{name} ({', '.join(said)})"


def _counted(key: str, count: int) -> str:
    several = "EOT samples" if key == "eot" else key
    return f"{count:,} {_COUNTED[key] if count == 1 else several}"


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


def labels(attacks: Sequence[Attack]) -> list[str]:
    """Returns a distinct label for each attack: its own, with the settings that tell it from its namesakes.

    Raises:
        ConfigurationError: If two attacks are equal.
    """
    found = _told_apart(attacks, "close")  # which the name tells already
    if len(set(found)) < len(found):
        found = _told_apart(attacks)
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise ConfigurationError(f"evaluate: expected distinct attacks, got {twice} more than once; drop one")
    return found


def _told_apart(attacks: Sequence[Attack], without: str = "") -> list[str]:
    """Returns the labels, by all settings that differ but one."""
    found = []
    for attack in attacks:
        name = _name(attack)
        others = [other.settings() for other in attacks if _name(other) == name and other is not attack]
        settings = [(k, v) for k, v in attack.settings().items() if k != without]
        apart = [f"{k}={v}" for k, v in settings if any(other.get(k) != v for other in others)]
        found.append(f"{name}({','.join(apart)})" if apart else name)
    return found


def _name(attack: Attack) -> str:
    return attack.label if attack.close is None else f"{attack.label}{NEAR_BOUNDARY}"
