"""What an attacker may do where eps differs by coordinate, in plain words."""

from __future__ import annotations

from robustkit.base.per_coordinate import PerCoordinate
from robustkit.report.document.report import ThreatModel


def each_its_own(norm: str, eps: PerCoordinate, nouns: tuple[str, str, str], count: int) -> str:
    """Returns in plain words what the attacker may do to an input of `count` values with an eps for each of them."""
    (one, values, whole), (low, high) = nouns, (f"{end:g}" for end in eps.moving)
    radii = f"an eps of its own, from {low} to {high}" if low != high else f"{low}"
    change = {
        "Linf": f"each {one} by at most {radii}",
        "L2": f"the {whole} by at most 1 in the L2 norm (the length of the change), each {one} divided by {radii}",
        "L1": f"the {whole} by at most 1 in the L1 norm (the sum of all changes), each {one} divided by {radii}",
        "L0": f"at most {high} of the {count:,} {values}, however far",
        "L0-pixels": f"at most {high} pixels, all channels however far",
        "patch": f"the {values} of one square of {high} by {high}, anywhere, however far",
    }[norm]
    fixed = eps.zeros * count // len(eps.values)
    return f"{change}; {fixed:,} of {count:,} {values} are fixed" if fixed else change


def of_one_input(change: str, plain: dict[str, str], threat: ThreatModel) -> str:
    """Returns what the attacker may do to one of several inputs.

    Args:
        change: The same, said of all coordinates.
        plain: By norm, what would be said of one eps.
        threat: With a layout.
    """
    layout, eps = threat.layout, threat.eps_per_coordinate
    assert layout is not None
    assert eps is not None
    low, high = eps.moving
    if low == high:
        change = plain[threat.norm].replace(threat.eps, f"{high:g}")
    padding = ", and no padding in it" if layout.padding else ""
    return f"{change}; only {layout.attacked.name} may change{padding}"
