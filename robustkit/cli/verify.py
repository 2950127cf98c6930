"""`robustkit verify`: what of a bundle holds, what is false, and what has to be taken on trust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.exit_codes import ExitCode
from robustkit.base.printable import printable
from robustkit.cli.shared.answer import answer
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.earlier_run import Recorded
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.options import recorded_options
from robustkit.cli.shared.signing import expected_options

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from robustkit.bundle import Verification
    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.report.document.manifest import Manifest


@click.command("verify", cls=Command, short_help="Check a report and its evidence.")
@click.argument("bundle", type=click.Path(path_type=Path))
@recorded_options
@expected_options
@click.option(
    "--attack-again",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Attack N robust samples, picked at random, again by the attacks the report names; 64 bound what it may hide.",
)
@click.option("--seed", type=click.IntRange(0), help="Of that choice; a fresh one unless it is given.")
@click.option(
    "--allow-unchecked",
    is_flag=True,
    help="Exit 0 even where model or data are not here, so that a bundle was only compared with itself.",
)
def command(
    model: Recorded, bundle: Path, attack_again: int, seed: int | None, allow_unchecked: bool, **expected: Any
) -> ExitCode:
    """Check what `robustkit audit` wrote: a folder, or its .zip archive.

    Four checks: the files are those that were written; every figure follows from the ledger; every adversarial example
    lies within its perturbation radius, measured again; one pass of the model gives what the ledger says. Known
    names of models and data, and weights inside the bundle, are taken from the manifest. Functions are called and files
    opened only if you name them. Options win over the manifest. With --key, somebody must have signed it, too.

    \b
    Exit codes:
      0    everything holds, model and data included
      1    a claim is false
      2    no bundle, or model or data cannot be used
      3    nothing is false, but the report itself calls its evaluation invalid
      4    nothing is false, but something was not checked, mostly because
           model or data are not here (0 with --allow-unchecked)

    \b
    Example:
      robustkit verify robustkit-report --weights resnet.pt --data test.npz
    """
    from robustkit.bundle.open_bundle import check_files, opened
    from robustkit.cli.shared import terminal

    with opened(bundle) as folder:
        manifest, _ = check_files(folder)
        loaded = load_recorded(model, manifest, folder)
        batch_size = model.values["batch_size"]
        result = check(folder, loaded, batch_size=batch_size, attack_again=attack_again, seed=seed, **expected)
    reasons = [missing for missing in loaded if isinstance(missing, str)]
    answer(result, holds=result.holds, not_loaded=reasons)
    console = terminal.out()
    terminal.print_titled(console, bundle.resolve().name, verification_table(result))
    for note in verification_notes(result, reasons):
        console.print(note, soft_wrap=True)
    if not result.holds:
        said = f"robustkit: '{bundle}' is not what it claims: {len(result.false)} claims are false"
        say(said, err=True)
        return ExitCode.NOT_MET
    if result.invalid:
        said = f"robustkit: '{bundle}' holds, and calls its own evaluation invalid ({', '.join(result.invalid)})"
        say(said, err=True)
        return ExitCode.UNRELIABLE
    if not result.unchecked or allow_unchecked:
        return ExitCode.OK
    open_ones = ", ".join(check.what for check in result.unchecked)
    said = f"nothing is false, but of '{bundle}' not everything was checked ({open_ones})"
    say(
        printable(f"robustkit: undecided: {said}; give what is not here, or --allow-unchecked"),
        err=True,
    )
    return ExitCode.UNDECIDED


def load_recorded(model: Recorded, manifest: Manifest | None, folder: Path) -> list[ModelAndData | str]:
    """Returns model and data of every audit in the bundle, or why they cannot be loaded."""
    return [model.load(part.load, manifest.files, folder) for part in manifest.audits] if manifest else []


def check(folder: Path, loaded: Sequence[ModelAndData | str], **arguments: Any) -> Verification:
    """Returns what of the bundle holds, checked with the models and data that could be loaded; the rest as `verify`."""
    from robustkit.bundle import verify

    found = [None if isinstance(one, str) else one for one in loaded]
    models: Any = [one and one.classifier for one in found]
    data: Any = [one and one.dataset for one in found]
    weights: Any = [one and one.weights for one in found]
    if len(found) == 1:
        (models,), (data,), (weights,) = models, data, weights
    return verify(folder, models, data, weights=weights, **arguments)


def verification_table(result: Verification) -> Table:
    """Returns what was checked, and whether it holds."""
    from rich.text import Text

    from robustkit.cli.shared.terminal import plain_table

    table = plain_table("", "checked", "", left=["", "checked"])
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    colours = {"holds": "green", "false": "bold red", "not checked": "yellow"}
    told = ""
    for item in result.checks:
        level = item.level if item.level != told else ""
        table.add_row(Text(level, style="bold"), Text(item.what), Text(item.status, style=colours[item.status]))
        told = item.level
    return table


def verification_notes(result: Verification, reasons: Sequence[str]) -> Iterator[Text]:
    """Yields what is false, what is no more than noise, and what was or can not be checked, one line each.

    `reasons` say why models or data could not be loaded.
    """
    from rich.text import Text

    missing = {"no data", "no model"} if reasons else set()
    unchecked = [*reasons, *(item.note for item in result.checks if item.note and item.note not in missing)]
    for mismatch in result.false:
        yield Text.assemble(("  false: ", "bold red"), str(mismatch))
    for remark in result.remarks:
        yield Text.assemble(("  remark: ", "yellow"), remark)
    for reason in dict.fromkeys(unchecked):
        yield Text.assemble(("  not checked: ", "yellow"), reason)
    yield Text("  taken on trust:", style="dim")
    for claim in result.trusted:
        yield Text(f"  - {claim}", style="dim")
