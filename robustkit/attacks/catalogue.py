"""All attacks. Adding one is a file in this folder, a line here and a row in tests/attack_rows.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from robustkit.attacks.apgd import APGD
from robustkit.attacks.base import Adversarial, Attack
from robustkit.attacks.ddn import DDN
from robustkit.attacks.fab import FAB
from robustkit.attacks.fgsm import FGSM
from robustkit.attacks.fmn import FMN
from robustkit.attacks.foolbox import Foolbox
from robustkit.attacks.hop_skip_jump import HopSkipJump
from robustkit.attacks.mifgsm import MIFGSM
from robustkit.attacks.noise import Noise
from robustkit.attacks.patch import Patch
from robustkit.attacks.pgd import PGD
from robustkit.attacks.printed_patch import UniversalPatch, universal_patch
from robustkit.attacks.sigma_zero import SigmaZero
from robustkit.attacks.sparse_rs import SparseRS
from robustkit.attacks.square import Square
from robustkit.attacks.square_pgd import SquarePGD
from robustkit.attacks.threat import Threat
from robustkit.attacks.transfer import Transfer
from robustkit.base.errors import ConfigurationError
from robustkit.base.registry import Registry, is_address, load, named
from robustkit.base.settings import instance, read, split

__all__ = [
    "APGD",
    "ATTACKS",
    "DDN",
    "FAB",
    "FGSM",
    "FMN",
    "KNOWN",
    "MIFGSM",
    "PGD",
    "Adversarial",
    "Attack",
    "Foolbox",
    "HopSkipJump",
    "Noise",
    "Patch",
    "SigmaZero",
    "SparseRS",
    "Square",
    "SquarePGD",
    "Threat",
    "Transfer",
    "UniversalPatch",
    "create",
    "universal_patch",
]

ATTACKS: dict[str, type[Attack]] = {item.name: item for item in [*globals().values()] if named(item, Attack)}


KNOWN: Registry[type[Attack]] = Registry(
    "attack",
    "robustkit.attacks",
    ATTACKS,
    expected="a subclass of robustkit.attacks.Attack that has a start",
    fits=lambda value: named(value, Attack),
)


def create(spec: str, **common: Any) -> Attack:
    """Returns the attack that a text such as "pgd:steps=40,loss=margin" or "foolbox:LinfDeepFoolAttack" describes.

    Args:
        spec: A name, ours or a plug-in's, or the address of a class, `package.module:Class`; then optionally a colon
            and settings `name=value` parted by commas. A loss can be the address of a function.
        **common: Settings for every attack (norm, eps, ...); those in `spec` win.

    Raises:
        ConfigurationError: If the attack or a setting does not exist or a value is invalid.
    """
    instance("attack", "the text", spec, str)
    name, items = split(spec, ATTACKS)
    kind = KNOWN.find(name)
    fields = {field.name for field in dataclasses.fields(kind)}
    if kind is Foolbox and items and "=" not in items[0]:
        items = (f"attack={items[0]}", *items[1:])
    settings = {**common, **read(f"attack {name}", items, None if kind is Foolbox else fields)}
    if kind is Foolbox:
        extra = {key: settings.pop(key) for key in list(settings) if key not in fields}
        settings["options"] = tuple(sorted(extra.items()))
    if is_address(str(settings.get("loss"))):
        settings["loss"] = load(settings["loss"], "loss")
    try:
        return kind(**settings)
    except TypeError as error:
        raise ConfigurationError(f"attack {name}: expected settings it has, got {error}; correct them") from None
