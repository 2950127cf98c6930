"""All attacks. Adding one is a file in this folder, a line here and a row in tests/attack_rows.py."""

from __future__ import annotations

if __name__ != "robustkit.attacks":
    raise ImportError("import robustkit.attacks; attacks/ is a link for people")

import dataclasses
from typing import Any

from robustkit.attacks.apgd import APGD
from robustkit.attacks.base import Adversarial, Attack
from robustkit.attacks.ddn import DDN
from robustkit.attacks.fab import FAB
from robustkit.attacks.fgsm import FGSM
from robustkit.attacks.fmn import FMN
from robustkit.attacks.foolbox import Foolbox
from robustkit.attacks.mifgsm import MIFGSM
from robustkit.attacks.noise import Noise
from robustkit.attacks.pgd import PGD
from robustkit.attacks.square import Square
from robustkit.attacks.threat import Threat
from robustkit.attacks.transfer import Transfer
from robustkit.base.errors import ConfigurationError, suggest

__all__ = [
    "APGD",
    "ATTACKS",
    "DDN",
    "FAB",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "Adversarial",
    "Attack",
    "Foolbox",
    "Noise",
    "Square",
    "Threat",
    "Transfer",
    "create",
]

ATTACKS: dict[str, type[Attack]] = {
    item.name: item
    for item in list(globals().values())
    if isinstance(item, type) and issubclass(item, Attack) and item is not Attack
}


def create(spec: str, **common: Any) -> Attack:
    """Returns the attack that a text such as "pgd:steps=40,loss=margin" or "foolbox:LinfDeepFoolAttack" describes.

    Args:
        spec: A name, then optionally a colon and settings `name=value` parted by commas.
        **common: Settings for every attack (norm, eps, ...); those in `spec` win.

    Raises:
        ConfigurationError: If the attack or a setting does not exist or a value cannot be meant.
    """
    name, _, rest = spec.partition(":")
    name = name.strip()
    if name not in ATTACKS:
        raise ConfigurationError(f"attack: expected a known name, got {name!r}{suggest(name, ATTACKS)}")
    kind = ATTACKS[name]
    fields = {field.name: field for field in dataclasses.fields(kind)}
    settings = dict(common)
    for position, item in enumerate(filter(None, (part.strip() for part in rest.split(",")))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and position == 0 and kind is Foolbox:
            key, value = "attack", key
        elif not equals or (key not in fields and kind is not Foolbox):
            raise ConfigurationError(f"attack {name}: expected settings name=value, got {item!r}{suggest(key, fields)}")
        settings[key] = setting_value(value)
    if kind is Foolbox:
        extra = {key: settings.pop(key) for key in list(settings) if key not in fields}
        settings["options"] = tuple(sorted(extra.items()))
    try:
        return kind(**settings)
    except TypeError as error:
        raise ConfigurationError(f"attack {name}: {error}") from None


def setting_value(text: str) -> str | int | float | bool | None:
    """Returns the number, truth value or None that `text` spells, else the text itself ("8/255" stays a text)."""
    words: dict[str, bool | None] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
