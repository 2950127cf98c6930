"""`robustkit train`: from a model, data and a recipe to weights."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.cli.shared.model_and_data import Case
from robustkit.cli.shared.options import training_options
from robustkit.defenses.training.recipe import Recipe, read_toml

FIELDS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Recipe)}


def recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for every setting of the recipe; left out, it is None. The help is that of `Recipe`."""
    kinds, text = typing.get_type_hints(Recipe), Recipe.__doc__ or ""
    for name in reversed(FIELDS):
        found = re.search(rf"^ +{name}: (.*(?:\n {{10,}}.*)*)", text, re.MULTILINE)
        shown = f"{' '.join(found[1].split()) if found else ''}  [default: {_spelled(FIELDS[name])}]"
        flag, kind = f"--{name.replace('_', '-')}", kinds[name]
        if kind in (bool, bool | None):
            function = click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=shown)(function)
        else:
            function = click.option(flag, name, type=_click_type(kind), help=shown)(function)
    return function


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


def _tuple(name: str, text: str) -> tuple[Any, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(map(type(FIELDS[name][0]) if FIELDS[name] else str, parts))
    except ValueError:
        raise ConfigurationError(f"--{name}: expected numbers parted by commas, got {text!r}; correct it") from None


def _read(context: click.Context, _: click.Parameter, path: Path | None) -> dict[str, Any]:
    """Makes the settings of a file the defaults of the command, and returns those of the recipe."""
    settings = {} if path is None else read_toml(path)
    known = [parameter.name or "" for parameter in context.command.params]
    for name in settings:
        if name not in known:
            raise ConfigurationError(f"--config '{path}': expected a known setting, got {name!r}{suggest(name, known)}")
    context.default_map = {name: value for name, value in settings.items() if name not in FIELDS}
    return {name: value for name, value in settings.items() if name in FIELDS}


@click.command("train", short_help="Train a model, adversarially or not.")
@click.option("--config", type=click.Path(path_type=Path), is_eager=True, callback=_read, expose_value=True,
              help="TOML file with any of the settings below by name; options on the command line win.")  # fmt: skip
@training_options
@click.option("--objective", default="pgd-at", show_default=True, metavar="NAME[:SETTING=VALUE,...]",
              help="standard, pgd-at, fgsm-rs, n-fgsm, free, trades, mart; awp+..., gradalign+..., augmix+... wrap one."
              " Settings of the inner PGD too, such as trades:beta=6,steps=10.")  # fmt: skip
@click.option("--norm", default="Linf", show_default=True, help="Linf, L2 or L1.")
@click.option("--eps", default="8/255", show_default=True, help="Budget in input units, a number or a fraction.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("robustkit-training"), show_default=True,
              help="Folder for weights.safetensors, checkpoint.safetensors, log.csv and log.jsonl.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--quiet", is_flag=True, help="No progress.")
@recipe_options
def command(
    load: Callable[[], Case],
    config: dict[str, Any],
    objective: str,
    norm: Any,
    eps: str,
    limit: int | None,
    out: Path,
    resume: bool,
    quiet: bool,
    **settings: Any,
) -> int:
    """Train MODEL and write the weights of its best epoch, judged by robust accuracy on samples held out from training.

    MODEL is package.module:factory, torchvision:NAME, timm:NAME, or a small model by name: mlp, cnn, lenet, strided,
    lstm, preact_resnet18, wideresnet[:depth=28,width=10], vit.

    \b
    Examples:
      robustkit train cnn --data digits --objective trades:beta=2 --eps 0.1 --epochs 20
      robustkit train torchvision:resnet18 --weights resnet18.safetensors --replace-head \\
          --data ~/flowers/train --image-size 224 --objective standard --head-epochs 3
      torchrun --nproc-per-node 4 -m robustkit train preact_resnet18 --data cifar10
    """
    from robustkit.attacks import PGD
    from robustkit.base.processes import ranks
    from robustkit.cli.shared import screen
    from robustkit.cli.shared.report_files import check_folder
    from robustkit.data.dataset import batches
    from robustkit.defenses import create, fit

    check_folder(out)
    typed = {name: value for name, value in settings.items() if value is not None}
    typed = {name: _tuple(name, value) if isinstance(FIELDS[name], tuple) else value for name, value in typed.items()}
    recipe = Recipe.of({**config, **typed})
    goal = create(objective, norm, eps)
    case = load()
    samples = next(batches(case.dataset, 1 << 40, limit))
    about = {"model": case.spec, "data": case.dataset.name, "split": str(case.dataset.split)}
    try:
        with screen.progress(quiet or not ranks().first) as bar:
            training = fit(
                case.classifier,
                samples.x,
                samples.y,
                goal,
                recipe,
                ids=samples.ids,
                attack=PGD(norm=norm, eps=eps, steps=recipe.val_steps),
                folder=out,
                resume=resume,
                about=about,
                progress=None if quiet else bar.training(case.spec, lines=True),
            )
    except KeyboardInterrupt:
        if not ranks().first:
            return 130
        click.echo(f"robustkit: interrupted; {out / 'checkpoint.safetensors'}, if it is there, goes on with --resume",
                   err=True)  # fmt: skip
        return 130
    fatal = [finding for finding in training.findings if finding.fatal]
    if fatal and fatal[-1].epoch < len(training.epochs) and not training.stopped:
        fatal = []  # rolled back or overcome: the last epochs are sound
    if not ranks().first:
        return 3 if fatal else 0
    screen.out().print(screen.training_text(training, f"{objective} training of {case.spec}", f"{norm} {eps}"))
    click.echo(f"  weights {out / 'weights.safetensors'}")
    for finding in fatal:
        click.echo(f"robustkit: {finding}", err=True)
    return 3 if fatal else 0
