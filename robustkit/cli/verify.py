"""`robustkit verify`: what of a bundle holds, what is false, and what has to be taken on trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robustkit.cli.shared.options import recorded_options
from robustkit.cli.shared.recorded import Again


@click.command("verify", short_help="Check a report and its evidence; no attack is run.")
@click.argument("bundle", type=click.Path(path_type=Path))
@recorded_options
def command(load: Again, bundle: Path) -> int:
    """Check what `robustkit audit` wrote: a folder, or its .zip archive.

    Four checks: the files are those that were written; every figure follows from the ledger; every adversarial input
    lies within its budget, measured anew; one pass of the model gives what the ledger says. Model and data are taken
    from the manifest where it names known models and data or files that are here; options win over it.

    \b
    Exit codes:
      0 all that was checked holds, 1 something is false, 2 no bundle, or model or data cannot be used.

    \b
    Example:
      robustkit verify robustkit-report --weights resnet.safetensors
    """
    from robustkit.bundle import verify
    from robustkit.bundle.opening import check_files, opened
    from robustkit.cli.shared import screen

    with opened(bundle) as folder:
        manifest, _ = check_files(folder)
        cases = [load.case(part.load, manifest.files, folder) for part in manifest.audits] if manifest else []
        found = [None if isinstance(case, str) else case for case in cases]
        model: Any = [case and case.classifier for case in found]
        data: Any = [case and case.dataset for case in found]
        weights: Any = [case and case.weights for case in found]
        if len(cases) == 1:
            (model,), (data,), (weights,) = model, data, weights
        result = verify(folder, model, data, weights=weights, batch_size=load.values["batch_size"])
    console = screen.out()
    console.print(screen.verification_table(result, bundle.resolve().name))
    console.print(screen.verification_notes(result, [case for case in cases if isinstance(case, str)]), soft_wrap=True)
    if not result.holds:
        click.echo(f"robustkit: '{bundle}' is not what it claims: {len(result.false)} claims are false", err=True)
        return 1
    return 0
