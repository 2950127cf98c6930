"""Counter-based random numbers: a pure function of (seed, sample id, attack, restart, step).

Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3) in torch integer
arithmetic. The integers and uniforms are equal on every device; normals agree to the last bits of float64.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_STEP_BITS = 20  # the last counter word holds the step below 2**20 and the restart above it


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Returns four words of 32 random bits (int64 tensors in [0, 2**32)) for every counter.

    Args:
        counter: Four broadcastable int64 tensors in [0, 2**32).
        key: Two integers in [0, 2**32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # The product of two 32-bit words wraps in int64, yet its high and low halves come out right.
        high, low = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = ((low >> 32) & _MASK) ^ c1 ^ k0, low & _MASK
        c2, c3 = ((high >> 32) & _MASK) ^ c3 ^ k1, high & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Stream:
    """The random numbers of one attack (`name`) in one run (`seed`)."""

    seed: int
    name: str
    _key: tuple[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(f"{self.seed}/{self.name}".encode()).digest()
        object.__setattr__(self, "_key", (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")))

    @property
    def number(self) -> int:
        """One number in [0, 2**64) for libraries that want a seed of their own."""
        return self._key[0] << 32 | self._key[1]

    def uniform(self, shape: tuple[int, ...], ids: Tensor, restart: Tensor, step: Tensor, draw: int = 0) -> Tensor:
        """Returns float64 numbers strictly between 0 and 1, shape (N, *shape).

        Args:
            shape: Shape of one row.
            ids: Sample ids, int64 in [0, 2**63), shape (N,).
            restart: Restart of each row in [0, 4096), shape (N,).
            step: Step of each row in [0, 2**20), shape (N,).
            draw: Which of several independent draws of the same step.
        """
        size = math.prod(shape)
        blocks = -(-size // 4)
        block = torch.arange(draw * blocks, (draw + 1) * blocks, device=ids.device)
        rows = [ids & _MASK, ids >> 32, (restart << _STEP_BITS) | step]
        low, high, position = (word.view(-1, 1) for word in rows)
        words = torch.stack(philox((block.view(1, -1), low, high, position), self._key), dim=-1)
        return ((words.flatten(1)[:, :size].double() + 0.5) * 2.0**-32).view(-1, *shape)

    def normal(self, shape: tuple[int, ...], ids: Tensor, restart: Tensor, step: Tensor, draw: int = 0) -> Tensor:
        """Returns float64 standard normal numbers, shape (N, *shape); arguments as in `uniform`."""
        numbers: Tensor = torch.special.ndtri(self.uniform(shape, ids, restart, step, draw))
        return numbers
