"""An option for every setting of a training recipe, with the help that `Recipe` has for it."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from robustkit.cli.shared.command import Command
from robustkit.cli.shared.docstrings import of_setting
from robustkit.cli.shared.option_types import NUMBERS

if TYPE_CHECKING:
    from robustkit.defenses.training.recipe import Recipe


class RecipeCommand(Command):
    """A command that has them, made when they are needed: `robustkit --help` need not wait for torch."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Returns the command's own options, those of the recipe that are called like none of them, and --help."""
        found = super().get_params(ctx)
        own, taken = len(self.params), {spelling for parameter in self.params for spelling in parameter.opts}
        return [*found[:own], *(option for option in recipe_options() if not taken & {*option.opts}), *found[own:]]


@functools.cache
def defaults() -> dict[str, Any]:
    """Returns the settings of a recipe with their defaults."""
    from robustkit.defenses.training.recipe import Recipe

    return {field.name: field.default for field in dataclasses.fields(Recipe)}


@functools.cache
def recipe_options() -> tuple[click.Option, ...]:
    """Returns the options; one that is left out is None."""
    from robustkit.defenses.training.recipe import Recipe

    kinds, text = typing.get_type_hints(Recipe), Recipe.__doc__ or ""
    return tuple(_option(name, kinds[name], text) for name in defaults())


def recipe_of(options: dict[str, Any]) -> Recipe:
    """Returns the recipe of the options that were typed."""
    from robustkit.defenses.training.recipe import Recipe

    return Recipe.of({name: _read(name, value) for name, value in options.items() if value is not None})


def _option(name: str, kind: Any, text: str) -> click.Option:
    shown = f"{of_setting(text, name)}  [default: {_spelled(defaults()[name])}]"
    flag = f"--{name.replace('_', '-')}"
    if kind in (bool, bool | None):
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=shown)
    return click.Option([flag, name], type=_click_type(kind), help=shown)


def _spelled(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value).lower()


class _OrNone(click.types.StringParamType):
    """What the recipe takes, or the word none."""

    def __init__(self, kind: type) -> None:
        self.kind = click.types.convert_type(kind)
        self.name = self.kind.name

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        return value if value == "none" else self.kind.convert(value, parameter, context)


def _click_type(kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return _OrNone(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    return str if get_origin(kind) is tuple else kind


def _read(name: str, value: Any) -> Any:
    """Returns the value of an option, a tuple for a comma-separated list."""
    default = defaults()[name]
    if not isinstance(default, tuple):
        return value
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    return NUMBERS.read(f"--{name}", ",".join(parts)) if default and parts else parts
