"""The training loop: it knows only that an objective leaves a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, cast

from torch import Tensor, nn

from robustkit.attacks.base import Attack
from robustkit.base.memory import room_for
from robustkit.base.settings import flag, function, instance, path
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.training.batch_augmentation import BatchAugmentation
from robustkit.defenses.training.early_stopping import EarlyStopping
from robustkit.defenses.training.guards import Finding, usual_format
from robustkit.defenses.training.measurement import Epoch, measuring_attack
from robustkit.defenses.training.periodic_tasks import TrainingProgress, Upkeep
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.rollback import PROBES, Guard
from robustkit.defenses.training.run_folder import RunFolder
from robustkit.defenses.training.samples import Samples, read_samples
from robustkit.defenses.training.state import TrainingState
from robustkit.defenses.training.training_mode import memory_format, training_mode, tried_format
from robustkit.model.classifier import Classifier, as_classifier


@dataclass(frozen=True)
class Training:
    """What a run was like.

    Attributes:
        epochs: Every epoch.
        best: The epoch whose weights the model has now; None where it has the last ones.
        findings: What the guards found.
        stopped: Why it ended before its last epoch, or "".
    """

    epochs: tuple[Epoch, ...]
    best: Epoch | None
    findings: tuple[Finding, ...]
    stopped: str


def fit(
    classifier: Classifier | nn.Module,
    x: Any,
    y: Any = None,
    objective: Objective | None = None,
    recipe: Recipe | None = None,
    *,
    ids: Tensor | None = None,
    attack: Attack | None = None,
    augment: str | Callable[[Minibatch], Minibatch] | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    num_workers: int | None = None,
    about: dict[str, str] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    **changes: Any,
) -> Training:
    """Trains a model in place and returns what that was like; the model is left in eval mode.

    Order, split and random numbers are functions of the seed, the epoch and the sample ids; those of dropout of the
    seed, the epoch and the position of the batch. With a folder there are, whole at any time: weights.safetensors, to
    use; checkpoint.safetensors, from which a killed run resumes bit-exactly; log.csv and log.jsonl.

    In a torch process group, as under `torchrun`, every process calls this with the same arguments and takes its rows
    of every batch; see `robustkit.defenses.training.distributed`. A checkpoint may be resumed by any number of them.

    Args:
        classifier: The model, wrapped, or a bare module that takes inputs in 0..1; only its weights change. Parameters
            with requires_grad False stay as they are.
        x: Training inputs (N, ...) within the bounds, a tensor or array; or samples with their labels: whatever
            `robustkit.data.batches` reads, such as a Dataset, an ImageFolder, a DataLoader or a pair (x, y). They stay
            where they are and are read batch by batch.
        y: Labels (N,), left out where `x` has them: the objective may then come in their place.
        objective: What to minimise.
        recipe: How to train.
        ids: Sample ids (N,), the positions by default.
        attack: Measures robust accuracy on the held-out split; by default PGD within the eps of the objective.
        augment: Changes a batch before the objective sees it: a text replaces the setting of the recipe, a function
            comes after that, and may use torch's global generator.
        folder: Where to write.
        resume: Resume from the checkpoint in `folder`.
        num_workers: Processes that read ahead, two batches each, what is no array; by default those of a DataLoader.
        about: What else to write into weights and checkpoint, such as model and data.
        progress: Called about twice a second, and after each epoch.
        **changes: Settings of the recipe to change.

    Raises:
        ConfigurationError: If a setting is invalid, or the checkpoint belongs to another run.
        InvalidEvaluation: If the data leave the bounds or labels are no classes.
        Diverged: If the loss becomes NaN or infinite.
    """
    if isinstance(y, Objective):
        y, objective, recipe = None, y, recipe or objective  # type: ignore[assignment]
    _check_kinds(classifier, objective, recipe, attack, augment, folder, resume, about, progress)
    augment, named = (None, {"augment": augment}) if isinstance(augment, str) else (augment, {})
    recipe = (recipe or Recipe()).having({**changes, **named})
    classifier, objective = as_classifier(classifier), cast(Objective, objective)
    samples, classes = read_samples(classifier, x, y, ids, recipe, num_workers)
    layout, refusal = tried_format(classifier, memory_format(recipe, samples.x[:1]), recipe, samples.x[:2])
    samples = samples if layout else samples.in_usual_order()
    train, held_out = samples.split(recipe.held_out, recipe.seed)
    validation = held_out.sample(recipe.val_limit, recipe.seed) if len(held_out) else train.sample(PROBES, recipe.seed)

    run = TrainingState(classifier, objective, recipe, train, attack or measuring_attack(objective, recipe))
    augmented = BatchAugmentation(run, classes, augment)
    files = RunFolder(folder, run, samples, about)
    if resume:
        files.resume(run)
    if refusal and (note := usual_format(refusal)) not in run.findings:
        run.findings.append(note)
    guard, early_stopping = Guard(run, validation), EarlyStopping(run, bool(len(held_out)))
    upkeep = Upkeep(run, files, progress)

    with training_mode(classifier, layout), upkeep.patient(), room_for(recipe.batch_size):
        _train(run, augmented, validation, guard, early_stopping, upkeep)

    guard.look_back()
    files.log(run)
    classifier.module.load_state_dict(run.final_weights())
    return Training(tuple(run.history), run.best, tuple(run.findings), run.stopped)


def _train(
    run: TrainingState,
    augmented: BatchAugmentation,
    validation: Samples,
    guard: Guard,
    early_stopping: EarlyStopping,
    upkeep: Upkeep,
) -> None:
    for _ in run.epochs_left():
        for batch in run.batches_left():
            run.train_on(augmented(batch))
            if not run.epoch_done:
                guard.look()
                upkeep.after_batch()
        if run.epoch_done:
            epoch = run.close_epoch(validation)
            if guard.accepts(epoch):  # else it went back to before the end of the epoch
                early_stopping.judge(epoch)
                run.next_epoch()
            guard.mark_safe()
            upkeep.after_epoch()


def _check_kinds(classifier: Any, objective: Any, recipe: Any, attack: Any, augment: Any, *rest: Any) -> None:
    """Raises ConfigurationError where an argument of `fit` is of the wrong kind; None is fine where it is optional."""
    folder, resume, about, progress = rest
    instance("fit", "classifier", classifier, Classifier, nn.Module, fix="give the network itself")
    instance("fit", "objective", objective, Objective, fix="such as robustkit.defenses.Standard()")
    instance("fit", "recipe", recipe, Recipe, NoneType)
    instance("fit", "attack", attack, Attack, NoneType)
    instance("fit", "about", about, dict, NoneType)
    flag("fit", "resume", resume)
    if folder is not None:
        path("fit", "folder", folder)
    for name, value in (("augment", augment), ("progress", progress)):
        if value is not None and not (name == "augment" and isinstance(value, str)):
            function("fit", name, value)
