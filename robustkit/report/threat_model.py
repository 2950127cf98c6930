"""The threat model as a report states it: goal, knowledge and access of the attacker, and what is left out."""

from __future__ import annotations

from robustkit.attacks.radius import eps_text
from robustkit.attacks.threat import Threat
from robustkit.base.per_coordinate import PerCoordinate, by_coordinate
from robustkit.data.layout import layout_of, with_layout
from robustkit.data.schema import with_schema
from robustkit.report.document.report import ThreatModel

WHITE_BOX = "white-box: weights, architecture and defences are known"
ANY_ACCESS = "gradients, scores and labels; no limit on queries"
EXCLUDED = (
    "changes of meaning such as rotation or weather",
    "poisoning of training data or model",
    "theft of the model and confidentiality of the data",
)


def not_tested(kinds: set[str]) -> tuple[str, ...]:
    """Returns what the figures say nothing of, where attacks of these `kinds` ran."""
    missing = [kind for kind in ("black-box", "transfer") if kind not in kinds]
    return (
        "other norms, and values of eps other than those declared",
        *([f"{' and '.join(missing)} attacks"] if missing else []),
        "whatever the threat model excludes",
    )


def threat_model(threat: Threat, kinds: set[str]) -> ThreatModel:
    """Returns what the attacker may do, from the threat and the `kinds` of the attacks that ran."""
    blind = not kinds & {"white-box", "adapter"}  # nobody looked into the model, so nobody who can is spoken for
    own = " and a surrogate of their own" if "transfer" in kinds else ""
    return ThreatModel(
        goal="integrity, untargeted" if threat.target is None else f"integrity, targeted at class {threat.target}",
        knowledge=f"black-box: the scores of the model{own}" if blind else WHITE_BOX,
        access="scores and labels; as many queries as the attacks list" if blind else ANY_ACCESS,
        norm=threat.norm,
        eps=eps_text(threat.eps),
        eps_value=threat.radius,
        bounds=threat.range,
        target=threat.target,
        exclusions=("physical changes" if threat.norm == "patch" else "physical changes and patches", *EXCLUDED),
        eps_per_coordinate=threat.eps.plain if isinstance(threat.eps, PerCoordinate) else None,
        bounds_per_coordinate=threat.bounds if by_coordinate(*threat.bounds) else None,
        schema=threat.schema,
        layout=layout_of(threat.eps),
    )


def stated_radii(stated: ThreatModel) -> PerCoordinate | None:
    """Returns the radii that a report states, where they differ by coordinate, with what it says of the inputs."""
    radii = with_schema(stated.eps_per_coordinate, stated.schema)
    return radii if stated.layout is None else with_layout(radii, stated.layout)
