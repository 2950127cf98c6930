"""Options that several commands have: which model and data, which attacks, how the evaluation itself is checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.earlier_run import Recorded
from robustkit.cli.shared.model_and_data import ModelOptions, SeveralModels
from robustkit.cli.shared.offered import ATTACK, DATA, MODEL, NORM, OUTPUT
from robustkit.cli.shared.old_spellings import Renamed
from robustkit.cli.shared.option_types import CLASS_MAP, OUTPUT_KEY, REQUIREMENT
from robustkit.cli.shared.preprocessing import BOUNDS, IMAGE_SIZE, MEAN, STD, TRANSFORM
from robustkit.cli.shared.samples import Choice

Command = Callable[..., Any]
NAMES = {field.name for field in dataclasses.fields(ModelOptions)}

REQUIRE = click.option(
    "--require",
    "requirements",
    multiple=True,
    type=REQUIREMENT,
    help='Such as "robust_accuracy>=0.45", judged on the confidence bound; may be repeated.',
)
EXPECTED = click.option(
    "--expected-clean-accuracy", type=float, help="Stop unless the clean accuracy agrees, such as 0.938."
)
_SPLIT = click.option("--split", default="test", show_default=True, help="Part of the data.")
_BATCH_SIZE = click.option(
    "--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Samples per pass."
)
_EOT_SAMPLES = click.option(
    "--eot-samples", "draws", cls=Renamed, type=click.IntRange(1, 10_000), default=1, show_default=True,
    help="For a randomised model: passes that are averaged for each prediction.",
)  # fmt: skip
_SELECT = click.option("--select", "--select-classes", "select_classes", metavar="CLASS,...",
                       help="Only these classes of the data, by name or index.")  # fmt: skip
_OPTIONS = [
    click.option("--weights", type=click.Path(path_type=Path), help="Weights: .safetensors, .pt or .npz."),
    click.option("--weights-key", metavar="KEY", help="Which of several sets in the file, such as state_dict_ema."),
    click.option("--trust-checkpoint", is_flag=True, help="Also read files that can run code."),
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder with the files of a named data set."),
    _SPLIT,
    click.option("--label-column", help="Column of a table with the labels  [default: the one called label, y, ...]"),
    click.option("--schema", metavar="FILE", help="TOML file: what the columns of a table are, and how far each may "
                 "change; then without --eps."),
    TRANSFORM,
    IMAGE_SIZE,
    BOUNDS,
    MEAN,
    STD,
    click.option("--output", type=OUTPUT, default="auto", show_default=True,
                 help="What the model returns: auto, logits, probabilities, log_probabilities, sigmoid, binary_logit."),
    click.option("--output-key", type=OUTPUT_KEY,
                 help="Where the class scores are if the model returns several tensors: a name, or a number from 0."),
    click.option("--classes", type=click.IntRange(2, 10_000_000), help="Number of classes  [default: inferred]"),
    click.option("--class-names", help="Comma-separated names of the outputs, in their order; classes of the data are "
                 "joined to them by name."),
    click.option("--class-map", type=CLASS_MAP, help="Which class is which output: .csv with lines class,output or "
                 ".json; or position, from-1 or text-order."),
    _SELECT,
    _EOT_SAMPLES,
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    _BATCH_SIZE,
]  # fmt: skip


def model_options(function: Command) -> Command:
    """Adds the options of model and data to a command, which gets `model`, a `ModelOptions`."""
    options = [click.argument("model", type=MODEL), _data(required=True), *_OPTIONS]
    return _gathered(function, options, lambda values: ModelOptions(**values))


def optional_model_options(function: Command) -> Command:
    """Does the same for a command that has work without a model, too: `model` is None where no option was given."""

    def gather(values: dict[str, Any]) -> ModelOptions | None:
        given = _typed()
        if given and not {"model", "data"} <= given:
            got = ", ".join(sorted(_shown(name) for name in given))
            raise ConfigurationError(f"expected MODEL and --data together, got only {got}; give both or neither")
        return ModelOptions(**values) if given else None

    options = [click.argument("model", type=MODEL, required=False), _data(required=False), *_OPTIONS]
    return _gathered(function, options, gather)


def several_models_options(function: Command) -> Command:
    """Adds the same options for several models with the same data: `models` is a `SeveralModels`."""
    several = [
        click.argument("model", type=MODEL, nargs=-1, required=True),
        click.option("--weights", multiple=True, type=click.Path(path_type=Path), help="One for each model, in order."),
    ]

    def gather(values: dict[str, Any]) -> SeveralModels:
        return SeveralModels(values.pop("model"), values.pop("weights"), values)

    return _gathered(function, [*several, _data(required=True), *_OPTIONS[1:]], gather, "models")


def training_options(function: Command) -> Command:
    """Adds the options but those of passes: the training split is the default and the recipe has the batch size."""
    return _training(function, click.argument("model", type=MODEL), lambda values: ModelOptions(**values))


def _training(function: Command, model: Any, gather: Callable[[dict[str, Any]], ModelOptions]) -> Command:
    split = click.option("--split", default="train", show_default=True, help="Part of the data to train on.")
    fresh = click.option("--replace-head", is_flag=True, help="Give the loaded network a new last layer.")
    # A recipe's --select says how the best epoch is chosen.
    classes = click.option("--select-classes", metavar="CLASS,...", help="Only these classes of the data.")
    kept = [option for option in _OPTIONS if option not in (_SPLIT, _EOT_SAMPLES, _BATCH_SIZE, _SELECT)]
    options = [model, _data(required=True), *kept, split, fresh, classes]
    return _gathered(function, options, gather, names=NAMES - {"draws", "batch_size"})


def optional_training_options(function: Command) -> Command:
    """Does the same for a command that has work without a model, too: `model.model` is "" where none was named."""

    def gather(values: dict[str, Any]) -> ModelOptions:
        extra = _typed() - {"model", "data", "data_root", "split", "image_size", "bounds"}
        if values["model"] is None and extra:
            raise ConfigurationError(
                f"{', '.join(sorted(map(_shown, extra)))}: expected MODEL with it, got none; name the network or leave"
                " it out"
            )
        return ModelOptions(**{**values, "model": values["model"] or ""})

    return _training(function, click.argument("model", type=MODEL, required=False), gather)


def recorded_options(function: Command) -> Command:
    """Adds the options, none of them required, for a command with a record of model and data: `model` is `Recorded`."""
    options = [
        click.option("--model", type=MODEL, help="As MODEL for `robustkit audit`."),
        _data(required=False),
        *_OPTIONS,
    ]
    return _gathered(function, options, lambda values: Recorded(values, _typed()))


def attack_options(
    about: str,
    norm: str = "Linf, L2 or L1; L0 or L0-pixels, how many values or pixels are changed; patch, the side of a square.",
    eps: str = "Perturbation radius in input units, a number or a fraction.",
) -> Callable[[Command], Command]:
    """Returns a decorator that adds --norm, --eps and the repeatable --attack, with these helps."""

    def add(function: Command) -> Command:
        options = [
            click.option("--norm", type=NORM, default="Linf", show_default=True, help=norm),
            click.option("--eps", default="8/255", show_default=True, help=eps),
            click.option(
                "--attack", "attacks", type=ATTACK, multiple=True, metavar="NAME[:SETTING=VALUE,...]", help=about
            ),
        ]
        return _added(function, options)

    return add


def probe_options(function: Command) -> Command:
    """Adds --probes, how many samples the checks of the evaluation itself look at."""
    option = click.option(
        "--probes",
        type=click.IntRange(0),
        default=64,
        show_default=True,
        help="Samples for checking the evaluation itself after the attacks; 0 skips these checks.",
    )
    return _added(function, [option])


def tuning_option(function: Command) -> Command:
    """Adds --tuning-data, which `ModelOptions.load_tuning` reads."""
    option = click.option(
        "--tuning-data",
        "tuning",
        metavar="DATA",
        help="What the model was trained or tuned on, given like --data (its train split), or the data.sha256 of a "
        "report; samples found in both are counted.",
    )
    return _added(function, [option])


def sample_options(least: int = 1, default: int | None = None) -> Callable[[Command], Command]:
    """Returns a decorator that adds --limit and --first, at least `least`; the command gets `samples`, a `Choice`.

    Args:
        least: The smallest number of samples that makes sense.
        default: The limit where neither was typed.
    """
    few = click.IntRange(least)
    options = [
        click.option("--limit", type=few, help="Only so many samples, a random sample with every class in proportion"
                     + (f"  [default: {default}]" if default else ".")),
        click.option("--first", type=few, help="Only the first so many samples."),
    ]  # fmt: skip

    def gather(values: dict[str, Any]) -> Choice:
        limit, first = values["limit"], values["first"]
        return Choice(limit or (None if first else default), first)

    return lambda function: _gathered(function, options, gather, "samples", {"limit", "first"})


def _added(function: Command, options: list[Any]) -> Command:
    for option in reversed(options):
        function = option(function)
    return function


def _gathered(
    function: Command,
    options: list[Any],
    gather: Callable[[dict[str, Any]], Any],
    argument: str = "model",
    names: set[str] = NAMES,
) -> Command:
    """Adds options; of the values called `names`, which say what to load, `gather` makes one argument."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        chosen = {name: values.pop(name) for name in list(values) if name in names}
        return function(**{argument: gather(chosen)}, **values)

    return _added(command, options)


def _data(required: bool) -> Any:
    return click.option(
        "--data",
        type=DATA,
        required=required,
        help="digits, mnist, fashion-mnist, cifar10, cifar100, svhn, a folder of images, an .npz, .csv, .tsv or "
        ".parquet file, or package.module:factory.",
    )


def _typed() -> set[str]:
    """Returns which of the options were typed."""
    context = click.get_current_context()
    return {name for name in NAMES if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}


def _shown(name: str) -> str:
    return {"model": "MODEL", "draws": "--eot-samples"}.get(name, f"--{name.replace('_', '-')}")
