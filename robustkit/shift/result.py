"""What came of an evaluation under shift, and the baseline that mCE compares it with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from robustkit.base.csv_table import write_csv
from robustkit.base.errors import ConfigurationError, InvalidEvaluation, suggest
from robustkit.base.settings import between, choice, instance, items
from robustkit.maths.calibration import Calibration, Estimate
from robustkit.maths.intervals import Proportion
from robustkit.shift.corruptions import CORRUPTIONS, SEVERITIES


@dataclass(frozen=True)
class Baseline:
    """The model that mCE compares with.

    Attributes:
        name: What it is and what it was measured on.
        clean: Its error on clean samples, a fraction.
        errors: Its errors by corruption, severity 1 to 5, fractions.
    """

    name: str
    clean: float
    errors: Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        instance("baseline", "name", self.name, str)
        between("baseline", "clean, an error,", self.clean, "[0, 1]")
        instance("baseline", "errors", self.errors, Mapping)
        for corruption, errors in self.errors.items():
            choice("baseline", "corruption", corruption, CORRUPTIONS)
            for error in items("baseline", f"the errors of {corruption}", errors):
                between("baseline", f"every error of {corruption}", error, "[0, 1]")


ALEXNET = Baseline(
    name="AlexNet on ImageNet-C",
    clean=0.435,
    errors={
        "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
        "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
        "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
        "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
        "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
        "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
        "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
        "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
        "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
        "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
        "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
        "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
        "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
        "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
        "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
    },
)
"""Hendrycks & Dietterich 2019, arXiv 1903.12261: table 1 and hendrycks/robustness issue 10. Its mCE means something
beside published ones only for a classifier of ImageNet on the published ImageNet-C."""


@dataclass(frozen=True)
class Cell:
    """One corruption at one severity; the clean samples are severity 0 of "clean"."""

    corruption: str
    severity: int
    calibration: Calibration

    @property
    def accuracy(self) -> Proportion:
        """Share of the samples that are right."""
        return self.calibration.accuracy

    @property
    def error(self) -> float:
        """Share of the samples that are wrong."""
        return 1 - self.accuracy.k / self.accuracy.n


@dataclass(frozen=True)
class Shift:
    """A classifier under shift.

    Attributes:
        clean: On the samples as they are.
        cells: Every corruption at every severity.
        mean_accuracy: Mean over `cells`, with a 95 % bootstrap interval over samples: a sample keeps all its cells.
        source: Where the corrupted images come from.
        seed: Of corruptions and bootstrap.
    """

    clean: Cell
    cells: tuple[Cell, ...]
    mean_accuracy: Estimate
    source: str
    seed: int
    by_name: dict[tuple[str, int], Cell] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {(cell.corruption, cell.severity): cell for cell in self.cells})

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names in the order they were evaluated in."""
        return tuple(dict.fromkeys(cell.corruption for cell in self.cells))

    @property
    def severities(self) -> tuple[int, ...]:
        """Severities in ascending order."""
        return tuple(sorted({cell.severity for cell in self.cells}))

    @property
    def mean_error(self) -> float:
        """Mean error over all corruptions and severities."""
        return 1 - self.mean_accuracy.value

    def accuracy(self, corruption: str) -> float:
        """Returns the mean accuracy over the severities of one corruption."""
        return 1 - float(np.mean(self._errors(corruption)))

    def ece(self, corruption: str) -> float:
        """Returns the mean expected calibration error over the severities of one corruption."""
        return float(np.mean([self.by_name[corruption, s].calibration.ece.value for s in self.severities]))

    def corruption_error(self, corruption: str, baseline: Baseline = ALEXNET) -> float:
        """Returns CE: the errors over all severities, in units of those of the baseline (section 4.1)."""
        return sum(self._errors(corruption)) / sum(self._base(corruption, baseline))

    def mce(self, baseline: Baseline = ALEXNET) -> float:
        """Returns the mean corruption error; 1 is as bad as the baseline, published figures are 100 times this."""
        return float(np.mean([self.corruption_error(name, baseline) for name in self.corruptions]))

    def relative_mce(self, baseline: Baseline = ALEXNET) -> float:
        """Returns the mean over corruptions of what they add to the clean error, in units of the baseline's.

        Raises:
            InvalidEvaluation: If a corruption adds nothing to the error of the baseline.
        """
        ratios = []
        for name in self.corruptions:
            added = sum(error - baseline.clean for error in self._base(name, baseline))
            if added <= 0:
                raise InvalidEvaluation(
                    f"relative mCE: expected a baseline that {name} harms, got {added:.4g} more errors; choose another"
                )
            ratios.append(sum(error - self.clean.error for error in self._errors(name)) / added)
        return float(np.mean(ratios))

    def to_dict(self, baseline: Baseline | None = None) -> dict[str, Any]:
        """Returns plain data: fractions, and nothing that is not a number, a text, a list or a dict."""
        found: dict[str, Any] = {
            "source": self.source,
            "seed": self.seed,
            "clean": _plain(self.clean),
            "mean_accuracy": asdict(self.mean_accuracy),
            "mean_error": self.mean_error,
            "by_corruption": {
                name: {"accuracy": self.accuracy(name), "ece": self.ece(name)} for name in self.corruptions
            },
            "cells": [_plain(cell) for cell in self.cells],
        }
        if baseline is not None:
            for name in self.corruptions:
                found["by_corruption"][name]["corruption_error"] = self.corruption_error(name, baseline)
            relative = self.relative_mce(baseline)
            found |= {"baseline": baseline.name, "mce": self.mce(baseline), "relative_mce": relative}
        return found

    def to_json(self, baseline: Baseline | None = None) -> str:
        """Returns `to_dict` as text."""
        return json.dumps(self.to_dict(baseline), indent=2) + "\n"

    def to_csv(self) -> str:
        """Returns one line for the clean samples and one for each cell."""
        rows = [_plain(cell) for cell in (self.clean, *self.cells)]
        return write_csv([*rows[0]], [[*row.values()] for row in rows])

    def _errors(self, corruption: str) -> list[float]:
        if corruption not in self.corruptions:
            raise ConfigurationError(f"shift: no corruption {corruption!r}{suggest(corruption, self.corruptions)}")
        return [self.by_name[corruption, severity].error for severity in self.severities]

    def _base(self, corruption: str, baseline: Baseline) -> list[float]:
        errors = baseline.errors.get(corruption, ())
        if len(errors) != len(SEVERITIES) or not sum(errors):
            raise ConfigurationError(
                f"mCE: expected five errors of '{baseline.name}' under {corruption}, got {len(errors)}; record them"
            )
        return [errors[severity - 1] for severity in self.severities]


def _plain(cell: Cell) -> dict[str, Any]:
    found, accuracy = cell.calibration, cell.accuracy
    return {
        "corruption": cell.corruption,
        "severity": cell.severity,
        "accuracy": accuracy.value,
        "low": accuracy.wilson[0],
        "high": accuracy.wilson[1],
        "k": accuracy.k,
        "n": accuracy.n,
        "ece": found.ece.value,
        "ece_if_calibrated": found.ece_if_calibrated.mean,
        "nll": found.nll.value,
        "brier": found.brier.value,
        "mean_confidence": found.mean_confidence,
    }
