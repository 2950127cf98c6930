"""Attacks by name, on a model and a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from torch import Tensor, nn

from robustkit.attacks.base import Adversarial, Attack
from robustkit.attacks.protocols import Protocol, as_protocol
from robustkit.attacks.threat import Eps
from robustkit.maths.norms import Norm
from robustkit.model.classifier import Classifier, as_classifier

Model = Classifier | nn.Module | Callable[[Tensor], Any]
Attacks = Sequence[Attack | str] | Attack | str | Protocol


@overload
def attack(
    model: Model, x: Tensor, y: Tensor, attacks: Attacks = ..., *, norm: Norm | None = ..., eps: Eps | None = ...,
    ids: Tensor | None = ..., seed: int = ..., batch_size: int | None = ...,
) -> Adversarial: ...  # fmt: skip


@overload
def attack(
    model: Model, x: Tensor, y: Tensor, attacks: Attacks = ..., *, norm: Norm | None = ..., eps: list[Eps],
    ids: Tensor | None = ..., seed: int = ..., batch_size: int | None = ...,
) -> list[Adversarial]: ...  # fmt: skip


def attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    attacks: Attacks = "autoattack",
    *,
    norm: Norm | None = None,
    eps: Eps | list[Eps] | None = None,
    ids: Tensor | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarial | list[Adversarial]:
    """Returns the adversarial inputs that attacks find between them, which unpack as `x_adv, success`.

    Several attacks, or those of a protocol, go one after the other, each on the rows that are not broken yet.

    Args:
        model: A module that takes inputs in 0..1 and returns class scores, or a `robustkit.Classifier`.
        x: Clean inputs (N, ...) within the bounds.
        y: True labels (N,).
        attacks: A protocol ("autoattack", "fast", ...), an attack ("pgd:steps=40", "square"), a value such as `PGD()`,
            or a list of them.
        norm: "Linf" (where nothing says otherwise), "L2" or "L1", for what is given by name.
        eps: Radius, for what is given by name; "8/255" where nothing says otherwise. A list gives a list.
        ids: Sample ids (N,) that fix the random numbers; the position by default.
        seed: Seed of the run.
        batch_size: Rows the model sees at once; all by default.

    Raises:
        ConfigurationError: If no attack has that name, a setting is invalid, or labels and ids do not match `x`.
        InvalidEvaluation: If `x` leaves the bounds or a label is not a class.
    """
    classifier = as_classifier(model)

    def run(eps: Eps | None) -> Adversarial:
        protocol = as_protocol(attacks, lambda: _count(classifier, x), norm, eps)
        lone = protocol.attacks[0]
        call = lone if len(protocol.attacks) == 1 and not protocol.cascade else protocol
        return call(classifier, x, y, ids=ids, seed=seed, batch_size=batch_size)

    return [run(one) for one in eps] if isinstance(eps, list | tuple) else run(eps)


def _count(classifier: Classifier, x: Tensor) -> int:
    """Returns the number of classes, from what the model answers."""
    with classifier.frozen():
        return classifier.classes(classifier.accept(x[:4]))
