"""Samples of several named inputs as one row of numbers: what is attacked first, what is passed on beside it.

Attacks, checks, evidence and verification know one tensor per sample. So the inputs of a sample are laid out one behind
the other in one row, and a model gets them back by name. What is passed on may not change, and neither may padding: the
row itself says which positions are padding, because the mask or the length is in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.per_coordinate import PerCoordinate, as_array, is_array, per_coordinate
from robustkit.base.settings import plain, shown

if TYPE_CHECKING:
    from torch import Tensor

BESIDE = {"attention_mask", "token_type_ids", "position_ids", "pixel_mask", "padding_mask", "lengths", "edge_index"}
TOKENS = "if they are token ids, attack their embeddings: robustkit.embeddings(model, data)"


@dataclass(frozen=True)
class Part:
    """One named input.

    Attributes:
        name: By which the model takes it.
        shape: Of one sample, () for a number.
        kind: What the model gets: numbers of its own precision, int64 or booleans.
    """

    name: str
    shape: tuple[int, ...]
    kind: Literal["float", "integer", "boolean"]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """How the inputs of a sample lie in a row; see `robustkit.data.pack`.

    Attributes:
        parts: All inputs, the attacked one first.
        padding: Which of the others says what is padding: a mask, 0 there, or a length; None where nothing is.
    """

    parts: tuple[Part, ...]
    padding: str | None = None

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len({*names}) < len(names) or self.padding not in (None, *names[1:]):
            raise ConfigurationError(
                "layout: expected inputs with different names, the attacked one first, got others; make it with"
                " robustkit.data.pack"
            )
        if self.padding is not None and _free_axes(self._named(self.padding).shape, self.attacked.shape) is None:
            raise ConfigurationError(
                f"data: expected {self.padding} to have one value for each position of {self.attacked.name}"
                f" {self.attacked.shape}, or one length, got shape {self._named(self.padding).shape}; correct it, or"
                " give padding=None"
            )

    def _named(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    @property
    def attacked(self) -> Part:
        """The input that is attacked."""
        return self.parts[0]

    @property
    def described(self) -> str:
        """What lies in a row, for messages."""
        return ", ".join(f"{part.name} {part.shape}" for part in self.parts)

    @cached_property
    def width(self) -> int:
        """How many numbers a row has."""
        return sum(part.size for part in self.parts)

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that tell it from others."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """Returns the inputs of rows `x` (N, width) by name, each (N, *shape) and of the kind that the model takes."""
        import torch

        found: dict[str, Tensor] = {}
        for part, values in zip(self.parts, torch.split(x, [part.size for part in self.parts], dim=1), strict=True):
            values = values.reshape(len(x), *part.shape)
            if part.kind != "float":
                values = values.round().long() if part.kind == "integer" else values > 0.5
            found[part.name] = values
        return found

    def fixed(self, x: Tensor) -> Tensor:
        """Returns what may not change in rows `x` (N, width), booleans shaped alike: what is passed on, and padding."""
        import torch

        fixed = torch.ones_like(x, dtype=torch.bool)
        fixed[:, : self.attacked.size] = ~self.real(x).flatten(1)
        return fixed

    def within(self, x: Tensor, low: Any, high: Any) -> tuple[Tensor, Tensor]:
        """Returns lowest and highest values that rows `x` (N, width) may get in a range; their own where fixed."""
        import torch

        fixed = self.fixed(x)
        return torch.where(fixed, x, low), torch.where(fixed, x, high)

    def real(self, x: Tensor) -> Tensor:
        """Returns which values of the attacked input are no padding in rows `x` (N, width): booleans (N, *shape)."""
        import torch

        shape = self.attacked.shape
        if self.padding is None:
            return torch.ones(len(x), *shape, dtype=torch.bool, device=x.device)
        said = self.split(x)[self.padding]
        real = torch.arange(shape[0], device=x.device) < said.unsqueeze(1) if said.ndim == 1 else said != 0
        before, after = _free_axes(self._named(self.padding).shape, shape) or (0, 0)
        return real.reshape(len(x), *(1,) * before, *real.shape[1:], *(1,) * after).expand(-1, *shape)

    def eps(self, radius: Any) -> PackedEps:
        """Returns the radii of a threat under which only the attacked input may change, and no padding.

        Args:
            radius: In the units of the attacked input: a number >= 0, a text such as "8/255", or numbers that broadcast
                to one input. What is already made by `eps` stays as it is.

        Raises:
            ConfigurationError: If it is something else.
        """
        if isinstance(radius, PackedEps):
            return radius
        given = plain(radius)
        try:
            each = as_array(per_coordinate("eps", "the radii", given)) if is_array(given) else _number(given)
            values = np.broadcast_to(each, self.attacked.shape).ravel()
            if not (values >= 0).all():
                raise ValueError
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            raise ConfigurationError(
                f"eps: expected a number >= 0, or numbers that broadcast to {self.attacked.name} {self.attacked.shape},"
                f" got {shown(radius)}; correct it"
            ) from None
        rest = (0.0,) * (self.width - self.attacked.size)
        return PackedEps((*values.tolist(), *rest), (self.width,), self)


@dataclass(frozen=True, repr=False)
class PackedEps(PerCoordinate):
    """Radii for rows of several inputs, together with how they lie there.

    Attributes:
        layout: Of the rows.
    """

    layout: Layout

    @cached_property
    def digest(self) -> str:
        """12 hexadecimal digits that tell it from others, over the layout as well."""
        return hashlib.sha256(
            f"{PerCoordinate(self.values, self.shape).digest}{self.layout.digest}".encode()
        ).hexdigest()[:12]

    def __str__(self) -> str:
        """Returns the range of radii, the input that they are for, and which array it is."""
        low, high = (f"{end:g}" for end in self.moving)
        return f"{low if low == high else f'{low} to {high}'} on {self.layout.attacked.name} alone ({self.digest})"


def with_layout(eps: PerCoordinate | None, layout: Layout | None) -> PerCoordinate | None:
    """Returns radii together with a layout, where there are both."""
    return eps if eps is None or layout is None else PackedEps(eps.values, eps.shape, layout)


def layout_of(eps: Any) -> Layout | None:
    """Returns how several inputs lie in a row, if a radius says so."""
    return eps.layout if isinstance(eps, PackedEps) else None


def refuse_several(item: Mapping[Any, Any]) -> None:
    """Raises InvalidEvaluation for a dict of several inputs where one is read, so that none is lost in silence."""
    if "input_ids" in item:
        raise InvalidEvaluation(f"data: expected floating-point inputs, got input_ids; {TOKENS}")
    if beside := BESIDE & item.keys():
        raise InvalidEvaluation(
            f"data: expected dicts with one input, got {min(beside)}, too; robustkit.data.pack(data, NAME) passes it on"
        )


def _number(radius: Any) -> float:
    if isinstance(radius, bool | bytes):
        raise TypeError
    return float(Fraction(radius)) if isinstance(radius, str) and radius != "inf" else float(radius)


def _free_axes(mask: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Returns how many axes of an input come before and after those of its mask: the first ones, else the last ones.

    A length counts along the first axis.
    """
    if not shape:
        return None
    if not mask:
        return 0, len(shape) - 1
    rest = len(shape) - len(mask)
    if rest >= 0 and shape[: len(mask)] == mask:
        return 0, rest
    return (rest, 0) if rest >= 0 and shape[rest:] == mask else None
