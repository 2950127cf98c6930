"""The worst case over several threat models: which samples of one model are correct under each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustkit.base.errors import ConfigurationError
from robustkit.evaluation.ledger import Ledger
from robustkit.maths.intervals import Proportion, proportion


@dataclass(frozen=True)
class AcrossThreats:
    """Worst case over the threat models of several audits of one model, in their order.

    `accuracy` is the share of the samples that are correct under every attack of each of them. `broken_by` counts the
    samples broken under a threat model, `broken_only_by` those broken under that one alone.
    """

    threats: tuple[str, ...]
    accuracy: Proportion
    broken_by: tuple[int, ...]
    broken_only_by: tuple[int, ...]


def across_threats(threats: Sequence[str], ledgers: Sequence[Ledger]) -> AcrossThreats:
    """Returns what the ledgers of one model under several threat models say together.

    Args:
        threats: What the threat models are called.
        ledgers: One for each, of the same samples in whatever order.

    Raises:
        ConfigurationError: If samples, labels or clean predictions differ, or there are fewer than two threat models.
    """
    orders = [np.argsort(ledger["id"]) for ledger in ledgers]
    same = ("id", "label", "clean_prediction")
    columns = [[ledger[name][order] for name in same] for ledger, order in zip(ledgers, orders, strict=True)]
    if len(set(threats)) < max(2, len(threats)) or any(not np.array_equal(columns[0], one) for one in columns[1:]):
        raise ConfigurationError(
            "union: expected one model on the same samples under two or more distinct threat models, got"
            f" {', '.join(threats) or 'none'} on {' and '.join(str(len(ledger)) for ledger in ledgers)} samples;"
            " evaluate all with the same data, limit and seed"
        )
    right = ledgers[0].right[orders[0]]
    broken = np.stack([right & ~ledger.robust[order] for ledger, order in zip(ledgers, orders, strict=True)])
    alone = broken & (broken.sum(0) == 1)
    return AcrossThreats(
        threats=tuple(threats),
        accuracy=proportion(int((right & ~broken.any(0)).sum()), len(right)),
        broken_by=tuple(map(int, broken.sum(1))),
        broken_only_by=tuple(map(int, alone.sum(1))),
    )
