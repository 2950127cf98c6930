"""Running out of memory is one line that names the batch size and what to do."""

from __future__ import annotations

import pytest
import torch

from robustkit.base.errors import ConfigurationError
from robustkit.base.memory import in_batches, ran_out, room_for


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError("Unable to allocate 3.6 TiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_every_kind_of_full_memory_is_told_with_the_batch_size(error):
    told = r"room for batches of 256, got .*; use --batch-size 64 \(in Python"
    with pytest.raises(ConfigurationError, match=told), room_for(256):
        raise error


def test_other_errors_pass_through():
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(ZeroDivisionError), room_for(1):
        raise ZeroDivisionError


def test_the_batch_size_is_the_one_given_or_the_usual_one():
    @in_batches
    def works(*, batch_size: int = 12) -> int:
        """Works."""
        raise MemoryError

    for given, size in (({}, 12), ({"batch_size": 7}, 7)):
        with pytest.raises(ConfigurationError, match=f"batches of {size},"):
            works(**given)
    assert works.__doc__ == "Works."
