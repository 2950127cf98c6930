"""Options that say how the evaluation itself is checked; shared by the commands that do so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from robustkit.cli.shared.model_and_data import Case


def probe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --probes, how many samples the checks of the evaluation itself look at."""
    return click.option(
        "--probes",
        type=click.IntRange(0),
        default=64,
        show_default=True,
        help="Samples on which to check the evaluation itself afterwards; 0 leaves that out.",
    )(function)


def tuning_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --tuning-data; `load_tuning` reads it."""
    return click.option(
        "--tuning-data",
        "tuning",
        metavar="DATA",
        help="What the model was trained or tuned on, given like --data (its train split), or the data.sha256 of a "
        "report; samples found in both are counted.",
    )(function)


def load_tuning(load: Callable[..., Case], text: str | None) -> Any:
    """Returns the data that --tuning-data names, as it is where it is a hash, None for None."""
    from robustkit.checks.duplicates import is_hash
    from robustkit.loading.data import load_data

    if text is None or is_hash(text):
        return text
    assert isinstance(load, functools.partial)
    return load_data(text, load.keywords["data_root"], "train", load.keywords["image_size"])


def in_eval_mode(case: Case) -> Case:
    """Returns the case, its model in eval mode: what a factory has just built has no mode of its own to be told of."""
    case.classifier.module.eval()
    return case
