"""Everything about a training run that is a number or a name, as one value."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.toml_file import read_toml

# TOML and a command line have no None and no tuples: they say "none" and give lists.
_NONE = BeforeValidator(lambda value: None if isinstance(value, str) and value == "none" else value)
_LIST = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_MOST = 1e30  # what is multiplied with it stays finite in float32
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
CountOrNone = Annotated[int | None, Field(ge=1), _NONE]


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
        eps_warmup: Epochs over which the eps of the objective grows to its full size.
        average: Weights to return and to measure: none (the last ones), ema (exponential moving average), swa (mean
            over the ends of late epochs, Izmailov et al. 2018, arXiv 1803.05407), BatchNorm statistics included.
        ema_decay: Decay of ema per update.
        swa_start: Share of all epochs before swa begins.
        precision: bf16 runs the model under autocast.
        inner_fp32: With bf16, whether the inner attack runs in float32 all the same.
        channels_last: Memory format of image models while they train; by default on the CPU only, where it is faster.
        head_epochs: First so many epochs train the last layer only (linear probe); the rest of the model is frozen.
        head: Name of the last layer, such as fc, where a pass through the network does not tell.
        held_out: Share of the training samples kept for measuring and choosing, never trained on.
        val_limit: Most samples to measure on.
        val_steps: Steps of the PGD that measures.
        eval_every: Epochs between measurements; the last epoch is always measured.
        select: Which epoch's weights to return: robust or clean is the best one by that accuracy on the held-out split,
            last is the last; auto is robust for objectives with an eps, clean for those without.
        patience: Stop after so many measurements without improvement.
        minutes: Time limit; a run that reaches it stops, and resumes from its checkpoint.
        stop_after: Stop after this epoch, with the schedule laid out for all of them.
        on_catastrophic: What to do on catastrophic overfitting: stop, rollback (go back to the last healthy point and
            make smaller, but more, steps), ignore (note it).
        guard_every: Updates between looks for catastrophic overfitting, beside the measurements.
        save_minutes: Time between checkpoints, beside the end of every epoch.
        trackers: Where to log beside the folder: tensorboard, mlflow, wandb.
        seed: Decides the order of the samples, the split and all random numbers.
    """

    epochs: Count = 10
    batch_size: Annotated[int, Field(ge=1, le=10**12)] = 128
    augment: Annotated[str | None, _NONE] = None
    optimizer: Literal["sgd", "adam", "adamw", "adagrad"] = "adamw"
    lr: Annotated[float, Field(ge=1e-12, le=_MOST, allow_inf_nan=False)] = 0.01
    momentum: Share = 0.9
    nesterov: bool = False
    weight_decay: Amount = 5e-4
    l1: Amount = 0.0
    clip: Annotated[float | None, Field(ge=1e-12, le=_MOST, allow_inf_nan=False), _NONE] = None
    schedule: Literal["one-cycle", "cyclic", "cosine", "warm-restarts", "step", "constant"] = "one-cycle"
    milestones: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], _LIST] = (0.5, 0.75)
    gamma: Share = 0.1
    restart_epochs: Count = 10
    eps_warmup: Amount = 0.0
    average: Literal["none", "ema", "swa"] = "none"
    ema_decay: Share = 0.999
    swa_start: Share = 0.75
    precision: Literal["fp32", "bf16"] = "fp32"
    inner_fp32: bool = False
    channels_last: Annotated[bool | None, _NONE] = None
    head_epochs: Annotated[int, Field(ge=0)] = 0
    head: Annotated[str | None, _NONE] = None
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    val_limit: Count = 1000
    val_steps: Count = 10
    eval_every: Count = 1
    select: Literal["auto", "robust", "clean", "last"] = "auto"
    patience: CountOrNone = None
    minutes: Annotated[float | None, Field(ge=0, le=_MOST, allow_inf_nan=False), _NONE] = None
    stop_after: CountOrNone = None
    on_catastrophic: Literal["stop", "rollback", "ignore"] = "stop"
    guard_every: Count = 200
    save_minutes: Amount = 10.0
    trackers: Annotated[tuple[str, ...], _LIST] = ()
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0

    def __post_init__(self) -> None:
        for name, value in _validated(self).items():
            object.__setattr__(self, name, value)
        if self.nesterov and not self.momentum:
            raise ConfigurationError("recipe: expected momentum > 0 with nesterov, got 0; set one of them")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Recipe:
        """Returns the recipe with these settings.

        Raises:
            ConfigurationError: If a name does not exist or a value is invalid.
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


@functools.cache
def _schema() -> type[BaseModel]:
    """Returns the pydantic model of a recipe's settings. It is strict: `true` is no number and 1.0 no whole one."""
    settings: dict[str, Any] = {name: (hint, ...) for name, hint in get_type_hints(Recipe, include_extras=True).items()}
    return create_model("Recipe", __config__=ConfigDict(strict=True), **settings)


def _validated(recipe: Recipe) -> dict[str, Any]:
    """Returns the settings of a recipe as their types spell them, or raises on the first that is wrong."""
    try:
        return dict(_schema()(**vars(recipe)))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ConfigurationError(f"recipe: expected {_expected(**wrong)}") from None


def _expected(*, type: str, loc: tuple[int | str, ...], input: Any, **_: Any) -> str:
    """Returns what pydantic says of a setting as a person would: what was expected, what was given, what to do."""
    name = str(loc[0])
    kind = get_type_hints(Recipe)[name]
    options = get_args(kind) or (kind,)
    if type == "literal_error":
        return f"{name} among {', '.join(options)}, got {input!r}{suggest(str(input), options)}"
    if type == "tuple_type":
        return f"{name} to be a list, got {input!r}; correct it"
    if type in ("greater_than_equal", "less_than_equal") and input == input:
        limits = _schema().model_fields[name].metadata
        low = next(limit.ge for limit in limits if hasattr(limit, "ge"))
        high = next((limit.le for limit in limits if hasattr(limit, "le")), math.inf)
        return f"{name} in {low:g}..{high:g}, got {input!r}; correct it"
    return f"{name} to be of type {options[0].__name__}, got {input!r}; correct it"
