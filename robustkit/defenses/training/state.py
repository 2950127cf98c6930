"""The state of training: everything that changes while it lasts, and how that is saved and restored."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch

from robustkit.attacks.base import Attack
from robustkit.attacks.threat import parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import Batch
from robustkit.defenses.base import Minibatch, Objective
from robustkit.defenses.training import checkpoint
from robustkit.defenses.training.checkpoint import Facts, Tensors
from robustkit.defenses.training.clock import Clock
from robustkit.defenses.training.distributed import Workers
from robustkit.defenses.training.guards import Finding, diverged
from robustkit.defenses.training.last_layer import head_of, train_only_head
from robustkit.defenses.training.measurement import Epoch, Figures, measure
from robustkit.defenses.training.optimizer import make_average, make_optimizer, make_schedule
from robustkit.defenses.training.recipe import Recipe
from robustkit.defenses.training.samples import Samples
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier


class TrainingState:
    """Model, optimiser, schedule, average and the position in the data.

    Args:
        classifier: The model.
        objective: What to minimise.
        recipe: How.
        train: Samples to train on.
        attack: The attack that measures; None where only clean accuracy counts.

    Raises:
        ConfigurationError: If no parameter of the model requires a gradient, or the run is shorter than the warm-up of
            the objective.
    """

    def __init__(
        self, classifier: Classifier, objective: Objective, recipe: Recipe, train: Samples, attack: Attack | None
    ) -> None:
        self.classifier, self.recipe, self.train, self.attack = classifier, recipe, train, attack
        self.module = classifier.module
        self.learnable = [p for p in self.module.parameters() if p.requires_grad]
        if not self.learnable:
            raise ConfigurationError("fit: expected a module with parameters to train, got none; wrap an nn.Module")
        if objective.idle_epochs >= recipe.epochs:
            raise ConfigurationError(
                f"fit: expected more epochs than the {objective.idle_epochs} after which {objective.name} begins, got"
                f" {recipe.epochs}; train longer, or set its warmup lower (awp:warmup=0+...)"
            )
        self.head = head_of(classifier, train.x[:1], recipe.head) if recipe.head_epochs else None
        self.workers = Workers(classifier)
        self.clock = Clock(recipe, self.workers.ranks)
        self.objective = objective
        self.defends = objective.inner is not None and parse_eps(objective.inner.eps) > 0
        self.batches = len(train.order(recipe.seed, 1, recipe.batch_size))  # per epoch
        self.replays = objective.replays
        self.updates = self.batches * self.replays  # per epoch
        self.optimizer = make_optimizer(recipe, self.learnable)
        self.schedule = make_schedule(recipe, self.optimizer, self.updates)
        self.average = make_average(recipe, self.module)
        self.memory: Tensors = {}
        self.best_weights: Tensors = {}
        self.best: Epoch | None = None
        self.epoch = 1  # of the next batch
        self.batch = 0  # the next one of the epoch
        self.loss = torch.zeros((), dtype=torch.float64, device=classifier.device)
        self.seen = 0
        self.stale = 0  # measurements without improvement
        self.shrunk = 0  # how often the steps were made smaller
        self.best_probe = 0.0
        self.seconds = 0.0
        self.stopped = ""  # why
        self.healthy = True  # until a guard stops it: its checkpoints are worth resuming
        self.history: list[Epoch] = []
        self.findings: list[Finding] = []
        self._ahead: tuple[tuple[int, int], Iterator[Batch]] = ((0, 0), iter(()))  # what is read next, if that is next

    @property
    def over(self) -> bool:
        """Whether every epoch is done."""
        return self.epoch > self.recipe.epochs

    @property
    def epoch_done(self) -> bool:
        """Whether this epoch has no batches left."""
        return self.batch == self.batches

    @property
    def warming_up(self) -> bool:
        """Whether eps is still growing."""
        return self.epoch - 1 + self.batch / self.batches < self.recipe.eps_warmup

    @property
    def current(self) -> Objective:
        """The objective with its eps and step size as they are now."""
        if not self.warming_up:
            return self.objective
        done = (self.epoch - 1) * self.batches + self.batch + 1
        return self.objective.scaled(min(1.0, done / (self.recipe.eps_warmup * self.batches)))

    @property
    def mean_loss(self) -> float:
        """Mean loss of this epoch so far."""
        return float(self.loss) / self.seen if self.seen else math.nan

    @property
    def lr(self) -> float:
        """Learning rate of the next update."""
        return float(self.optimizer.param_groups[0]["lr"])

    def epochs_left(self) -> Iterator[int]:
        """Yields the epoch to train, the same one again after a rollback, until all are done or the run is stopped."""
        last = self.recipe.stop_after or self.recipe.epochs  # which the checkpoint it resumes from may have passed
        while not self.over and not self.stopped and self.epoch <= last:
            yield self.epoch

    def batches_left(self) -> Iterator[Minibatch]:
        """Yields the batches left in this epoch, until the run is stopped; the model is in training mode then."""
        while not self.epoch_done and not self.stopped:
            train_only_head(self.module, self.head if self.epoch <= self.recipe.head_epochs else None, self.learnable)
            self.workers.share_gradients()
            yield self._minibatch()

    def _minibatch(self) -> Minibatch:
        recipe, here = self.recipe, (self.epoch, self.batch)
        expected, reading = self._ahead
        if expected != here:
            order = self.train.order(recipe.seed, self.epoch, recipe.batch_size)
            reading = self.train.batches(order[self.batch :])
        samples = next(reading)
        self._ahead = (self.epoch, self.batch + 1), reading
        seed = Stream(recipe.seed, f"epoch {self.epoch}").number
        return Minibatch(samples.x, samples.y, samples.ids, seed, self.epoch, self.memory, recipe.inner_fp32)

    def train_on(self, batch: Minibatch) -> None:
        """Updates the weights on the rows of this process: once, or as often as the objective replays a batch."""
        for _ in range(self.replays):
            self._update(batch)
        self.batch, self.seconds = self.batch + 1, self.clock.seconds

    def _update(self, batch: Minibatch) -> None:
        recipe, device = self.recipe, self.classifier.device.type
        self.optimizer.zero_grad(set_to_none=True)
        half = torch.autocast(device, torch.bfloat16, recipe.precision == "bf16", cache_enabled=False)
        with half, self.workers.backward_pass():
            loss = self.current.backward(self.workers.learner, batch)
        learning = [p for p in self.module.parameters() if p.grad is not None]
        if recipe.l1:
            for parameter in learning:
                assert parameter.grad is not None
                parameter.grad.add_(parameter.detach().sign(), alpha=recipe.l1)
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(learning, recipe.clip)
        self.optimizer.step()
        self.schedule.step()
        if self.average and recipe.average == "ema":
            self.average.update_parameters(self.module)
        self.loss += self.workers.mean_loss(loss.double()) * self.workers.rows
        self.seen += self.workers.rows

    def check_loss(self) -> None:
        """Raises Diverged if the loss is not finite any more."""
        if not math.isfinite(float(self.loss)):
            raise diverged(self.epoch, self.batch, float(self.loss), self.lr)

    def measured(self) -> Classifier:
        """Returns the classifier whose accuracy counts: with averaged weights where there are any."""
        if not self.average or not int(self.average.n_averaged):
            return self.classifier
        other = copy.copy(self.classifier)
        other.model = other.module = self.average.module
        return other

    def measure(self, samples: Samples) -> Figures:
        """Returns the accuracies on `samples`; the model stays as it is."""
        return measure(self.measured(), samples, self.attack, self.recipe, self.workers.ranks)

    def close_epoch(self, samples: Samples) -> Epoch:
        """Returns this epoch, measured on `samples` if that is due, and adds it to the history.

        Raises:
            Diverged: If the loss is not finite any more.
        """
        recipe = self.recipe
        self.check_loss()
        if self.average and recipe.average == "swa" and self.epoch > recipe.swa_start * recipe.epochs:
            self.average.update_parameters(self.module)
        due = self.epoch % recipe.eval_every == 0 or self.epoch == recipe.epochs
        figures = self.measure(samples) if due else None
        self.history.append(Epoch(self.epoch, self.mean_loss, self.lr, self.seconds, figures))
        return self.history[-1]

    def next_epoch(self) -> None:
        """Goes to the first batch of the next epoch."""
        self.epoch, self.batch, self.seen = self.epoch + 1, 0, 0
        self.loss = torch.zeros_like(self.loss)

    def shrink_steps(self) -> None:
        """Makes the steps of the objective smaller."""
        self.objective, self.shrunk = self.objective.gentler() or self.objective, self.shrunk + 1

    def weights(self) -> Tensors:
        """Returns a copy of the weights that are measured, by name."""
        return {name: value.clone() for name, value in self.measured().module.state_dict().items()}

    def final_weights(self) -> Tensors:
        """Returns the weights training would end with now, by name."""
        return self.best_weights or self.weights()

    def snapshot(self) -> tuple[Tensors, Facts]:
        """Returns everything that changes, as it is now."""
        tensors, optimizer = checkpoint.optimizer_state(self.optimizer)
        tensors |= checkpoint.module_tensors(self.module, "model")
        tensors |= {f"memory.{name}": value for name, value in self.memory.items()}
        tensors |= {f"best.{name}": value for name, value in self.best_weights.items()}
        if self.average:
            tensors |= checkpoint.module_tensors(self.average, "average")
        facts: Facts = {name: getattr(self, name) for name in _COUNTERS}
        facts |= {
            "loss": float(self.loss),
            "optimizer": optimizer,
            "schedule": checkpoint.schedule_state(self.schedule),
            "best": dataclasses.asdict(self.best) if self.best else None,
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
        }
        return {name: value.detach().clone() for name, value in tensors.items()}, copy.deepcopy(facts)

    def restore(self, tensors: Tensors, facts: Facts) -> None:
        """Goes back, or on, to what `snapshot` returned."""
        checkpoint.load_module(self.module, tensors, "model")
        if self.average:
            checkpoint.load_module(self.average, tensors, "average")
        checkpoint.load_optimizer(self.optimizer, tensors, facts["optimizer"])
        self.schedule.load_state_dict({**self.schedule.state_dict(), **facts["schedule"]})
        here = self.classifier.device
        self.memory = {name: t.to(here, copy=True) for name, t in checkpoint.under(tensors, "memory").items()}
        self.best_weights = {name: t.to(here, copy=True) for name, t in checkpoint.under(tensors, "best").items()}
        self.loss = torch.tensor(facts["loss"], dtype=torch.float64, device=here)
        self.best = _epoch(facts["best"]) if facts["best"] else None
        self.history = [_epoch(epoch) for epoch in facts["history"]]
        self.findings = [Finding(**finding) for finding in facts["findings"]]
        shrink = facts["shrunk"] - self.shrunk
        for name in _COUNTERS:
            setattr(self, name, facts[name])
        for _ in range(shrink):
            self.objective = self.objective.gentler() or self.objective


_COUNTERS = ("epoch", "batch", "seen", "stale", "shrunk", "best_probe", "seconds")


def _epoch(values: dict[str, Any]) -> Epoch:
    figures = values["figures"]
    return Epoch(**{**values, "figures": Figures(**figures) if figures else None})
