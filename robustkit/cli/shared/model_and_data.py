"""A model with its data: what the options say, and both of them loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.base.per_coordinate import one_range
from robustkit.cli.shared.device import find_device
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.preprocessing import Prepared, prepare, read_bounds

if TYPE_CHECKING:
    import torch

    from robustkit.cli.shared.samples import Choice
    from robustkit.data.dataset import Dataset
    from robustkit.loading.composed import Part
    from robustkit.model.classifier import Classifier


@dataclasses.dataclass(frozen=True)
class ModelAndData:
    """A loaded model with its data."""

    classifier: Classifier
    dataset: Dataset
    spec: str
    weights: Path | None
    batch_size: int
    weights_key: str | None = None
    output_key: str | int | None = None
    prepared: Prepared | None = None

    def in_eval_mode(self) -> ModelAndData:
        """Returns the same with the model in eval mode; one that was just built has no mode worth a report."""
        self.classifier.module.eval()
        return self

    def only(self, samples: Choice, seed: int) -> ModelAndData:
        """Returns the same with the chosen samples alone."""
        return dataclasses.replace(self, dataset=samples.of(self.dataset, seed))

    def with_note(self, note: str) -> ModelAndData:
        """Returns the same with one more note on the data, for the report."""
        dataset = dataclasses.replace(self.dataset, notes=(*self.dataset.notes, note))
        return dataclasses.replace(self, dataset=dataset)

    def count_classes(self) -> int:
        """Returns how many classes the model has, asking it about some samples if nobody said.

        Raises:
            ConfigurationError: If the data can be read only once.
            InvalidEvaluation: If the model cannot be asked.
        """
        from robustkit.checks.first_pass import ROWS, count_outputs
        from robustkit.data.dataset import batches

        classifier = self.classifier
        if classifier.num_classes is not None:
            return classifier.num_classes
        if isinstance(self.dataset.source, Iterator):
            raise ConfigurationError("audit: expected --classes, because these data can be read only once; add it")
        with classifier.checked():
            return count_outputs(classifier, next(batches(self.dataset, ROWS, ROWS)).x)

    def part(self, x: torch.Tensor) -> Part:
        """Returns how a composition names this model, which takes inputs like `x` (N, ...)."""
        from robustkit.loading.composed import Part

        classifier = self.classifier
        mean, std = (None if c is None else tuple(c.flatten().tolist()) for c in (classifier.mean, classifier.std))
        return Part(
            model=self.spec,
            weights=None if self.weights is None else str(self.weights),
            weights_key=self.weights_key,
            input_shape=tuple(x.shape[1:]),
            num_classes=classifier.num_classes,
            bounds=one_range("composed model", classifier.bounds),
            mean=mean,
            std=std,
            output=classifier.output,
            select=self.output_key,
        )


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Which model and which data, as typed; the fields are the options of the same names."""

    model: str
    weights: Path | None
    trust_checkpoint: bool
    data: str
    data_root: Path | None
    split: str
    image_size: int | None
    bounds: str | None
    mean: str | None
    std: str | None
    output: Any
    classes: int | None
    class_names: str | None
    device: str
    draws: int = 1
    batch_size: int = 256
    replace_head: bool | str = False  # a text names the layer
    class_map: str | None = None
    select_classes: str | None = None
    label_column: str | None = None
    weights_key: str | None = None
    output_key: str | int | None = None
    transform: str = "model"
    schema: str | None = None  # a path, or what `Schema.to_text` wrote

    def load(self) -> ModelAndData:
        """Returns the model on its device and the data.

        Raises:
            ConfigurationError: If an option cannot be used as given.
        """
        prepared = self._prepared()
        return self.load_on(self._load_data(prepared), prepared)

    def load_on(self, dataset: Dataset, prepared: Prepared | None = None) -> ModelAndData:
        """Returns the model with data that are already loaded.

        Raises:
            ConfigurationError: If an option cannot be used as given.
        """
        from robustkit.loading.estimator import of_data
        from robustkit.loading.npz_data import with_fitting_axes
        from robustkit.model.classifier import Classifier
        from robustkit.model.small_models import fits, is_small

        device = find_device(self.device)
        prepared = prepared or self._prepared()
        if is_small(self.model):
            dataset = with_fitting_axes(dataset, lambda x: fits(self.model, tuple(x.shape[1:])))
        typed = self._names()
        shape, classes = self._shape_and_classes(dataset, typed or self._preset_names(prepared) or dataset.class_names)
        module = of_data(self._load_module(shape, classes), dataset)
        prepared = self._confirmed(prepared, module)
        classifier = Classifier(
            _moved(module, device),
            bounds=dataset.bounds,
            mean=prepared.mean,
            std=prepared.std,
            output=self.output,
            select=self.output_key,
            num_classes=self.classes or (classes if self.replace_head or not dataset.class_names else None),
            class_names=typed or self._preset_names(prepared),
            draws=self.draws,
            device=device,
        )
        notes = prepared.notes(shape, Path(self.data).is_dir())
        dataset = with_fitting_axes(dataset, classifier.takes)
        dataset = self._joined(classifier, dataclasses.replace(dataset, notes=(*dataset.notes, *notes)))
        return ModelAndData(
            classifier, dataset, self.model, self.weights, self.batch_size,
            weights_key=self.weights_key, output_key=self.output_key, prepared=prepared,
        )  # fmt: skip

    def _names(self) -> tuple[str, ...] | None:
        """Returns what the user says the outputs are called."""
        from robustkit.cli.shared.option_types import NAMES
        from robustkit.data.join_classes import refuse_repeated

        names = None if self.class_names is None else NAMES.read("--class-names", self.class_names)
        refuse_repeated(names or (), "in --class-names")
        return names

    def _joined(self, classifier: Classifier, dataset: Dataset) -> Dataset:
        """Returns the data with the outputs of the model as labels; one without names for its outputs takes theirs."""
        from robustkit.checks.joining import join_classes
        from robustkit.cli.shared.option_types import NAMES
        from robustkit.data.join_classes import real_names
        from robustkit.loading.class_map import read_class_map

        class_map = None if self.class_map is None else read_class_map(self.class_map)
        selected = None if self.select_classes is None else NAMES.read("--select", self.select_classes)
        joined: Dataset = join_classes(classifier, dataset, class_map, selected)
        classifier.class_names = real_names(classifier.class_names) or joined.class_names
        return joined

    def load_tuning(self, data: str | None) -> Dataset | str | None:
        """Returns the data that --tuning-data names, as it is where it is a hash, None for None."""
        from robustkit.checks.duplicates import is_hash

        if data is None or is_hash(data):
            return data
        return self._read(data, "train", self._prepared())

    def _preset_names(self, prepared: Prepared) -> tuple[str, ...] | None:
        """Returns the names of the outputs that the preset knows; a new last layer has others."""
        return prepared.preset.class_names if prepared.preset and not self.replace_head else None

    def _prepared(self) -> Prepared:
        return prepare(self.model, self.weights, self.transform, self.image_size, self.mean, self.std)

    def _read(self, data: str, split: str, prepared: Prepared) -> Dataset:
        from robustkit.data.as_dataset import as_dataset
        from robustkit.loading.data import load_data

        pictures = prepared.for_folder if (prepared.asked and not self.image_size) or Path(data).is_dir() else None
        settings: dict[str, Any] = {"label_column": self.label_column, "bounds": read_bounds(self.bounds)}
        return as_dataset(load_data(data, self.data_root, split, transform=pictures, schema=self.schema, **settings))

    def _load_data(self, prepared: Prepared) -> Dataset:
        dataset = self._read(self.data, self.split, prepared)
        bounds = read_bounds(self.bounds)
        return dataset if bounds is None else dataclasses.replace(dataset, bounds=bounds)

    def _confirmed(self, prepared: Prepared, module: torch.nn.Module) -> Prepared:
        """Returns what is left of the preset: it belongs to published weights, and those have as many outputs."""
        from robustkit.loading.model import count_outputs

        preset = prepared.preset
        if preset is None or preset.num_classes in (None, count_outputs(module)) or self.replace_head:
            return prepared
        if Path(self.data).is_dir() and not prepared.asked:
            raise ConfigurationError(
                f"model '{self.model}': expected --transform, because {preset.source} is for {preset.num_classes}"
                f" classes and these weights have {count_outputs(module)}; give --transform {preset.source} if they"
                " were fine-tuned with it, else what they were trained with"
            )
        return prepared.without_preset()

    def _shape_and_classes(
        self, dataset: Dataset, names: tuple[str, ...] | None
    ) -> tuple[tuple[int, ...] | None, int | None]:
        """Returns the shape of an input and the number of classes, where they can be known without the model."""
        from robustkit.data.dataset import batches
        from robustkit.evaluation.class_count import guessed_classes
        from robustkit.loading.libraries import library_of
        from robustkit.model.small_models import is_small

        if library_of(self.model) and self.weights and not self.replace_head:
            names = None  # the weights say how many there are
        classes = self.classes or (len(names) if names else None)
        if not hasattr(dataset.source, "__getitem__") and not is_small(self.model) and not self.replace_head:
            return None, classes
        if isinstance(dataset.source, Iterator):
            return None, classes
        shape = tuple(next(batches(dataset, 1, 1)).x.shape[1:])
        if classes or not (is_small(self.model) or self.replace_head):
            return shape, classes
        return shape, guessed_classes(dataset)

    def _load_module(self, shape: tuple[int, ...] | None, classes: int | None) -> torch.nn.Module:
        import torch

        from robustkit.defenses.training import replace_head
        from robustkit.loading.model import load_model
        from robustkit.model.classifier import Classifier
        from robustkit.model.weights import note_of

        built_for = None if self.replace_head else classes
        module = load_model(self.model, self.weights, shape, built_for, self.trust_checkpoint, self.weights_key)
        if note := note_of(module):
            say(f"weights: {note}", err=True)
        if self.replace_head:
            assert classes is not None
            example = None if shape is None else torch.zeros(1, *shape, device="cpu")
            named = self.replace_head if isinstance(self.replace_head, str) else None
            replace_head(Classifier(module, select=self.output_key), classes, example=example, head=named)
        return module


@dataclasses.dataclass(frozen=True)
class SeveralModels:
    """Several models with the same data, or one model with several files of weights.

    Attributes:
        model: As typed, one or more.
        weights: One for each, or none at all.
        common: The other options of `ModelOptions`.
    """

    model: tuple[str, ...]
    weights: tuple[Path, ...]
    common: Mapping[str, Any]

    def load(self) -> list[ModelAndData]:
        """Returns every model with the data.

        Raises:
            ConfigurationError: If there are not as many weights as models, or the models need different pictures.
        """
        from robustkit.loading.preprocessing import same_pixels

        files: list[Path | None] = [*self.weights] or [None] * len(self.model)
        names = self.model * len(files) if len(self.model) == 1 else self.model
        if len(names) != len(files):
            raise ConfigurationError(
                f"--weights: expected one for each of {len(names)} models, got {len(files)}; give as many, or none"
            )
        pairs = zip(names, files, strict=True)
        loaded = [ModelOptions(model=name, weights=file, **self.common).load() for name, file in pairs]
        first, *others = (item.prepared.for_folder if item.prepared else None for item in loaded)
        if Path(self.common["data"]).is_dir() and any(not same_pixels(first, other) for other in others):
            raise ConfigurationError(
                "--transform: expected one way to prepare pictures for all models, got presets that differ; give it"
            )
        for item in loaded[1:]:
            refuse_other_order(item.spec, item.classifier, loaded[0].classifier)
        return loaded


def refuse_other_order(who: str, classifier: Classifier, first: Classifier) -> None:
    """Raises ConfigurationError if two models call outputs with the same number by different names."""
    from robustkit.data.join_classes import same_order

    if not same_order(classifier.class_names, first.class_names):
        raise ConfigurationError(
            f"{who}: expected outputs in the order of the other model's, got classes in another order; wrap it so that"
            " both agree"
        )


def _moved(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    try:
        return module.to(device)
    except RobustkitError:
        raise
    except Exception as error:
        raise ConfigurationError(f"model: expected one that moves to {device}, got {type(error).__name__}") from error
