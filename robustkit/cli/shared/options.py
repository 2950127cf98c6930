"""Options that say which model and which data, and what becomes of them; shared by the commands that load both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.model_and_data import Case, load_case, load_cases
from robustkit.cli.shared.recorded import Again

_SPLIT = click.option("--split", default="test", show_default=True, help="Part of the data.")
_BATCH_SIZE = click.option(
    "--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Samples per pass."
)
_DRAWS = click.option(
    "--draws",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="For a random model: passes a verdict is the mean of.",
)
_OPTIONS = [
    click.option("--weights", type=click.Path(path_type=Path), help="Weights: .safetensors, or .pt without pickles."),
    click.option("--trust-checkpoint", is_flag=True, help="Also read files that can run code."),
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder with the files of a named data set."),
    _SPLIT,
    click.option("--image-size", type=click.IntRange(1), help="Resize and crop the images of a folder."),
    click.option("--bounds", help="Lowest and highest input value  [default: the data's, mostly 0,1]"),
    click.option("--mean", help="Subtracted per channel before the model, such as 0.485,0.456,0.406."),
    click.option("--std", help="Divides per channel after --mean."),
    click.option("--output", default="auto", show_default=True,
                 help="What the model returns: auto, logits, probabilities, log_probabilities, binary_logit."),
    click.option("--classes", type=click.IntRange(2), help="Number of classes  [default: seen from data and model]"),
    click.option("--class-names", help="Comma list of names, in the order of the outputs."),
    _DRAWS,
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    _BATCH_SIZE,
]  # fmt: skip


def case_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which gets one argument `load`: a function that returns the `Case`."""
    return _with_case(function, required=True)


def optional_case_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Does the same for a command that has work without a model too: `load` is None where no option was given."""
    return _with_case(function, required=False)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options but those of passes: the training split is the default and the recipe has the batch size."""
    split = click.option("--split", default="train", show_default=True, help="Part of the data to train on.")
    fresh = click.option("--replace-head", is_flag=True, help="Give the loaded network a new last layer.")
    kept = [option for option in _OPTIONS if option not in (_SPLIT, _DRAWS, _BATCH_SIZE)]
    options = [click.argument("model"), _data(True), *kept, split, fresh]
    names = _NAMES - {"batch_size", "draws"}
    return _with(function, options, names, lambda values: functools.partial(load_case, **values))


def recorded_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options, none of them required, for a command with a record of model and data: `load` is an `Again`."""
    options = [click.option("--model", help="As MODEL for `robustkit audit`."), _data(False), *_OPTIONS]
    return _with(function, options, _NAMES, lambda values: Again(values, _given()))


def attack_options(
    about: str,
    norm: str = "Linf, L2 or L1.",
    eps: str = "Budget in input units, a number or a fraction.",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that adds --norm, --eps and the repeatable --attack, with these helps."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--attack", "attacks", multiple=True, metavar="NAME[:SETTING=VALUE,...]", help=about),
            click.option("--eps", default="8/255", show_default=True, help=eps),
            click.option("--norm", default="Linf", show_default=True, help=norm),
        ):
            function = option(function)
        return function

    return add


def _with_case(function: Callable[..., Any], required: bool) -> Callable[..., Any]:
    def loader(values: dict[str, Any]) -> Callable[..., Case] | None:
        given = _given()
        if given and not {"model", "data"} <= given:
            got = ", ".join(sorted("MODEL" if name == "model" else f"--{name.replace('_', '-')}" for name in given))
            raise ConfigurationError(f"expected MODEL and --data together, got only {got}; give both or neither")
        return functools.partial(load_case, **values) if given else None

    return _with(function, [click.argument("model", required=required), _data(required), *_OPTIONS], _NAMES, loader)


def _with(
    function: Callable[..., Any], options: list[Any], names: set[str], loader: Callable[[dict[str, Any]], Any]
) -> Callable[..., Any]:
    """Adds options; of the values called `names`, which say what to load, `loader` makes the argument `load`."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        case = {name: values.pop(name) for name in list(values) if name in names}
        return function(load=loader(case), **values)

    for option in reversed(options):
        command = option(command)
    return command


def _data(required: bool) -> Callable[..., Any]:
    return click.option(
        "--data",
        required=required,
        help="digits, mnist, fashion-mnist, cifar10, cifar100, svhn, a folder of images, an .npz file, or "
        "package.module:factory.",
    )


def _given() -> set[str]:
    """Returns which of the options were typed."""
    context = click.get_current_context()
    return {name for name in _NAMES if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}


def cases_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the same options for several models; `load` returns a list with one `Case` for each.

    One model with several --weights stands for as many: snapshots of one architecture.
    """
    several = [
        click.argument("model", nargs=-1, required=True),
        click.option("--weights", multiple=True, type=click.Path(path_type=Path), help="One for each model, in order."),
    ]
    options = [*several, _data(True), *_OPTIONS[1:]]
    return _with(function, options, _NAMES, lambda values: functools.partial(load_cases, **values))


_NAMES = {
    "model", "weights", "trust_checkpoint", "data", "data_root", "split", "image_size", "bounds", "mean", "std",
    "output", "classes", "class_names", "draws", "device", "batch_size", "replace_head",
}  # fmt: skip
