"""Everything about a training run that is a number or a name, as one value."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from robustkit.base.errors import ConfigurationError, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; what to minimise is the objective.

    Attributes:
        epochs: Passes over the data.
        batch_size: Samples per update, of all processes together; a last batch of one sample is left out, since
            BatchNorm refuses it.
        augment: Random changes of every batch, such as flip+crop:padding=4+randaugment:magnitude=9; also
            trivialaugment, augmix, cutout, noise, mixup, cutmix. An attack starts from the changed input.
        optimizer: Of torch, with its defaults for what is not said here.
        lr: Learning rate; the largest one where the schedule moves it.
        momentum: Of sgd.
        nesterov: Whether sgd's momentum is Nesterov's.
        weight_decay: As the optimiser understands it; in adamw it is decoupled (Loshchilov & Hutter 2019,
            arXiv 1711.05101).
        l1: Weight of the sum of absolute weights in the loss.
        clip: Largest norm of the gradient; longer ones are scaled down.
        schedule: Of torch, moved after every update: one-cycle (Smith & Topin 2018, arXiv 1708.07120), cyclic (from 0
            to lr and back once), cosine, warm-restarts (Loshchilov & Hutter 2017, arXiv 1608.03983), step, constant.
        milestones: For step: where the rate falls, as shares of all epochs.
        gamma: For step: the factor of each fall.
        restart_epochs: For warm-restarts: epochs of one cosine.
        eps_warmup: Epochs over which the budget of the objective grows to its full size.
        average: Weights to return and to measure: none (the last ones), ema (exponential moving average), swa (mean
            over the ends of late epochs, Izmailov et al. 2018, arXiv 1803.05407), BatchNorm statistics included.
        ema_decay: Decay of ema per update.
        swa_start: Share of all epochs before swa begins.
        precision: bf16 runs the model under autocast.
        inner_fp32: With bf16, whether the inner attack runs in float32 all the same.
        channels_last: Memory format of image models while they train; by default on the CPU only, where it is faster.
        head_epochs: First so many epochs train the last layer only (linear probe); the rest of the model is frozen.
        held_out: Share of the training samples kept for measuring and choosing, never trained on.
        val_limit: Most samples to measure on.
        val_steps: Steps of the PGD that measures.
        eval_every: Epochs between measurements; the last epoch is always measured.
        select: Which epoch's weights to return: robust or clean is the best one by that accuracy on the held-out split,
            last is the last; auto is robust for objectives with a budget, clean for those without.
        patience: Stop after so many measurements without improvement.
        minutes: Stop after so much time; the checkpoint goes on from there.
        stop_after: Stop after this epoch, with the schedule laid out for all of them.
        on_catastrophic: What to do on catastrophic overfitting: stop, rollback (go back to the last healthy point and
            make smaller, but more, steps), ignore.
        guard_every: Updates between looks for catastrophic overfitting, beside the measurements.
        save_minutes: Time between checkpoints, beside the end of every epoch.
        trackers: Where to log beside the folder: tensorboard, mlflow.
        seed: Decides the order of the samples, the split and all random numbers.
    """

    epochs: int = 10
    batch_size: int = 128
    augment: str | None = None
    optimizer: Literal["sgd", "adam", "adamw", "adagrad"] = "adamw"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    l1: float = 0.0
    clip: float | None = None
    schedule: Literal["one-cycle", "cyclic", "cosine", "warm-restarts", "step", "constant"] = "one-cycle"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    restart_epochs: int = 10
    eps_warmup: float = 0.0
    average: Literal["none", "ema", "swa"] = "none"
    ema_decay: float = 0.999
    swa_start: float = 0.75
    precision: Literal["fp32", "bf16"] = "fp32"
    inner_fp32: bool = False
    channels_last: bool | None = None
    head_epochs: int = 0
    held_out: float = 0.1
    val_limit: int = 1000
    val_steps: int = 10
    eval_every: int = 1
    select: Literal["auto", "robust", "clean", "last"] = "auto"
    patience: int | None = None
    minutes: float | None = None
    stop_after: int | None = None
    on_catastrophic: Literal["stop", "rollback", "ignore"] = "stop"
    guard_every: int = 200
    save_minutes: float = 10.0
    trackers: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            object.__setattr__(self, name, _checked(name, kind, getattr(self, name)))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigurationError(f"recipe: expected {name} in {low:g}..{high:g}, got {value:g}; correct it")
        if self.nesterov and not self.momentum:
            raise ConfigurationError("recipe: expected momentum > 0 with nesterov, got 0; set one of them")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Recipe:
        """Returns the recipe with these settings.

        Raises:
            ConfigurationError: If a name does not exist or a value cannot be meant.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise ConfigurationError(f"recipe: expected a known setting, got {name!r}{suggest(name, names)}")
        return cls(**settings)

    def having(self, changes: Mapping[str, Any]) -> Recipe:
        """Returns the recipe with some settings changed; raises as `of` does."""
        return Recipe.of({**dataclasses.asdict(self), **changes})

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Returns the recipe in a TOML file whose keys are the settings; raises as `of` and `read_toml` do."""
        return cls.of(read_toml(path))


def read_toml(path: str | Path, who: str = "recipe") -> dict[str, Any]:
    """Returns the settings in a TOML file, "-" in their names read as "_".

    Raises:
        ConfigurationError: If the file cannot be read as TOML.
    """
    try:
        with Path(path).open("rb") as file:
            return {name.replace("-", "_"): value for name, value in tomllib.load(file).items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{who} '{path}': expected a TOML file, got {error}; correct it") from None


_HUGE = float("inf")
_RANGES = (
    *((name, 1, _HUGE) for name in ("epochs", "batch_size", "restart_epochs", "val_limit", "val_steps", "eval_every")),
    *((name, 1, _HUGE) for name in ("patience", "stop_after", "guard_every")),
    *((name, 0, _HUGE) for name in ("weight_decay", "l1", "eps_warmup", "head_epochs", "minutes", "save_minutes")),
    *((name, 0, 1) for name in ("momentum", "ema_decay", "swa_start", "gamma")),
    *(("lr", 1e-12, _HUGE), ("clip", 1e-12, _HUGE), ("held_out", 0, 0.5), ("seed", 0, 2**63 - 1)),
)


def _checked(name: str, kind: Any, value: Any) -> Any:
    """Returns `value` as the annotated type spells it, or raises."""
    if isinstance(kind, types.UnionType):
        if value is None or value == "none":  # which TOML and a command line can say
            return None
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        if value not in (known := get_args(kind)):
            raise ConfigurationError(
                f"recipe: expected {name} among {', '.join(known)}, got {value!r}{suggest(str(value), known)}"
            )
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)):
            raise ConfigurationError(f"recipe: expected {name} to be a list, got {value!r}; correct it")
        return tuple(_checked(name, get_args(kind)[0], item) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind or value != value:
        raise ConfigurationError(f"recipe: expected {name} to be of type {kind.__name__}, got {value!r}; correct it")
    return value
