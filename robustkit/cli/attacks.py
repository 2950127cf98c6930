"""`robustkit attacks`: what there is to attack with."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

import click

from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.offered import ATTACK

if TYPE_CHECKING:
    from robustkit.attacks import Attack

COMMON = ("norm", "eps", "target")


@click.command("attacks", cls=Command, short_help="List the attacks, or explain one of them.")
@click.argument("name", type=ATTACK, required=False)
def command(name: str | None) -> None:
    """List the attacks with their norms, kind, settings and source, or explain NAME with every setting it has.

    \b
    Settings follow the name: --attack pgd:steps=100,restarts=5,loss=margin
    """
    from robustkit.attacks import ATTACKS, KNOWN

    plugins, faults = ({}, ()) if name else KNOWN.plugins()
    chosen = {name: KNOWN.find(name)} if name else dict(sorted({**ATTACKS, **plugins}.items()))
    answer(lambda: {"attacks": [_described(each, kind) for each, kind in chosen.items()]})
    if name:
        _explain(name, chosen[name])
    else:
        _list([*chosen.items()])
    for fault in faults:
        say(f"robustkit: {fault}", err=True)


def _described(name: str, kind: type[Attack]) -> dict[str, Any]:
    """Returns an attack as JSON has it."""
    description, settings = _paragraphs(kind), _settings(kind)
    return {
        "name": name,
        "kind": kind.kind,
        "norms": kind.norms,
        "source": kind.source,
        "description": "\n\n".join(description),
        "settings": [
            {"name": setting, "default": default, "description": _meaning(kind, setting)}
            for setting, default in settings.items()
        ],
    }


def _list(every: list[tuple[str, type[Attack]]]) -> None:
    from rich.text import Text

    from robustkit.cli.shared import terminal

    console = terminal.out()
    width = max(len(name) for name, _ in every)
    for name, kind in every:
        table = terminal.plain_table("", "", left=[""])
        table.show_header, table.columns[0].width = False, width
        table.add_row(Text(name, style="bold"), Text((kind.__doc__ or "").splitlines()[0]))
        settings = [f"{name}={_shown(default)}" for name, default in _settings(kind).items()]
        table.add_row("", Text(f"{kind.kind}; {', '.join(kind.norms)}; {', '.join(settings)}", style="dim"))
        table.add_row("", Text(kind.source, style="dim"))
        console.print(table)
    console.print("\n  All take norm, eps and target; so does any attack from foolbox:")
    console.print("  --attack foolbox:LinfDeepFoolAttack,steps=50")
    console.print("  and any class of your own: --attack package.module:Class:setting=value")
    console.print("  `robustkit attacks NAME` explains one of them.")


def _explain(name: str, kind: type[Attack]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from robustkit.cli.shared import terminal

    console = terminal.out()
    summary, *others = _paragraphs(kind)
    console.print(Text(f"{name}: {summary}\n", style="bold"))
    for paragraph in others:
        console.print(Text(f"{paragraph}\n"))
    console.print(Text(f"{kind.kind}; {', '.join(kind.norms)}; {kind.source}\n", style="dim"))
    for setting, default in _settings(kind).items():
        console.print(Text(f"  {setting}={_shown(default)}"))
        console.print(Padding(Text(_meaning(kind, setting), style="dim"), (0, 0, 0, 6)))
    example = next(iter(_settings(kind).items()), None)
    console.print(f"\n  --attack {name}" + (f":{example[0]}={_shown(example[1])}" if example else ""), markup=False)


def _paragraphs(kind: type[Attack]) -> list[str]:
    text = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")[0]
    return [" ".join(part.split()) for part in re.split(r"\n\n|\n(?=- )", text)]


def _meaning(kind: type[Attack], setting: str) -> str:
    from robustkit.attacks import Attack
    from robustkit.cli.shared.docstrings import of_setting

    return of_setting(kind.__doc__, setting) or of_setting(Attack.__doc__, setting)


def _shown(default: Any) -> str:
    return "auto" if default is None else str(default)


def _settings(kind: type[Attack]) -> dict[str, Any]:
    """Returns the settings of an attack with their defaults, None for auto, its own before those of all attacks."""
    from robustkit.attacks import Noise  # has no settings of its own

    shared = [field.name for field in dataclasses.fields(Noise)]
    fields = sorted(dataclasses.fields(kind), key=lambda field: field.name in shared)
    return {
        field.name: field.default
        for field in fields
        if field.name not in COMMON and field.default not in (dataclasses.MISSING, ())
    }
