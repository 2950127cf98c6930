"""What comes of verifying a bundle, and the list it is collected in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from robustkit.bundle.failure_messages import Mismatch

Level = Literal["files", "summaries", "geometry", "model"]
LEVELS: tuple[Level, ...] = ("files", "summaries", "geometry", "model")
Status = Literal["holds", "false", "not checked"]


@dataclass(frozen=True)
class Check:
    """What was looked at, and whether all of it holds; `note` says why it could not be checked."""

    level: Level
    what: str
    status: Status
    note: str = ""


@dataclass(frozen=True)
class Verification:
    """What came of a check.

    Attributes:
        bundle: Its path.
        checks: Everything that was looked at, the shallow first.
        false: Every claim that does not hold, each kind once.
        remarks: What differs by no more than the arithmetic of another machine may do.
        trusted: What nobody can tell from the bundle, or not without model and data.
        invalid: Names of the models whose evaluation the report itself calls invalid.
    """

    bundle: str
    checks: tuple[Check, ...]
    false: tuple[Mismatch, ...]
    remarks: tuple[str, ...]
    trusted: tuple[str, ...]
    invalid: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked is false."""
        return not self.false

    @property
    def unchecked(self) -> tuple[Check, ...]:
        """What could not be checked, for want of data, model, or the version or package that wrote it.

        Files and figures alone show no more than that a bundle agrees with itself.
        """
        return tuple(check for check in self.checks if check.status == "not checked")


@dataclass
class Notes:
    """A verification while it goes on."""

    checks: list[Check] = field(default_factory=list)
    false: list[Mismatch] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)

    def made(self, level: Level, what: str, found: Sequence[Mismatch]) -> None:
        """Enters a check that was made; of what it found, the edge cases are no falsehoods."""
        false = [mismatch for mismatch in found if not mismatch.edge]
        self.false += false
        self.checks.append(Check(level, what, "false" if false else "holds"))

    def left_out(self, level: Level, what: str, why: str, trusted: str | None = None) -> None:
        """Enters a check that could not be made, and what has to be trusted instead."""
        self.checks.append(Check(level, what, "not checked", why))
        self.trusted += [trusted] if trusted else []

    def closed(self, bundle: str) -> Verification:
        """Returns the result, in order of depth."""
        checks = sorted(self.checks, key=lambda check: LEVELS.index(check.level))
        trusted = dict.fromkeys(self.trusted)
        return Verification(
            bundle, tuple(checks), tuple(self.false), tuple(self.remarks), tuple(trusted), tuple(self.invalid)
        )
