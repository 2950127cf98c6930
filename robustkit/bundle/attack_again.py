"""Attacking again: some of the samples that an audit calls robust, picked by whoever verifies it.

A ledger and its points prove every sample that is broken, and nothing about the others: a search that was switched off,
or run against another model, leaves no trace. The same attacks with the same seed find the same, so that on an honest
bundle they break none of these samples again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom, hypergeom
from torch import Tensor

from robustkit.base.errors import RobustkitError
from robustkit.bundle.failure_messages import Mismatch
from robustkit.bundle.restore import repeatable
from robustkit.bundle.verification_result import Notes
from robustkit.data.dataset import Dataset
from robustkit.evaluation.result import Evaluation
from robustkit.evaluator import evaluate
from robustkit.model.classifier import Classifier

CONFIDENCE = 0.95
NOISE = 0.02  # of the samples that stand; what a seed or another machine moves (docs/results.md)


@dataclass(frozen=True)
class Again:
    """What came of it.

    Attributes:
        tried: How many samples were attacked.
        broken: Ids of those that were broken.
        standing: How many samples the audit calls robust.
        audited: How many samples it has.
        seed: Of the choice.
    """

    tried: int
    broken: tuple[int, ...]
    standing: int
    audited: int
    seed: int

    @property
    def hidden(self) -> int:
        """Upper bound, with 95 % confidence, of how many of the standing samples these attacks break.

        The largest number for which drawing no more broken ones than these has a probability above 5 %
        (hypergeometric distribution).
        """
        counts = np.arange(len(self.broken), self.standing - self.tried + len(self.broken) + 1)
        likely = hypergeom.cdf(len(self.broken), self.standing, counts, self.tried) > 1 - CONFIDENCE
        return int(counts[likely].max())

    @property
    def beyond_noise(self) -> bool:
        """Whether more were broken than other machines and seeds account for, at a level of 5 %."""
        return bool(binom.sf(len(self.broken) - 1, self.tried, NOISE) < 1 - CONFIDENCE)

    def __str__(self) -> str:
        """Returns it in one sentence."""
        least = 100 * (self.standing - self.hidden) / self.audited
        return (
            f"the same attacks broke {len(self.broken)} of {self.tried} samples picked from the {self.standing:,} "
            f"robust ones (seed {self.seed}): with 95 % confidence they break at most {self.hidden:,} of them, so that "
            f"they leave a robust accuracy of at least {least:.1f} %"
        )


def pick(evaluation: Evaluation, count: int, seed: int | None) -> tuple[set[int], int]:
    """Returns the ids of up to `count` robust samples, drawn at random, and the seed, a fresh one where it is None."""
    seed = secrets.randbelow(2**32) if seed is None else seed
    standing = np.sort(evaluation.ledger["id"][evaluation.ledger.robust])
    drawn = np.random.default_rng(seed).choice(standing, min(count, len(standing)), replace=False)
    return set(drawn.tolist()), seed


def check_again(
    notes: Notes,
    say: Callable[[str], str],
    evaluation: Evaluation,
    classifier: Classifier | None,
    picked: Sequence[tuple[Tensor, int, int]],
    seed: int,
    batch_size: int,
) -> None:
    """Attacks some robust samples again, and enters how many of the others may be hidden.

    Args:
        notes: Where findings are entered.
        say: Puts the name of the audit before what is said of it, where there are several.
        evaluation: Restored from its ledger.
        classifier: The model, None where there is none that is the audit's.
        picked: Input, label and id of each sample.
        seed: With which they were picked.
        batch_size: Rows the model sees at once.
    """
    what = say(f"{len(picked):,} robust samples attacked again")
    protocol, left_out = repeatable(evaluation)
    standing = int(evaluation.ledger.robust.sum())
    if not standing:
        notes.made("model", say("no sample is called robust, so that none is attacked again"), [])
        return
    if classifier is None or not picked or not protocol.attacks:
        why = f"{', '.join(left_out)} needs more than its settings" if not protocol.attacks else "no model and data"
        notes.left_out("model", what, why)
        return
    x, y, ids = zip(*picked, strict=True)
    data = Dataset(
        name="",
        source=(torch.stack(x), torch.tensor(y, device="cpu"), torch.tensor(ids, device="cpu")),
        bounds=classifier.bounds,
    )
    try:
        ledger = evaluate(
            classifier, data, protocol, batch_size=batch_size, seed=evaluation.seed, accelerate=evaluation.accelerated
        ).ledger
    except RobustkitError as error:
        notes.left_out("model", what, str(error))
        return
    broken = tuple(ledger["id"][~ledger.robust].tolist())
    again = Again(len(picked), broken, standing, len(evaluation.ledger), seed)
    notes.remarks.append(say(str(again)))
    notes.trusted += [f"what {label} did not break, as it needs more than its settings" for label in left_out]
    if broken and not again.beyond_noise:
        notes.left_out("model", what, f"{len(broken)} broken, which another machine may do: attack more of them again")
        return
    expected = f"to stand, as {len(picked)} picked from them"
    more = len(broken) - 1
    false = [Mismatch(say("the robust samples"), expected, f"sample {broken[0]} broken", more)] if broken else []
    notes.made("model", what, false)
