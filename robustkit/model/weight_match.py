"""Whether a set of weights fits a module, and what of its names and numbers has to change for that."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.model.weight_sets import WeightSet, prefixes

WRAPPERS = ("module.", "model.", "_orig_mod.", "attacker.model.")  # wherever the bare name is expected
INNER_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
BOOKKEEPING = ("n_averaged", "total_ops", "total_params")  # of averaged models and of thop
COUNTER = "num_batches_tracked"


class Match:
    """A set of weights under the names a module expects.

    Args:
        module: What is to be filled.
        weights: From the file.
        path: The file, for messages.

    Attributes:
        found: The weights by the names of the module.
        problems: Why they do not fit, one text a kind; empty where they do.
        distance: How many names that concerns.
        notes: What was changed, one sentence each.
    """

    def __init__(self, module: nn.Module, weights: WeightSet, path: Path) -> None:
        self.module, self.weights, self.path, self.key = module, weights, path, weights.key
        self.expected: dict[str, Any] = module.state_dict()
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.found: dict[str, Any] = {}
        passed = [name for name in weights.values if name not in self.expected and _last(name) in BOOKKEEPING]
        bare = {name: bare_name(name, self.expected) for name in weights.values if name not in passed}
        prefix = common_prefix([*bare.values()], self.expected)
        self.names = {name: one.removeprefix(prefix) for name, one in bare.items()}
        for name, one in self.names.items():
            self._take(name, one)
        self._say_names([name for name in bare if bare[name] != name], prefix, passed)
        self._complete()
        self.distance = self._compare()

    def same_as(self, other: Match) -> bool:
        """Returns whether both would fill the module with the same numbers."""
        return self.found.keys() == other.found.keys() and all(
            _same(value, other.found[name]) for name, value in self.found.items()
        )

    def load(self) -> None:
        """Fills the module, or leaves it as it was.

        Raises:
            ConfigurationError: If torch refuses after all.
        """
        before = {name: value.detach().clone() for name, value in self.expected.items() if _known(value)}
        try:
            self.module.load_state_dict(self._state_dict())
        except Exception as error:
            with torch.no_grad():
                for name, value in self.module.state_dict().items():
                    if name in before:
                        value.copy_(before[name])
            raise ConfigurationError(
                f"weights '{self.path}': expected weights that {type(self.module).__name__} loads, got"
                f" {one_line(error)}; use the architecture that was saved"
            ) from error

    def _take(self, name: str, bare: str) -> None:
        value = self.weights.values[name]
        if bare in self.found and not _same(self.found[bare], value):
            self.problems.append(f"two that differ for '{bare}', one as '{name}'")
        self.found[bare] = value

    def _say_names(self, unwrapped: list[str], prefix: str, passed: list[str]) -> None:
        if unwrapped:
            self.notes.append(f"wrapper prefixes were taken off {len(unwrapped)} names, such as '{unwrapped[0]}'")
        if prefix:
            self.notes.append(f"the prefix '{prefix}' was taken off all {len(self.names)} names")
        if passed:
            self.notes.append(f"bookkeeping was passed over: {shown(passed)}")
        if self.weights.rest:
            self.notes.append(_tensors(self.weights.rest, f"outside '{self.key}' ", "left out"))

    def _complete(self) -> None:
        """Adds what is missing and known: counters of batches, and tensors that are another one of the module."""
        missing = [name for name in self.expected if name not in self.found]
        counters = [n for n in missing if _last(n) == COUNTER and n.replace(COUNTER, "running_mean") in self.found]
        self.found.update({name: self.expected[name] for name in counters})
        if counters:
            self.notes.append(f"{len(counters)} missing {COUNTER} left as they are, which changes no output")
        places = {_place(self.expected[name]): name for name in self.found if name in self.expected}
        for name in set(missing) - set(counters):
            if twin := places.get(_place(self.expected[name])):
                self.found[name] = self.found[twin]

    def _compare(self) -> int:
        """Lists problems, unless torch has none, and changes of dtype; returns how many names have one."""
        expected, found = self.expected, self.found
        both = {n: v for n, v in found.items() if n in expected and isinstance(v, Tensor) and _known(expected[n])}
        odd = {
            "missing": [name for name in expected if name not in found],
            "unexpected": [name for name in found if name not in expected],
            "mis-shaped": [
                f"{name} {tuple(value.shape)} for {tuple(expected[name].shape)}"
                for name, value in both.items()
                if value.shape != expected[name].shape
            ],
        }
        others = [f"{len(names)} {kind}: {shown(names)}" for kind, names in odd.items() if names]
        complex_ones = [n for n, v in both.items() if v.is_complex() and not expected[n].is_complex()]
        if complex_ones:
            self.problems.append(f"{len(complex_ones)} complex for real: {shown(complex_ones)}")
        if others and not self.problems and self._accepted_by_torch():
            self.notes.append(f"{type(self.module).__name__} itself accepts {'; '.join(others)}")
        else:
            self.problems += others
        casts = Counter((_kind(v), _kind(expected[n])) for n, v in both.items() if v.dtype != expected[n].dtype)
        self.notes += [_tensors(count, "", f"converted from {old} to {new}") for (old, new), count in casts.items()]
        return sum(map(len, odd.values())) + len(self.problems)

    def _accepted_by_torch(self) -> bool:
        """Asks a copy of the module, whose own hooks may know older names or shapes."""
        try:
            copy.deepcopy(self.module).load_state_dict(self._state_dict())
        except Exception:
            return False
        return True

    def _state_dict(self) -> dict[str, Any]:
        """Returns the weights with the versions of the parts they belong to, under the names of the module."""
        state: Any = OrderedDict(self.found)
        if self.weights.metadata is not None:
            parts: dict[str, str] = {}
            for name, bare in self.names.items():
                old, new = name.split(".")[:-1], bare.split(".")[:-1]
                parts[".".join(old)] = ".".join(new)
                while old and new:
                    old.pop(), new.pop()
                    parts[".".join(old)] = ".".join(new)
            state._metadata = {parts[part]: v for part, v in self.weights.metadata.items() if part in parts}
        found: dict[str, Any] = state
        return found


def bare_name(name: str, expected: Collection[str]) -> str:
    """Returns the name without known wrappers, as far as that leads to an expected one or they end."""
    bare = name
    while bare not in expected:
        wrapper = next((w for w in WRAPPERS if bare.startswith(w)), None)
        if wrapper is None:
            break
        bare = bare.removeprefix(wrapper)
    if bare not in expected:
        for wrapper in INNER_WRAPPERS:
            bare = bare.replace(wrapper, "")
    return bare


def common_prefix(names: Collection[str], expected: Collection[str]) -> str:
    """Returns the shortest prefix of all names, made of whole words, without which most of them are expected."""
    shared = [start for start in prefixes([*names][:1]) if all(name.startswith(start) for name in names)]
    return max(["", *shared], key=lambda start: sum(name.removeprefix(start) in expected for name in names))


def shown(names: Iterable[str]) -> str:
    """Returns the first three names."""
    every = list(names)
    return ", ".join(every[:3]) + (", ..." if len(every) > 3 else "")


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _tensors(count: int, which: str, done: str) -> str:
    return f"1 tensor {which}was {done}" if count == 1 else f"{count} tensors {which}were {done}"


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _known(value: Any) -> bool:
    """Whether it is a tensor that has its shape already."""
    return isinstance(value, Tensor) and not is_lazy(value)


def _place(value: Any) -> Any:
    """Returns the same for two tensors exactly if they are one in memory."""
    if type(value) not in (Tensor, nn.Parameter) or not value.numel():
        return id(value)
    return value.device, value.data_ptr(), value.shape, value.stride()


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
