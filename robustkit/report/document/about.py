"""What no measurement can know: what the model is for, who asked for the audit, and who signs it."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.settings import choice, instance
from robustkit.base.settings import path as known_path
from robustkit.base.toml_file import read_toml

Party = Literal["1st", "2nd", "3rd"]


@dataclass(frozen=True, kw_only=True)
class SignOff:
    """Who answers for the report: a name, a role, and the day of the signature."""

    name: str | None = None
    role: str | None = None
    date: str | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            instance("sign-off", field.name, getattr(self, field.name), str, NoneType)


@dataclass(frozen=True, kw_only=True)
class About:
    """The record that comes with an audit; what is None is left out of the page.

    Attributes:
        purpose: What the model is used for.
        users: Who uses it.
        harm: What happens if it is wrong.
        domain: Where and on what it operates.
        thresholds: How its output becomes a decision.
        requirement_origin: Who set the requirement, and why it is this one.
        auditor: Who ran the audit.
        organisation: For whom.
        party: "1st" for the maker of the model, "2nd" for its user, "3rd" for somebody independent of both.
        signoff: Who answers for it.
    """

    purpose: str | None = None
    users: str | None = None
    harm: str | None = None
    domain: str | None = None
    thresholds: str | None = None
    requirement_origin: str | None = None
    auditor: str | None = None
    organisation: str | None = None
    party: Party | None = None
    signoff: SignOff = SignOff()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            kinds = (SignOff,) if field.name == "signoff" else (str, NoneType)
            instance("about", field.name, getattr(self, field.name), *kinds)
        if self.party is not None:
            choice("about", "party", self.party, get_args(Party))


def read_about(path: str | Path) -> About:
    """Returns the record in a TOML file: its keys are the fields of `About`, `[signoff]` holds those of `SignOff`.

    Raises:
        ConfigurationError: If the file cannot be read, or a key or a value is invalid.
    """
    tree = read_toml(known_path("about", "the file", path), "about")
    signoff = tree.pop("signoff", {})
    if not isinstance(signoff, dict):
        raise ConfigurationError(f"about '{path}': expected a table [signoff], got {signoff!r}; correct it")
    known = _names(About)
    about = _checked(path, tree, [name for name in known if name != "signoff"], "")
    if (party := about.get("party")) not in (None, *get_args(Party)):
        raise ConfigurationError(f"about '{path}': expected party 1st, 2nd or 3rd, got '{party}'; correct it")
    return About(**about, signoff=SignOff(**_checked(path, signoff, _names(SignOff), "signoff.")))


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _checked(path: str | Path, tree: dict[str, Any], known: list[str], prefix: str) -> dict[str, Any]:
    """Returns the values as text; dates as in ISO 8601."""
    found = {}
    for name, value in tree.items():
        if name not in known:
            raise ConfigurationError(f"about '{path}': no key '{prefix}{name}'{suggest(name, known)}")
        if isinstance(value, datetime.date):
            value = value.isoformat()
        if not isinstance(value, str):
            raise ConfigurationError(
                f"about '{path}': expected {prefix}{name} as text, got {value!r}; put it in quotes"
            )
        found[name] = value.strip() or None
    return found
