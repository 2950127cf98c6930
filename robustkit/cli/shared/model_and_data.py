"""A model with its data, as the options of the command line name them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.cli.shared.device import find_device
from robustkit.cli.shared.values import numbers

if TYPE_CHECKING:
    import torch

    from robustkit.data.dataset import Dataset
    from robustkit.loading.composed import Part
    from robustkit.model.classifier import Classifier


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
        from robustkit.checks.doctor import ROWS, examine
        from robustkit.data.dataset import batches

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
        from robustkit.loading.composed import Part

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


def load_case(
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
    """Returns what the options of the same names say."""
    from robustkit.data.dataset import batches
    from robustkit.defenses.training import replace_head as put_head
    from robustkit.loading.data import load_data
    from robustkit.loading.model import load_model
    from robustkit.model.classifier import Classifier
    from robustkit.model.small_models import is_small

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


def load_cases(*, model: tuple[str, ...], weights: tuple[Path, ...], **common: Any) -> list[Case]:
    """Returns several models with the same data."""
    files: list[Path | None] = [*weights] or [None] * len(model)
    names = model * len(files) if len(model) == 1 else model
    if len(names) != len(files):
        raise ConfigurationError(
            f"--weights: expected one for each of {len(names)} models, got {len(files)}; give as many, or none"
        )
    return [load_case(model=name, weights=file, **common) for name, file in zip(names, files, strict=True)]
