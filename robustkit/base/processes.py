"""Several processes that do one piece of work together, as `torchrun` starts them."""

from __future__ import annotations

import datetime
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from robustkit.base.errors import ConfigurationError, RobustkitError
from robustkit.base.exit_codes import ExitCode

Value = TypeVar("Value")
# Nobody times out while another finishes; `torchrun` ends all of them when one has gone.
_PATIENCE = datetime.timedelta(days=30)
_GRACE = 30  # seconds in which a process whose launcher has gone may write what is finished
_FAILURES = "robustkit failures"
_store: Any = None  # a torch.distributed.Store


class Deserted(RobustkitError):
    """Another process has gone."""

    exit_code = ExitCode.UNRELIABLE


@dataclass(frozen=True)
class Ranks:
    """This process among `count` equal ones; alone by default, and then nothing below sends anything.

    Every method but the properties is to be called by all processes, in the same order.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def told(self, work: Callable[[], Value]) -> Value:
        """Returns to all what `work` returns to the first, who alone does it; all raise an error of robustkit."""
        if self.count == 1:
            return work()
        said: list[Any] = [None, None]
        if self.first:
            try:
                said[0] = work()
            except RobustkitError as error:
                said[1] = error
        with _others_present():
            dist.broadcast_object_list(said, src=0)
        if said[1] is not None:
            raise said[1]
        result: Value = said[0]
        return result

    def gathered(self, value: Value) -> list[Value]:
        """Returns the values of all processes, in their order, to the first, and an empty list to the others."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with _others_present():
            dist.gather_object(value, values if self.first else None, dst=0)
        return values if self.first else []

    def shared(self, own: dict[int, Value]) -> list[Value]:
        """Returns to all the values that they have between them, in the order of their numbers."""
        values = {number: value for part in self.gathered(own) for number, value in part.items()}
        return self.told(lambda: [values[number] for number in sorted(values)])

    def added(self, tensor: Tensor) -> Tensor:
        """Returns the sum of the tensors of all processes, bit-identical for all."""
        if self.count > 1:
            tensor = tensor.clone()
            with _others_present():
                dist.all_reduce(tensor)
        return tensor

    def follow(self, tensors: Sequence[Tensor]) -> None:
        """Fills tensors with those of the first process, all of one kind in one message."""
        if self.count == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            some = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in some])
            with _others_present():
                dist.broadcast(flat, src=0)
            with torch.no_grad():
                for tensor, part in zip(some, torch.split(flat, [tensor.numel() for tensor in some]), strict=True):
                    tensor.copy_(part.view_as(tensor))


def ranks() -> Ranks:
    """Returns the place of this process in torch's default process group, alone where there is none."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Context in which the processes that `torchrun` started can talk: by gloo about CPU tensors, by NCCL about CUDA.

    Nothing happens where it did not start this process, or a process group is there already.
    """
    global _store
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield ranks()
        return
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    _store, rank, count = next(rendezvous("env://"))
    dist.init_process_group(store=_store, rank=rank, world_size=count, timeout=_PATIENCE)
    yield ranks()
    # After an error the others may be in the middle of something: then the process just ends.
    dist.destroy_process_group()
    _store = None


def _end_with(launcher: int) -> None:
    """Ends this process when its launcher has gone: it would wait for ever, and block the folder it writes to."""
    while os.getppid() == launcher:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)  # what is finished is written
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)  # no signal reaches code that waits for another process


def speaks() -> bool:
    """Whether this process is the one to tell of an error: the first that fails."""
    if _store is None:
        return True
    try:
        return bool(_store.add(_FAILURES, 1) == 1)
    except RuntimeError:  # the store has gone with whoever failed before
        return False


def own_gpu() -> torch.device:
    """Returns the GPU of this process: that of its local rank where `torchrun` started it, the current one otherwise.

    Raises:
        ConfigurationError: If there are fewer GPUs than processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return torch.device("cuda")
    local, here = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= here:
        raise ConfigurationError(
            f"torchrun: expected a GPU for every process, got {here} for {os.environ['LOCAL_WORLD_SIZE']};"
            f" use --nproc-per-node {here}, or --device cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@contextmanager
def _others_present() -> Iterator[None]:
    """Context that says in plain words that a message found nobody."""
    try:
        yield
    except RuntimeError as error:
        raise Deserted(
            f"torchrun: expected all processes to go on, but one ended ({str(error).splitlines()[0][:100]}); see what"
            " it said, and go on with --resume"
        ) from error
