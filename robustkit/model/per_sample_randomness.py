"""The random numbers a model draws, made a function of the sample instead of the batch composition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from robustkit.base.errors import ConfigurationError
from robustkit.maths.random_numbers import Stream


@contextmanager
def chance(stream: Stream, ids: Tensor, restart: Tensor, step: Tensor, draw: int = 0) -> Iterator[set[str]]:
    """Context in which what torch draws at random depends on the sample, not on the batch it happens to be in.

    Models that add noise or keep dropout at test time take their numbers from torch's global generator, so that a
    sample's answer depends on its neighbours and on all that was drawn before. In this context the numbers are those
    of `stream`: every row of an output with one row per sample gets the numbers of its sample, in any batch, at any
    place; the k-th operation of a kind always gets the same ones, so use one context per forward pass. Gradients flow
    as ever. Global generators, and generators the model passes to torch, are neither read nor moved.

    Rows are recognised by the length of the first axis. Everything else is drawn for the batch as a whole from
    (stream, draw, operation), the same in every context with that `draw`: outputs with another first axis (one number
    for all, a batch repeated k times, recurrent layers' dropout over time), and rare distributions (multinomial, gamma,
    permutations, ...) that torch draws itself from a generator seeded so. Python's and numpy's random numbers are out
    of reach, and an output whose first axis has the batch's length by accident is taken for rows: a batch of one
    makes rows of ``torch.rand(1)``. A checkpointed layer (torch.utils.checkpoint) draws anew when it is recomputed.
    On a CPU every torch operation takes some 10 microseconds more, and a number some 70 nanoseconds.

    Args:
        stream: The numbers, by seed and name.
        ids: Sample id of every row, shape (N,).
        restart: Restart of every row, shape (N,).
        step: Step of every row, shape (N,).
        draw: Which of several independent forward passes of the same step, >= 0.

    Yields:
        The names of the operations drawn for the batch as a whole so far; empty if every number belongs to a row.

    Raises:
        ConfigurationError: If ids, restart and step do not have one entry per row each.
    """
    if not ids.shape == restart.shape == step.shape == (len(ids),):
        raise ConfigurationError(
            f"chance: expected ids, restart and step of one shape (N,), got {tuple(ids.shape)}, "
            f"{tuple(restart.shape)} and {tuple(step.shape)}; give one of each per row"
        )
    mode = _Chance(Stream(stream.seed, f"{stream.name}/model/{draw}"), (ids, restart, step))
    with mode:
        yield mode.shared


class _Chance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every torch operation just before it runs, below autograd, and draws where one would draw."""

    def __init__(self, stream: Stream, rows: tuple[Tensor, Tensor, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stream = stream
        self.rows = rows
        self.shared: set[str] = set()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if name == "native_dropout":
            return self._dropout(*args, **kwargs)
        if name not in _QUANTILES:
            with self:  # in inference mode composite operations arrive whole; their parts come back here
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        with _disable_current_modes():  # a context around this one has no say
            return self._draw(name, func, args, kwargs)

    def _draw(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        stream = Stream(self.stream.seed, f"{self.stream.name}/{name}/{self.seen[name]}")
        self.seen[name] += 1
        args = tuple(None if isinstance(value, torch.Generator) else value for value in args)
        kwargs = {key: None if isinstance(value, torch.Generator) else value for key, value in kwargs.items()}
        with _borrowed(stream.number, self.rows[0].device):
            out = func(*args, **kwargs)
        if name not in _QUANTILES or out.is_complex():
            self.shared.add(name)
        elif out.numel():
            arguments = func._schema.arguments
            given = {argument.name: argument.default_value for argument in arguments}
            given |= dict(zip(given, args, strict=False)) | kwargs | {"dtype": out.dtype}
            out.copy_(_QUANTILES[name](self._uniform(name, stream, out), given))
        return out

    def _uniform(self, name: str, stream: Stream, out: Tensor) -> Tensor:
        """Returns float64 numbers strictly between 0 and 1 in the shape of `out`."""
        if out.ndim and len(out) == len(self.rows[0]):
            ids, restart, step = (row.to(out.device) for row in self.rows)
            return stream.uniform(tuple(out.shape[1:]), ids, restart, step)
        self.shared.add(name)
        zero = torch.zeros(1, dtype=torch.int64, device=out.device)
        return stream.uniform(tuple(out.shape), zero, zero, zero)[0]

    def _dropout(self, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
        """Returns what the fused dropout of GPUs returns, by the operations of the one for CPUs."""
        keep = torch.ones_like(x, dtype=torch.bool)
        if train is False:
            return x.clone(), keep
        with self:
            keep.bernoulli_(1 - p)
        return x * keep * (1 / (1 - p) if p < 1 else 0), keep


@contextmanager
def _borrowed(seed: int, device: torch.device) -> Iterator[None]:
    """Context in which the global generators of CPU and `device` start from `seed`; then they are as before."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if on_gpu:
            torch.cuda.set_rng_state(torch.Generator(device).manual_seed(seed).get_state(), device)
        yield


# What turns a uniform number into one of an operation's distribution, given its arguments by name: the quantiles.


def _between(u: Tensor, given: Mapping[str, Any]) -> Tensor:
    grain: float = torch.finfo(given["dtype"]).eps / 2  # rounded down, because the upper end must not be reached
    low: float = given.get("from", 0)
    high: float = given.get("to", 1)
    return low + (high - low) * ((u / grain).floor() * grain)


def _normal(u: Tensor, given: Mapping[str, Any]) -> Tensor:
    mean: float | Tensor = given.get("mean", 0)
    std: float | Tensor = given.get("std", 1)
    standard: Tensor = torch.special.ndtri(u)
    return mean + std * standard


def _success(u: Tensor, given: Mapping[str, Any]) -> Tensor:
    p: float | Tensor = given["p"] if "p" in given else given["self"]
    return u < p


def _integer(u: Tensor, given: Mapping[str, Any]) -> Tensor:
    low: int = given.get("low", 0)
    high: int | Tensor = given["high"]
    return low + (u * (high - low)).floor()


def _waiting_time(u: Tensor, given: Mapping[str, Any]) -> Tensor:
    rate: float = given["lambd"]
    return (-u.log() / rate).clamp(min=torch.finfo(given["dtype"]).tiny)


_QUANTILES: dict[str, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {
    **dict.fromkeys(("rand", "rand_like", "uniform_"), _between),
    **dict.fromkeys(("randn", "randn_like", "normal", "normal_"), _normal),
    **dict.fromkeys(("bernoulli", "bernoulli_"), _success),
    **dict.fromkeys(("randint", "randint_like"), _integer),
    "exponential_": _waiting_time,
}
