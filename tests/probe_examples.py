"""What tests of probes and checks share."""

from __future__ import annotations

from nets import digits

import robustkit
from robustkit.attacks import APGD

EPS = 0.1
STRONG = [APGD(eps=EPS, steps=10), APGD(eps=EPS, steps=10, loss="dlr", targets=9)]


def audited(model, attacks, n=30, probes=16, **arguments):
    return robustkit.evaluate(model, digits(n), attacks, probes=probes, **arguments)


def by_id(found):
    return {item.id: item for item in getattr(found, "diagnostics", found)}
