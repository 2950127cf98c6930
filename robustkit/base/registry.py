"""Things by name: robustkit's own, those of installed plug-ins, and any object by its address `package.module:name`.

A plug-in is an entry point in a group such as `robustkit.attacks`. Plug-ins and addresses run code, so only what a
person typed may be looked up here: a name in a file that somebody sent is data.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from robustkit.base.errors import ConfigurationError, one_line, suggest
from robustkit.base.foreign_code import remember
from robustkit.base.settings import ADDRESS, split

T = TypeVar("T")


class Registry(Generic[T]):
    """Everything of one kind that has a name.

    Args:
        kind: What it is, such as "attack", for messages.
        group: The group of entry points that plug-ins use.
        ours: What robustkit has itself; no plug-in can take the place of one of these.
        expected: What all of them are, for messages.
        fits: Whether something loaded from elsewhere is that.
    """

    def __init__(
        self, kind: str, group: str, ours: Mapping[str, T], expected: str, fits: Callable[[Any], bool]
    ) -> None:
        self.kind, self.group, self.ours, self.expected, self.fits = kind, group, ours, expected, fits
        self._loaded: dict[str, T] = {}

    def find(self, name: str) -> T:
        """Returns what is called `name`, or is at that address.

        Raises:
            ConfigurationError: If there is none, it cannot be loaded, or it is something else.
        """
        if name in self.ours:
            return self.ours[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def offers(self, spec: str) -> bool:
        """Returns whether `spec`, perhaps with settings, names a plug-in or has an address, without loading it."""
        name, _ = split(spec)
        return is_address(name) or (name not in self.ours and bool(self._named(name)))

    def names(self) -> list[str]:
        """Returns all names, those of plug-ins too, without loading these."""
        return [*self.ours, *(point.name for point in self._points() if point.name not in self.ours)]

    def plugins(self) -> tuple[dict[str, T], list[str]]:
        """Returns all plug-ins that can be used, by name, and for each that cannot one line that says why."""
        found: dict[str, T] = {}
        faults: list[str] = []
        for name in sorted({point.name for point in self._points()}):
            try:
                if name in self.ours:
                    raise ConfigurationError(
                        f"{self.kind} '{name}' of {self._distributions(name)}: expected a name of its own, got one of "
                        f"robustkit's, which is used instead; use {self._named(name)[0].value}"
                    )
                found[name] = self.find(name)
            except ConfigurationError as error:
                faults.append(str(error))
        return found, faults

    def _points(self) -> list[EntryPoint]:
        # A distribution that is found twice on the path offers everything twice.
        return list({(point.name, point.value): point for point in entry_points(group=self.group)}.values())

    def _named(self, name: str) -> list[EntryPoint]:
        return [point for point in self._points() if point.name == name]

    def _distributions(self, name: str) -> str:
        return " and ".join(point.dist.name if point.dist else "?" for point in self._named(name))

    def _load(self, name: str) -> T:
        if points := self._named(name):
            who = f"{self.kind} '{name}' of {self._distributions(name)}"
            if len(points) > 1:
                addresses = " or ".join(point.value for point in points)
                raise ConfigurationError(f"{who}: expected one of that name, got {len(points)}; use {addresses}")
            try:
                remember(points[0].module)
                return self._checked(points[0].load(), who)
            except ConfigurationError:
                raise
            except (Exception, SystemExit) as error:
                raise ConfigurationError(
                    f"{who}: expected a plug-in that loads, got {one_line(error)}; repair or uninstall it"
                ) from error
        if is_address(name):
            return self._checked(load(name, self.kind), f"{self.kind} '{name}'")
        raise ConfigurationError(f"{self.kind}: expected a known name, got {name!r}{suggest(name, self.names())}")

    def _checked(self, value: Any, who: str) -> T:
        if not self.fits(value):
            got = f"the class {value.__name__}" if inspect.isclass(value) else f"a {type(value).__name__}"
            raise ConfigurationError(f"{who}: expected {self.expected}, got {got}; correct it")
        name = getattr(value, "name", None)
        if isinstance(name, str) and self.ours.get(name, value) is not value:
            raise ConfigurationError(f"{who}: expected a name of its own, got {name!r}; rename it")
        found: T = value
        return found


def named(value: Any, base: type) -> bool:
    """Returns whether `value` is a class below `base` that can be made and has a name."""
    return (
        inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "name", None), str)
    )


def is_address(text: str) -> bool:
    """Returns whether `text` is spelled `package.module:name`."""
    return re.fullmatch(ADDRESS, text) is not None


def load(address: str, who: str) -> Any:
    """Returns the object at `package.module:name`; the current directory is searched first.

    Args:
        address: Where to import it from.
        who: What it is, such as "model", for messages.

    Raises:
        ConfigurationError: If the module or the name is missing, or importing raises.
    """
    if not is_address(address):
        raise ConfigurationError(f"{who}: expected package.module:name, got '{address}'; correct it")
    module_name, _, attribute = address.partition(":")
    remember(module_name)
    with current_directory_first():
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing is not None and f"{module_name}.".startswith(f"{missing}."):
                here = [p.stem for p in Path.cwd().glob("*.py")]
                hint = suggest(module_name, here) if here else "; run from its folder, or install it"
                raise ConfigurationError(f"{who} '{address}': expected module '{missing}', found none{hint}") from None
            raise raised(who, address, "importing it", error) from error
    if not hasattr(module, attribute):
        known = [name for name in vars(module) if not name.startswith("_")]
        hint = suggest(attribute, known) if known else "; define it"
        raise ConfigurationError(f"{who} '{address}': expected '{attribute}' in it, found none{hint}")
    return getattr(module, attribute)


def raised(who: str, address: str, what: str, error: BaseException) -> ConfigurationError:
    """Returns the error for code at an address that raised one."""
    return ConfigurationError(f"{who} '{address}': expected no error, but {what} raised {one_line(error)}; fix it")


@contextmanager
def current_directory_first() -> Iterator[None]:
    """Context in which modules of the current directory can be imported, as `python -m` has it."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
