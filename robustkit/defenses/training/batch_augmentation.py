"""From a batch of the data to the rows that this process trains on, augmented."""

from __future__ import annotations

from collections.abc import Callable

from robustkit.base.errors import ConfigurationError
from robustkit.base.per_coordinate import one_range
from robustkit.defenses.augment.apply import Augmentation, create_augmentation
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.training.state import TrainingState
from robustkit.defenses.training.training_mode import seed_dropout
from robustkit.model.classifier import Classifier


class BatchAugmentation:
    """The augmentation of the recipe, then that of the caller.

    Args:
        run: The run whose batches it changes.
        classes: Number of classes.
        function: What the caller does to a batch, if anything; it may use torch's global generator.

    Raises:
        ConfigurationError: If the augmentation of the recipe is unknown, or mixes labels and the objective needs them
            whole.
    """

    def __init__(self, run: TrainingState, classes: int, function: Callable[[Minibatch], Minibatch] | None) -> None:
        self.run, self.function = run, function
        self.planned = planned_augmentation(run.recipe.augment, run.objective, run.classifier, classes)
        # What mixes samples, or may draw as it likes, has to see the whole batch.
        self.whole = function is not None or (self.planned is not None and self.planned.mixes_labels)

    def __call__(self, batch: Minibatch) -> Minibatch:
        """Returns the rows of `batch` that this process trains on, augmented; seeds dropout on the way."""
        run, workers = self.run, self.run.workers
        seed, device, name = run.recipe.seed, run.classifier.device, f"layers {run.epoch} {run.batch}"
        seed_dropout(seed, name, device)
        batch = batch if self.whole else workers.own_rows(batch)
        batch = self.planned(batch) if self.planned else batch
        batch = self.function(batch) if self.function else batch
        batch = workers.own_rows(batch) if self.whole else batch
        if not workers.ranks.first:
            seed_dropout(seed, f"{name} {workers.ranks.rank}", device)
        return batch


def planned_augmentation(
    text: str | None, objective: Objective, classifier: Classifier, classes: int
) -> Augmentation | None:
    """Returns the augmentation a recipe names, if any; raises where the objective cannot use its mixed labels."""
    if text is None:
        return None
    augmentation = create_augmentation(text, one_range("augment", classifier.bounds), classes)
    if augmentation.mixes_labels and not objective.takes_mixed_labels:
        raise ConfigurationError(
            f"fit: expected an augmentation that keeps labels whole, since {objective.name} or its attack needs one"
            f" class per sample, got {text!r}; leave mixup and cutmix out"
        )
    return augmentation
