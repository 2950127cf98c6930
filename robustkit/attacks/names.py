"""What a page calls an attack, from the label that ledgers, tables and requirements use."""

from __future__ import annotations

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
