"""The sections of the page: one name, number and address for headings, contents, risks and the mapping.

What a section shows stands in `report/templates/`, in the file of its key.
"""

from __future__ import annotations

from collections.abc import Sequence

from robustkit.report.document.report import Audit

TITLES = {
    "signoff": "Sign-off",
    "limits": "Limitations",
    "scope": "1 Scope and intended use",
    "system": "2 System under test",
    "data": "3 Data",
    "threat": "4 Threat model",
    "method": "5 Method",
    "results": "6 Results",
    "gallery": "7 Examples",
    "checks": "8 Checks of the evaluation",
    "actions": "9 Requirements and monitoring",
    "repeat": "10 Reproduction",
    "frameworks": "11 Mapping to frameworks",
    "glossary": "12 Revision history and glossary",
}
PARTS_OF_RESULTS = {
    "attacks": "Accuracy under attack",
    "table": "Changes of records",
    "curve": "Robustness curve (accuracy vs eps)",
    "classes": "Accuracy by class",
    "slices": "Accuracy by data slice",
    "margins": "Margin distribution",
    "convergence": "Attack convergence",
    "confusion": "Confusion matrix under attack",
    "confidence": "Calibration",
    "ensemble": "Ensemble members",
}
GATES = "Requirements checked in this audit"
_PARTS = {key: ("results", name) for key, name in PARTS_OF_RESULTS.items()} | {"gates": ("actions", GATES)}
OF_AN_AUDIT = ("system", "data", "threat", "method", "results", "gallery", "checks")
OF_THE_REPORT = ("limits", "signoff", "scope", "actions", "repeat", "frameworks", "glossary")


def title(key: str) -> str:
    """Returns the heading of a section, or how to name a part of the results elsewhere."""
    return TITLES.get(key) or f"{TITLES['results']}: {PARTS_OF_RESULTS[key]}"


def reference(key: str) -> str:
    """Returns how a sentence names a section by its number, or a part of one by its name and that number."""
    within, part = _PARTS.get(key, (key, None))
    number = f"section {TITLES[within].split()[0]}"
    return f"{part}, {number}" if part else number


def address(key: str, ident: str) -> str:
    """Returns the link to a section, which belongs to the whole report or to the audit `ident`."""
    return f"#{key}" if key in OF_THE_REPORT else f"#{ident}-{key}"


def parts(audit: Audit) -> Sequence[str]:
    """Returns the parts of the results that this audit has, in order."""
    there = {
        "table": audit.table is not None,
        "curve": bool(audit.curve or audit.nearest),
        "slices": bool(audit.slices),
        "confusion": audit.confusion is not None,
        "margins": audit.margins is not None,
        "convergence": any(len(attack.loss_path) > 1 for attack in audit.attacks),
        "ensemble": audit.ensemble is not None,
    }
    return [key for key in PARTS_OF_RESULTS if there.get(key, True)]
