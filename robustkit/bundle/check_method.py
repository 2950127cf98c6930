"""Whether the attacks are those that the name of their protocol promises, and what of a method is not known here."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from robustkit.attacks.protocols import PROTOCOLS, get_protocol
from robustkit.base.settings import Scalar
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.restore import same_versions, unknown_attacks
from robustkit.evaluation.result import Evaluation
from robustkit.report.document.report import Audit
from robustkit.report.threat_model import stated_radii


def check_protocol(audit: Audit, versions: dict[str, Scalar], where: str) -> list[Mismatch]:
    """Returns how the attacks of an audit differ from those of the protocol it names."""
    return [*_protocol(audit, where)] if same_versions(versions, "robustkit") else []


def untold(audit: Audit, evaluation: Evaluation, versions: dict[str, Scalar], where: str) -> Iterator[str]:
    """Yields why protocol and fingerprint of an audit cannot be worked out again here, if they cannot."""
    if strangers := unknown_attacks(evaluation):
        yield f"attack {', '.join(strangers)} is not known here: use robustkit.verify after importing it"
    elif not same_versions(versions, "robustkit"):
        dtype = getattr(torch, audit.subject.dtype)
        same = evaluation.protocol.fingerprint(dtype, versions) == audit.method.fingerprint
        if not same or [*_protocol(audit, where)]:
            yield f"robustkit {versions.get('robustkit')} made the audit, and may have had other settings"


def _protocol(audit: Audit, where: str) -> Iterator[Mismatch]:
    """Yields how an audit that names a protocol of robustkit's ran other attacks.

    A name from elsewhere is never looked up: it could be the address of a function.
    """
    stated, place = audit.method, f"{where}.method.protocol"
    name = stated.protocol.removesuffix(" (adapted)") if stated.changes else stated.protocol
    if name not in PROTOCOLS:
        if _folded(name) in map(_folded, PROTOCOLS):
            yield Mismatch(place, "the name of a protocol, or one that nobody takes for it", repr(name))
        return
    eps = stated_radii(audit.threat) or audit.attacks[0].params.get("eps")
    published = get_protocol(name, norm=audit.threat.norm, eps=eps, classes=audit.subject.num_classes)  # type: ignore[arg-type]
    added = [said for said in stated.changes if said.endswith("was added")]
    if stated.changes and stated.changes != (*published.changes, *added):
        return  # adapted by hand, and says so: its attacks are listed with all their settings
    if published.changes and not stated.changes:
        yield Mismatch(place, f"{published.label} for {audit.subject.num_classes} classes", name)
    expected = [(attack.implementation(), attack.settings()) for attack in published.attacks]
    got = [(attack.implementation, dict(attack.params)) for attack in audit.attacks]
    if got[: len(expected)] != expected or len(got) != len(expected) + len(added):
        odd = [run.name for run, here, due in zip(audit.attacks, got, expected, strict=False) if here != due]
        yield Mismatch(place, f"the {len(expected)} attacks of {name}", f"another {odd[0]}" if odd else f"{len(got)}")
    if not stated.cascade:
        yield Mismatch(f"{where}.method.cascade", f"True, as {name} has it", "False")


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold().removesuffix(" (adapted)")))
