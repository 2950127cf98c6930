"""Where a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustkit.base.errors import ConfigurationError

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """Returns the device called `name`; "auto" is this process's GPU, or the CPU where there is none.

    Raises:
        ConfigurationError: If it does not exist.
    """
    import torch

    from robustkit.base.processes import own_gpu

    if name == "auto" and not torch.cuda.is_available():
        return torch.device("cpu")
    try:
        device = own_gpu() if name in ("auto", "cuda") else torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0][:100]
        raise ConfigurationError(f"--device: expected cpu, cuda or cuda:N, got {name!r} ({why}); use auto") from None
    return device
