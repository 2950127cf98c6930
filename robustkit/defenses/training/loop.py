"""The training loop: it knows only that an objective leaves a gradient."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustkit.attacks.base import Attack
from robustkit.attacks.pgd import PGD
from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks
from robustkit.data.labels import as_labels
from robustkit.defenses.augment.apply import Augmentation, create_augmentation
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.training.folder import Folder, settings_of
from robustkit.defenses.training.guards import Epoch, Finding, robust_overfitting
from robustkit.defenses.training.heads import train_only_head
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.run import Run
from robustkit.defenses.training.samples import Samples, sample_ids
from robustkit.defenses.training.watch import PROBES, Watch
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Standing:
    """Where training stands: `batch` of `batches` in `epoch` of `epochs`, the mean loss, and the last whole epoch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    last: Epoch | None


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
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    objective: Objective,
    recipe: Recipe | None = None,
    *,
    ids: Tensor | None = None,
    attack: Attack | None = None,
    augment: str | Callable[[Minibatch], Minibatch] | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    about: dict[str, str] | None = None,
    progress: Callable[[Standing], None] | None = None,
    **changes: Any,
) -> Training:
    """Trains a model in place and returns what that was like; the model is left in eval mode.

    Order, split and random numbers are functions of the seed, the epoch and the sample ids; those of dropout of the
    seed, the epoch and the position of the batch. With a folder there are, whole at any time: weights.safetensors, to
    use; checkpoint.safetensors, from which a killed run goes on to the same bits; log.csv and log.jsonl.

    In a torch process group, as under `torchrun`, every process calls this with the same arguments and takes its rows
    of every batch. They end with the weights one process would find, up to the order in which sums are rounded, unless
    layers look at the whole batch: BatchNorm sees the rows of its process (convert it with
    `nn.SyncBatchNorm.convert_sync_batchnorm` where that is too few), and dropout draws other numbers. The first process
    writes and reports, and a checkpoint may be resumed by any number of processes.

    Args:
        classifier: The model, wrapped; only its weights change. Parameters with requires_grad False stay as they are.
        x: Training inputs (N, ...) within the bounds.
        y: Labels (N,).
        objective: What to minimise.
        recipe: How to train.
        ids: Sample ids (N,), the positions by default.
        attack: Measures robust accuracy on the held-out split; by default PGD within the budget of the objective.
        augment: Changes a batch before the objective sees it: a text replaces the setting of the recipe, a function
            comes after that, and may use torch's global generator.
        folder: Where to write.
        resume: Go on from the checkpoint in `folder`.
        about: What else to write into weights and checkpoint, such as model and data.
        progress: Called about twice a second, and after each epoch.
        **changes: Settings of the recipe to change.

    Raises:
        ConfigurationError: If a setting cannot be meant, or the checkpoint belongs to another run.
        InvalidEvaluation: If the data leave the bounds or labels are no classes.
        Diverged: If the loss becomes NaN or infinite.
    """
    if isinstance(augment, str):
        augment, changes = None, {**changes, "augment": augment}
    recipe = (recipe or Recipe()).having(changes)
    learnable = [p for p in classifier.module.parameters() if p.requires_grad]
    if not learnable:
        raise ConfigurationError("fit: expected a module with parameters to train, got none; wrap an nn.Module")
    x = classifier.accept(x)
    faster = classifier.device.type == "cpu" if recipe.channels_last is None else recipe.channels_last
    layout = torch.channels_last if faster and x.ndim == 4 else None
    x = x.contiguous(memory_format=layout) if layout else x
    with classifier.frozen():
        classes = classifier.classes(x[:4])
    y = as_labels(y, classes).to(x.device)
    planned = own_augmentation(recipe, objective, classifier, classes)
    samples = Samples(x, y, sample_ids(ids, len(x), x.device))
    train, held = samples.split(recipe.held_out, recipe.seed)
    if attack is None and objective.inner is not None:
        attack = PGD(norm=objective.inner.norm, eps=objective.inner.eps, steps=recipe.val_steps)

    run = Run(classifier, objective, recipe, train, attack)
    settings = {**(about or {}), "objective": repr(objective), **settings_of(recipe)}
    if folder:
        settings["data_sha256"] = samples.sha256()
    home = Folder(folder, settings, recipe.trackers)
    if resume:
        home.resume(run)
    watch = Watch(run, held.first(recipe.val_limit) if len(held) else train.first(PROBES), chooses=bool(len(held)))
    clock, team, stopped = Clock(run.seconds, recipe, run.team.ranks), run.team, ""
    progress = progress if team.ranks.first else None
    # What mixes samples, or may draw as it likes, has to see the whole batch.
    whole = augment is not None or (planned is not None and planned.mixes_labels)

    with borrowed(classifier, layout):
        while not run.over and not stopped:
            train_only_head(run.module, run.epoch <= recipe.head_epochs, learnable)
            team.gather()
            layers = f"layers {run.epoch} {run.batch}"
            seed_layers(Stream(recipe.seed, layers).number, classifier.device)
            batch = run.minibatch() if whole else team.own(run.minibatch())
            batch = planned(batch) if planned else batch
            batch = augment(batch) if augment else batch
            batch = team.own(batch) if whole else batch
            if not team.ranks.first:
                seed_layers(Stream(recipe.seed, f"{layers} {team.ranks.rank}").number, classifier.device)
            for _ in range(objective.replays):
                run.update(batch)
            run.batch, run.seconds = run.batch + 1, clock.seconds

            if run.batch == run.batches:
                stopped = watch.close_epoch()
                if watch.healthy:
                    home.save_epoch(run)
            elif watch.due:
                stopped = watch.look()
            if not stopped and not run.over and clock.over:
                stopped = f"{recipe.minutes:g} minutes are over"
            if watch.healthy and (clock.save_due or (stopped and run.batch)):
                home.save(run)
            if progress and (clock.word_due or run.batch == 0):
                progress(standing(run))

    last = robust_overfitting(run.history, run.best)
    run.findings += [last] if last else []
    home.log(run)
    classifier.module.load_state_dict(run.final_weights())
    return Training(tuple(run.history), run.best, tuple(run.findings), stopped)


def own_augmentation(recipe: Recipe, objective: Objective, classifier: Classifier, classes: int) -> Augmentation | None:
    """Returns the augmentation of the recipe, if any; raises where the objective cannot do with its mixed labels."""
    if recipe.augment is None:
        return None
    augmentation = create_augmentation(recipe.augment, classifier.bounds, classes)
    if augmentation.mixes_labels and not objective.takes_mixed_labels:
        raise ConfigurationError(
            f"fit: expected an augmentation that leaves labels whole, since {objective.name} or its attack needs one"
            f" class per sample, got {recipe.augment!r}; leave mixup and cutmix out"
        )
    return augmentation


def standing(run: Run) -> Standing:
    """Returns where a run stands."""
    epochs, last = run.recipe.epochs, run.history[-1] if run.history else None
    return Standing(min(run.epoch, epochs), epochs, run.batch, run.batches, run.mean_loss, last)


class Clock:
    """Says what it is time for.

    Args:
        seconds: What the run took before.
        recipe: How often to save and when to end.
        ranks: The processes, for which the clock of the first counts.
    """

    def __init__(self, seconds: float, recipe: Recipe, ranks: Ranks) -> None:
        self.recipe, self.before, self.ranks = recipe, seconds, ranks
        self.begun = self.saved = self.spoken = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of the run, those before a resumption included."""
        return self.before + time.monotonic() - self.begun

    @property
    def over(self) -> bool:
        """Whether the minutes of this call are over."""
        minutes = self.recipe.minutes
        return minutes is not None and self.ranks.told(lambda: time.monotonic() - self.begun >= 60 * minutes)

    @property
    def save_due(self) -> bool:
        """Whether the last checkpoint is old; asking makes it new."""
        due = self.ranks.told(lambda: time.monotonic() - self.saved >= 60 * self.recipe.save_minutes)
        self.saved = time.monotonic() if due else self.saved
        return due

    @property
    def word_due(self) -> bool:
        """Whether half a second has passed since this was last so."""
        due = time.monotonic() - self.spoken >= 0.5
        self.spoken = time.monotonic() if due else self.spoken
        return due


@contextmanager
def borrowed(classifier: Classifier, layout: torch.memory_format | None) -> Iterator[None]:
    """Context with the weights in a memory format, after which the module is in eval mode and all else as it was."""
    formats = [(p, p.data) for p in classifier.module.parameters() if layout and p.ndim == 4]
    for parameter, _ in formats:
        parameter.data = parameter.data.contiguous(memory_format=layout or torch.preserve_format)
    wanted = [(parameter, parameter.requires_grad) for parameter in classifier.module.parameters()]
    try:
        with torch.random.fork_rng(devices=[classifier.device] if classifier.device.type == "cuda" else []):
            yield
    finally:
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None
        for parameter, before in formats:
            parameter.data = before.copy_(parameter.data)
        classifier.module.eval()


def seed_layers(number: int, device: torch.device) -> None:
    """Seeds torch's generators, from which dropout draws, inside `borrowed`."""
    torch.default_generator.manual_seed(number % 2**63)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number % 2**63)
