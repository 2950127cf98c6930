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
    from robustkit.data import Dataset

_OPTIONS = [
    click.argument("model"),
    click.option("--weights", type=click.Path(path_type=Path), help="Weights: .safetensors, or .pt without pickles."),
    click.option("--trust-checkpoint", is_flag=True, help="Also read files that can run code."),
    click.option("--data", required=True, help="digits, mnist, fashion-mnist, cifar10, cifar100, svhn, a folder of "
                 "images, an .npz file, or package.module:factory."),
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder with the files of a named data set."),
    click.option("--split", default="test", show_default=True, help="Part of the data."),
    click.option("--image-size", type=click.IntRange(1), help="Resize and crop the images of a folder."),
    click.option("--bounds", help="Lowest and highest input value  [default: the data's, mostly 0,1]"),
    click.option("--mean", help="Subtracted per channel before the model, such as 0.485,0.456,0.406."),
    click.option("--std", help="Divides per channel after --mean."),
    click.option("--output", default="auto", show_default=True,
                 help="What the model returns: auto, logits, probabilities, log_probabilities, binary_logit."),
    click.option("--classes", type=click.IntRange(2), help="Number of classes  [default: seen from data and model]"),
    click.option("--class-names", help="Comma list of names, in the order of the outputs."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Samples per pass."),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A loaded model with its data."""

    classifier: Classifier
    dataset: Dataset
    spec: str
    weights: Path | None
    batch_size: int


def case_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which gets one argument `load`: a function that returns the `Case`."""
    return _with_options(function, _OPTIONS, _NAMES)


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options but those of passes: the training split is the default and the recipe has the batch size."""
    split = click.option("--split", default="train", show_default=True, help="Part of the data to train on.")
    fresh = click.option("--replace-head", is_flag=True, help="Give the loaded network a new last layer.")
    return _with_options(function, [*_OPTIONS[:5], split, *_OPTIONS[6:-1], fresh], _NAMES - {"batch_size"})


def _with_options(function: Callable[..., Any], options: list[Any], names: set[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def command(**values: Any) -> Any:
        own = {name: values.pop(name) for name in list(values) if name not in names}
        return function(load=functools.partial(_load, **values), **own)

    for option in reversed(options):
        command = option(command)
    return command


_NAMES = {
    "model", "weights", "trust_checkpoint", "data", "data_root", "split", "image_size", "bounds", "mean", "std",
    "output", "classes", "class_names", "device", "batch_size", "replace_head",
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
        device=place,
    )
    return Case(classifier, dataset, model, weights, batch_size)
