"""One model trained by several processes, each on its rows of every batch."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks, ranks
from robustkit.defenses.base import Minibatch
from robustkit.defenses.training.checkpoint import Tensors
from robustkit.model.classifier import Classifier

_UNUSED = "Expected to have finished reduction"  # so begins torch's message
# Whether buffers are sent before every forward pass; newer versions of torch call it otherwise.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


@dataclasses.dataclass
class Weight:
    """How much the gradient of this process counts: its share of the rows of the batch."""

    share: float = 1.0


class Workers:
    """The processes that train a model; after every update all of them hold the same weights and buffers, bit for bit.

    Gradients are averaged by torch's DistributedDataParallel, each counting by its rows, so that the sum is that of the
    whole batch. Only forward passes in training mode go through it: attacks, which see the model in eval mode, use the
    bare module, for whose gradients nobody waits. Buffers are those of the first process, sent once per update and
    never between two forward passes of one loss.

    The processes end with the weights one process would find, up to the order in which sums are rounded, unless layers
    look at the whole batch: BatchNorm sees the rows of its process (convert it with
    `nn.SyncBatchNorm.convert_sync_batchnorm` where that is too few), and dropout draws other numbers.

    Args:
        classifier: The model, already on the device of this process.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.ranks: Ranks = ranks()
        self.classifier = self.learner = classifier
        self.weight = Weight()
        self.rows = 0  # of the whole batch
        self._learning: list[int] = []

    def share_gradients(self) -> None:
        """Gives every process the weights of the first and, from now on, the gradients of all."""
        module = self.classifier.module
        learning = [id(parameter) for parameter in module.parameters() if parameter.requires_grad]
        if self.ranks.count == 1 or learning == self._learning:
            return
        self._learning = learning
        self.learner = self.classifier  # lets go of the old wrapper and its hooks
        device = self.classifier.device
        settings: dict[str, Any] = {_SYNC_BUFFERS: False, "device_ids": [device] if device.type == "cuda" else None}
        wrapped = DistributedDataParallel(module, **settings)
        wrapped.register_comm_hook(self.weight, _weighted_sum)
        self.learner = copy.copy(self.classifier)
        self.learner.model = lambda x: (wrapped if module.training else module)(x)

    def place(self, rows: int) -> slice:
        """Returns which of `rows` rows are this process's: every k-th, so that a row has the same owner in every batch.

        BatchNorm needs two rows. Where there are not two for everybody, some processes get none of their own.
        """
        working = max(1, min(self.ranks.count, rows // 2))
        return slice(self.ranks.rank, None, working) if self.ranks.rank < working else slice(0, 2)

    def own_rows(self, batch: Minibatch) -> Minibatch:
        """Returns the rows of a batch that this process works on, and remembers how much they count."""
        if self.ranks.count == 1:
            self.rows = len(batch.ids)
            return batch
        place, self.rows = self.place(len(batch.ids)), len(batch.ids)
        x, y, ids = batch.x[place], batch.y[place], batch.ids[place]
        idle = place.start < self.ranks.rank  # takes part with rows of others that do not count
        self.weight.share = 0.0 if idle else len(ids) / self.rows
        return dataclasses.replace(batch, x=x, y=y, ids=ids, memory={} if idle else batch.memory)

    @contextmanager
    def backward_pass(self) -> Iterator[None]:
        """Context for one backward pass, after which the buffers are the same everywhere."""
        try:
            yield
        except RuntimeError as error:
            if _UNUSED in str(error):
                raise ConfigurationError(
                    "fit: expected every trainable parameter to take part in the loss, got some that do not,"
                    " for which several processes would wait in vain; freeze them with requires_grad_(False)"
                ) from error
            raise
        self.ranks.follow(list(self.classifier.module.buffers()))

    def mean_loss(self, loss: Tensor) -> Tensor:
        """Returns the loss of the whole batch from that of the own rows."""
        if self.ranks.count == 1:
            return loss
        return self.ranks.added(loss * self.weight.share if self.weight.share else torch.zeros_like(loss))

    def gather_memory(self, memory: Tensors) -> Tensors:
        """Returns to the first process what all of them keep from batch to batch, rows in the order of the batch."""
        if self.ranks.count == 1:
            return memory
        parts = [part for part in self.ranks.gathered({name: t.cpu() for name, t in memory.items()}) if part]
        return {name: _interleaved([part[name] for part in parts]) for name in (parts[0] if parts else {})}

    def own_memory(self, tensors: Tensors, prefix: str) -> Tensors:
        """Returns tensors by name, of those under `prefix` the rows of this process only."""
        if self.ranks.count == 1:
            return tensors
        return {n: t[self.place(len(t))] if n.startswith(f"{prefix}.") else t for n, t in tensors.items()}


def _interleaved(parts: list[Tensor]) -> Tensor:
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for index, part in enumerate(parts):
        whole[index :: len(parts)] = part
    return whole


def _weighted_sum(weight, bucket):  # type: ignore[no-untyped-def]  # torch refuses annotations that are text
    """Sums gradients over the processes, each counting by its share of the batch, where torch would take the mean."""
    grads = bucket.buffer()
    grads = grads.mul_(weight.share) if weight.share else grads.zero_()
    work = torch.distributed.all_reduce(grads, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])
