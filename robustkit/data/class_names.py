"""When two names mean one class: tolerant of case, separators, synonyms and ImageNet's wnids."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

TOO_LONG = 19  # digits of a whole number that 64 bits may not hold
_WNID = re.compile(r"n\d{8}(?!\d)")
_SHOWN = 6
_SEPARATORS = re.compile(r"[\s_\-/\\.,:;'\"()&]+")


def sorted_names(names: Iterable[str]) -> list[str]:
    """Returns class names in order: as numbers where all are numbers ("2" before "10"), else as text."""
    known = list(names)
    return sorted(known, key=int) if numbers(known) is not None else sorted(known)


def numbers(names: Sequence[str]) -> list[int] | None:
    """Returns the names as whole numbers, None if any is something else, or too long for a class."""
    plain = all(name.isascii() and name.isdecimal() and len(name) < TOO_LONG for name in names)
    return [int(name) for name in names] if plain else None


def wnid(name: str) -> str | None:
    """Returns the ImageNet id that a name is or begins with, such as "n01440764"."""
    found = _WNID.match(name)
    return found and found[0]


def shown(items: Sequence[str]) -> str:
    """Returns the first few of some items in a line."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


class NameTable:
    """The names of a model's outputs, to be found by any name of the same class.

    Args:
        names: One for each output, in order; placeholders such as "LABEL_0" are no names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._levels: list[defaultdict[str, list[int]]] = [defaultdict(list) for _ in _spellings("")]
        for output, name in enumerate(names):
            for level, spellings in zip(self._levels, _spellings(name), strict=True):
                for spelling in spellings:
                    level[spelling].append(output)

    def find(self, name: str) -> list[int]:
        """Returns the outputs that `name` can mean, by the most exact reading under which there are any."""
        for level, spellings in zip(self._levels, _spellings(name), strict=True):
            found = {output for spelling in spellings for output in level.get(spelling, ())}
            if found:
                return sorted(found)
        return []

    def hint(self, name: str) -> str:
        """Returns the name that looks most like `name`, in brackets, or nothing."""
        folded = {_fold(part): full for full in self._names for part in (full, *full.split(","))}
        near = difflib.get_close_matches(_fold(name), folded, n=1, cutoff=0.5)
        return f" (nearest: '{folded[near[0]]}')" if near else ""


def _spellings(name: str) -> tuple[set[str], ...]:
    """Returns how a class may be written, the most exact forms first: as it stands, wnid, folded, each synonym."""
    bare = _WNID.sub("", name, count=1) if wnid(name) else name
    id = wnid(name)
    synonyms = {_fold(part) for part in bare.split(",")}
    return {name}, {id} if id else set(), {_fold(name)}, {_fold(bare)} - {""}, synonyms - {""}


def _fold(name: str) -> str:
    """Returns a name without case, accents' encodings and separators; a name of separators only as it stands."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return _SEPARATORS.sub("", plain) or plain
