"""Options that say which model and which data, and what becomes of them; shared by the commands that load both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.errors import ConfigurationError, RobustkitError

if TYPE_CHECKING:
    import torch

    from robustkit.classifier import Classifier
    from robustkit.composition import Part
    from robustkit.data import Dataset

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


@dataclasses.dataclass(frozen=True)
class Case:
    """A loaded model with its data."""

    classifier: Classifier
    dataset: Dataset
    spec: str
    weights: Path | None
    batch_size: int

    def count_classes(self) -> int:
        """Returns how many classes the model has, asking it about some samples if nobody said.

        Raises:
            ConfigurationError: If the data can be read only once.
            InvalidEvaluation: If the doctor refuses data or model.
        """
        from robustkit.data import batches
        from robustkit.doctor import ROWS, examine

        classifier = self.classifier
        if classifier.num_classes is not None:
            return classifier.num_classes
        if isinstance(self.dataset.source, Iterator):
            raise ConfigurationError("audit: expected --classes, because these data can be read only once; add it")
        first = next(batches(self.dataset, ROWS, ROWS))
        examine(classifier, first.x, first.y)
        with classifier.frozen():
            return classifier.classes(classifier.accept(first.x[:1]))

    def part(self, x: torch.Tensor) -> Part:
        """Returns how a composition names this model, which takes inputs like `x` (N, ...)."""
        from robustkit.composition import Part

        classifier = self.classifier
        mean, std = (None if c is None else tuple(c.flatten().tolist()) for c in (classifier.mean, classifier.std))
        return Part(
            model=self.spec,
            weights=None if self.weights is None else str(self.weights),
            input_shape=tuple(x.shape[1:]),
            num_classes=classifier.num_classes,
            bounds=classifier.bounds,
            mean=mean,
            std=std,
            output=classifier.output,
        )


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
    return _with(function, options, names, lambda values: functools.partial(_load, **values))


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
        return functools.partial(_load, **values) if given else None

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
    return _with(function, options, _NAMES, lambda values: functools.partial(_load_all, **values))


def _load_all(*, model: tuple[str, ...], weights: tuple[Path, ...], **common: Any) -> list[Case]:
    files: list[Path | None] = [*weights] or [None] * len(model)
    names = model * len(files) if len(model) == 1 else model
    if len(names) != len(files):
        raise ConfigurationError(
            f"--weights: expected one for each of {len(names)} models, got {len(files)}; give as many, or none"
        )
    return [_load(model=name, weights=file, **common) for name, file in zip(names, files, strict=True)]


_NAMES = {
    "model", "weights", "trust_checkpoint", "data", "data_root", "split", "image_size", "bounds", "mean", "std",
    "output", "classes", "class_names", "draws", "device", "batch_size", "replace_head",
}  # fmt: skip


def numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Returns the numbers of a comma list, None for None.

    Raises:
        ConfigurationError: If something is no number.
    """
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--{name}: expected numbers parted by commas, got {text!r}; correct it") from None


def fraction(name: str, text: str | None) -> float | None:
    """Returns what "2%", "±2%" or "0.02" stands for, None for None.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if text is None:
        return None
    try:
        bare = text.strip().removeprefix("\N{PLUS-MINUS SIGN}").removeprefix("+-")
        return float(bare.removesuffix("%")) / 100 if bare.endswith("%") else float(bare)
    except ValueError:
        raise ConfigurationError(f"--{name}: expected a share such as 2% or 0.02, got {text!r}; correct it") from None


def seconds(name: str, text: str | None) -> float | None:
    """Returns what "90", "90s", "10m" or "1.5h" stands for, None for None.

    Raises:
        ConfigurationError: If it is none of these.
    """
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        return float(text.rstrip("smh")) * units[text[-1] if text[-1:] in units else "s"]
    except ValueError:
        raise ConfigurationError(
            f"--{name}: expected a time such as 90s, 10m or 1h, got {text!r}; correct it"
        ) from None


def find_device(name: str) -> torch.device:
    """Returns the device called `name`; "auto" is the first GPU, or the CPU where there is none.

    Raises:
        ConfigurationError: If it does not exist.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0][:100]
        raise ConfigurationError(f"--device: expected cpu, cuda or cuda:N, got {name!r} ({why}); use auto") from None
    return device


def _load(
    *,
    model: str,
    weights: Path | None,
    trust_checkpoint: bool,
    data: str,
    data_root: Path | None,
    split: str,
    image_size: int | None,
    bounds: str | None,
    mean: str | None,
    std: str | None,
    output: Any,
    classes: int | None,
    class_names: str | None,
    device: str,
    draws: int = 1,
    batch_size: int = 256,
    replace_head: bool = False,
) -> Case:
    from robustkit.classifier import Classifier
    from robustkit.data import batches
    from robustkit.datasets import load_data
    from robustkit.loading import load_model
    from robustkit.models import is_small
    from robustkit.training import replace_head as put_head

    place = find_device(device)
    dataset = load_data(data, data_root, split, image_size)
    limits = numbers("bounds", bounds)
    if limits is not None:
        if len(limits) != 2:
            raise ConfigurationError(f"--bounds: expected two numbers such as 0,1, got {bounds!r}; correct it")
        dataset = dataclasses.replace(dataset, bounds=limits)
    names = tuple(part.strip() for part in class_names.split(",")) if class_names else dataset.class_names
    classes = classes or (len(names) if names else None)
    shape = None
    if (is_small(model) or replace_head) and not isinstance(dataset.source, Iterator):
        shape = tuple(next(batches(dataset, 1, 1)).x.shape[1:])
        classes = classes or 1 + max(int(batch.y.max()) for batch in batches(dataset, 1024))
    module = load_model(model, weights, shape, None if replace_head else classes, trust_checkpoint)
    if replace_head:
        assert classes is not None
        put_head(module, classes)
    try:
        module = module.to(place)
    except RobustkitError:
        raise
    except Exception as error:
        raise ConfigurationError(f"model: expected one that moves to {place}, got {type(error).__name__}") from error
    classifier = Classifier(
        module,
        bounds=dataset.bounds,
        mean=numbers("mean", mean),
        std=numbers("std", std),
        output=output,
        num_classes=classes,
        class_names=names,
        draws=draws,
        device=place,
    )
    return Case(classifier, dataset, model, weights, batch_size)
