"""`robustkit attacks`: what there is to attack with."""

from __future__ import annotations

import dataclasses

import click

from robustkit.cli.shared.echo import say


@click.command("attacks", short_help="List the attacks and their settings.")
def command() -> None:
    """List the attacks with their norms, kind, settings and source.

    \b
    Settings follow the name: --attack pgd:steps=100,restarts=5,loss=margin
    """
    from rich.text import Text

    from robustkit.attacks import ATTACKS, KNOWN
    from robustkit.cli.shared import terminal

    console = terminal.out()
    plugins, faults = KNOWN.plugins()
    every = sorted({**ATTACKS, **plugins}.items())
    width = max(len(name) for name, _ in every)
    for name, kind in every:
        common = ("norm", "eps", "target")
        settings = [
            f"{field.name}={'auto' if field.default is None else field.default}"
            for field in dataclasses.fields(kind)
            if field.name not in common and field.default not in (dataclasses.MISSING, ())
        ]
        table = terminal.plain_table("", "", left=[""])
        table.show_header, table.columns[0].width = False, width
        table.add_row(Text(name, style="bold"), Text((kind.__doc__ or "").splitlines()[0]))
        table.add_row("", Text(f"{kind.kind}; {', '.join(kind.norms)}; {', '.join(settings)}", style="dim"))
        table.add_row("", Text(kind.source, style="dim"))
        console.print(table)
    console.print("\n  All take norm, eps and target; so does any attack from foolbox:")
    console.print("  --attack foolbox:LinfDeepFoolAttack,steps=50")
    console.print("  and any class of your own: --attack package.module:Class:setting=value")
    for fault in faults:
        say(f"robustkit: {fault}", err=True)
