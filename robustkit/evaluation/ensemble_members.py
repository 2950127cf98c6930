"""Members of an ensemble against each other: cross-member transfer and disagreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.protocols import custom
from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks
from robustkit.data.dataset import Batch
from robustkit.data.labels import as_labels
from robustkit.defenses.ensemble import Ensemble
from robustkit.evaluation.part_files import Pieces
from robustkit.evaluation.part_settings import settings_of
from robustkit.maths.intervals import Proportion, proportion
from robustkit.model.classifier import Classifier


@dataclass(frozen=True)
class Transfer:
    """What `transfer` found; index i or j is a position in `names`.

    Attributes:
        names: The models.
        clean: Accuracy of each model without an attack.
        accuracy: `accuracy[i][j]` is the accuracy of model j on points made for model i, the clean point included;
            the diagonal is each model under its own attack.
        disagreement: `disagreement[i][j]` is the share of clean samples to which i and j give different answers.
        carried: `carried[i][j]` is the share, of the samples that both have right and that break i, that break j too.
    """

    names: tuple[str, ...]
    clean: tuple[Proportion, ...]
    accuracy: tuple[tuple[Proportion, ...], ...]
    disagreement: tuple[tuple[Proportion, ...], ...]
    carried: tuple[tuple[Proportion, ...], ...]


def transfer(
    models: Mapping[str, Classifier],
    x: Tensor,
    y: Tensor,
    attacks: Sequence[Attack],
    *,
    seed: int = 0,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
    folder: str | Path | None = None,
    finished: Sequence[str | Path] = (),
) -> Transfer:
    """Returns clean accuracy, accuracy on each other's adversarial points and disagreement of some models.

    Two points are made for each model by each attack: where it stops, which is just beyond that model's boundary, and
    where it ends after all its steps, which other models are likelier to share (Papernot et al. 2016, arXiv
    1605.07277). A model is right on a sample if it is right on the clean point and on all of these.

    Args:
        models: Classifiers by name, all with the same input bounds.
        x: Clean inputs (N, ...) within the bounds.
        y: Labels (N,).
        attacks: At least one.
        seed: Seed of the attacks.
        batch_size: Rows a model sees at once.
        progress: Called with how many samples of how many have been attacked, each once for every model.
        folder: Write what is finished there, every few seconds and at the end.
        finished: Folders with finished parts to take over: `folder` to resume.

    Raises:
        ConfigurationError: If there is no model or no attack, or finished parts are those of others.
        InvalidEvaluation: If the inputs leave the bounds or labels are no classes.
    """
    if not models or not attacks:
        raise ConfigurationError(
            f"transfer: expected models and attacks, got {len(models)} and {len(attacks)}; give at least one of each"
        )
    members = list(models.values())
    clean: list[list[Tensor]] = [[] for _ in members]
    held: list[list[list[Tensor]]] = [[[] for _ in members] for _ in members]
    pieces = Pieces("members", partial(_settings, members, attacks, seed, batch_size), folder, finished, Ranks())
    with pieces.kept():
        for turn, ids in enumerate(torch.split(torch.arange(len(x), device="cpu"), batch_size)):
            batch, labels = x[ids.to(x.device)], as_labels(y)[ids.to(y.device)]
            answers = [_answers(judge, batch) for judge in members]
            for j, answer in enumerate(answers):
                clean[j].append(answer)
            for i, maker in enumerate(members):
                number = turn * len(members) + i
                if known := pieces.known(number, Batch(batch, labels, ids)):
                    right = known[0]["right"]
                else:
                    points = _points(maker, batch, labels, attacks, ids, seed)
                    right = torch.stack([_right(judge, points, labels.cpu()) for judge in members])
                    pieces.add(number, {"right": right})
                for j, answer in enumerate(answers):
                    held[i][j].append((answer == labels.cpu()) & right[j])
                if progress:
                    progress(int(ids[0]) * len(members) + (i + 1) * len(ids), len(x) * len(members))
    said, truth = [torch.cat(parts) for parts in clean], as_labels(y).cpu()
    robust = [[torch.cat(parts) for parts in row] for row in held]
    broken = [(answer == truth) & ~robust[i][i] for i, answer in enumerate(said)]
    return Transfer(
        names=tuple(models),
        clean=tuple(_share(answer == truth) for answer in said),
        accuracy=tuple(tuple(_share(mask) for mask in row) for row in robust),
        disagreement=tuple(tuple(_share(a != b) for b in said) for a in said),
        carried=tuple(
            tuple(_share(~robust[i][j][broken[i] & (answer == truth)]) for j, answer in enumerate(said))
            for i in range(len(said))
        ),
    )


def members_of(ensemble: Classifier, x: Tensor, y: Tensor, attacks: Sequence[Attack], **settings: Any) -> Transfer:
    """Returns how adversarial examples transfer between the members of an ensemble; arguments as for `transfer`.

    Raises:
        ConfigurationError: If the model is no `Ensemble`.
    """
    module = ensemble.module
    if not isinstance(module, Ensemble):
        raise ConfigurationError(
            f"members: expected an Ensemble, got {type(ensemble.model).__name__}; audit it as it is"
        )
    parts = [ensemble.replace(model=member, output="logits", select=None, draws=1) for member in module.members]
    members = {f"member {number}": part for number, part in enumerate(parts, 1)}
    return transfer(members, x, y, attacks, **settings)


def _settings(members: Sequence[Classifier], attacks: Sequence[Attack], seed: int, batch_size: int) -> dict[str, str]:
    """Returns all that decides the results, as text."""
    named = {"seed": str(seed), "batch size": str(batch_size)}
    for number, member in enumerate(members):
        named |= {f"{name} {number}": text for name, text in settings_of(member, custom(attacks)).items()}
    return named


def _points(maker: Classifier, x: Tensor, y: Tensor, attacks: Sequence[Attack], ids: Tensor, seed: int) -> list[Tensor]:
    points = []
    for attack in attacks:
        points.append(attack(maker, x, y, ids=ids, seed=seed).x_adv)
        with maker.frozen():
            inputs = maker.accept(x)
            goal = attack.goal(as_labels(y, maker.classes(inputs[:4]))).to(maker.device)
            points.append(craft(attack, maker, inputs, goal, ids, seed))
    return points


def _right(judge: Classifier, points: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Returns which samples are right on all of their points."""
    return torch.stack([_answers(judge, point) == labels for point in points]).all(dim=0)


def _answers(judge: Classifier, x: Tensor) -> Tensor:
    with judge.frozen(), torch.no_grad():
        return judge.logits(judge.accept(x)).argmax(dim=1).cpu()


def _share(hits: Tensor) -> Proportion:
    return proportion(int(hits.sum()), len(hits))
