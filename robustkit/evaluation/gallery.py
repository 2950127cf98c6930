"""A few samples with their worst points, broken and not, for people to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import InvalidEvaluation
from robustkit.evaluation.ledger import Ledger
from robustkit.maths.losses import one_hot

_SURVIVORS = -1  # where a class index stands for the broken ones


@dataclass(frozen=True)
class Example:
    """One sample with the point that an attack found for it, on the CPU.

    `saliency`, shape (1, H, W), is how strongly each pixel of `x` moves the score of the class the model answers there;
    `saliency_adv` is the same at `x_adv`. None for other inputs than images and for models without gradients.
    """

    id: int
    label: int
    attack: str
    x: Tensor
    x_adv: Tensor
    clean_prediction: int
    clean_confidence: float
    adversarial_prediction: int
    adversarial_confidence: float
    distance: float
    saliency: Tensor | None = None
    saliency_adv: Tensor | None = None

    @property
    def broken(self) -> bool:
        """Whether the model is wrong at the point, so that the attack succeeded."""
        return self.adversarial_prediction != self.label

    @property
    def shelf(self) -> int:
        """Among which samples of its kind it has to find a place: the broken ones of its class, or all others."""
        return self.label if self.broken else _SURVIVORS


class Gallery:
    """Keeps the samples with the smallest ids of their kind, so that the order they come in is no matter.

    The kinds are the broken samples of every class, and those that an attack moved and did not break.

    Args:
        room: How many broken samples to keep in all; of the others there are a third as many.
        num_classes: Among how many classes.
    """

    def __init__(self, room: int, num_classes: int) -> None:
        self.room, self.survivors = room, -(-room // 3)
        self.share = -(-room // num_classes)
        self.kept: dict[int, list[Example]] = {}

    def offer(self, ledger: Ledger, where: slice, x: Tensor, x_adv: Tensor) -> None:
        """Looks at finished samples; `where` gives their places in the ledger, `x_adv` their worst points."""
        for row, place in enumerate(range(where.start, where.stop)):
            label, id = int(ledger["label"][place]), int(ledger["id"][place])
            if ledger["clean_prediction"][place] != label or ledger["worst_attack"][place] < 0:
                continue
            shelf = label if ledger["worst_prediction"][place] != label else _SURVIVORS
            kept, room = self.kept.setdefault(shelf, []), self._room(shelf)
            if not room or (len(kept) == room and id > kept[-1].id):
                continue
            attack = ledger.attacks[ledger["worst_attack"][place]]
            example = Example(
                id=id,
                label=label,
                attack=attack,
                x=x[row].cpu(),
                x_adv=x_adv[row].cpu(),
                clean_prediction=int(ledger["clean_prediction"][place]),
                clean_confidence=float(ledger["clean_confidence"][place]),
                adversarial_prediction=int(ledger["worst_prediction"][place]),
                adversarial_confidence=float(ledger["worst_confidence"][place]),
                distance=float(ledger[f"{attack}/distance"][place]),
            )
            self.put([example])

    def update(self, other: Gallery) -> None:
        """Looks at what another one kept of other samples."""
        for kept in other.kept.values():
            self.put(kept)

    def put(self, examples: Sequence[Example]) -> None:
        """Keeps those of the examples that have a place."""
        for example in examples:
            kept = [*self.kept.get(example.shelf, []), example]
            self.kept[example.shelf] = sorted(kept, key=lambda e: e.id)[: self._room(example.shelf)]

    def add_saliency(self, problem: Problem) -> None:
        """Adds saliency maps to what is kept, where the examples are images and the model has gradients."""
        kept = [example for shelf in self.kept.values() for example in shelf]
        mapped = iter(with_saliency(problem, kept))
        self.kept = {label: [next(mapped) for _ in shelf] for label, shelf in self.kept.items()}

    def examples(self) -> tuple[Example, ...]:
        """Returns what is kept: one broken sample of each class before the second of any, then those not broken."""
        ranked = [(rank, e.id, e) for kept in self.kept.values() for rank, e in enumerate(kept) if e.broken]
        broken = [e for *_, e in sorted(ranked, key=lambda item: item[:2])[: self.room]]
        return (*broken, *self.kept.get(_SURVIVORS, []))

    def _room(self, shelf: int) -> int:
        return self.survivors if shelf == _SURVIVORS else self.share


def with_saliency(problem: Problem, examples: Sequence[Example]) -> tuple[Example, ...]:
    """Returns the examples with their saliency maps, where they are images and the model has gradients.

    The map is the largest absolute input gradient over the channels, of the score of the class answered (Simonyan et
    al. 2014, arXiv 1312.6034, section 3).
    """
    if not examples or examples[0].x.ndim != 3:
        return tuple(examples)
    try:
        before, after = (_saliency(problem, examples, attacked) for attacked in (False, True))
    except (InvalidEvaluation, RuntimeError):  # cut off from the input, or a graph for inference only
        return tuple(examples)
    return tuple(
        dataclasses.replace(example, saliency=clean, saliency_adv=adversarial)
        for example, clean, adversarial in zip(examples, before, after, strict=True)
    )


def _saliency(problem: Problem, examples: Sequence[Example], attacked: bool) -> Tensor:
    """Returns the maps (N, 1, H, W) at the clean or at the attacked inputs, on the CPU."""
    device = problem.classifier.device
    ids = torch.tensor([e.id for e in examples], device=device)
    answers = [e.adversarial_prediction if attacked else e.clean_prediction for e in examples]
    rows = Rows(
        x=torch.stack([e.x for e in examples]).to(device),
        ids=ids,
        restart=torch.zeros_like(ids),
        step=torch.zeros_like(ids),
        goal=torch.tensor(answers, device=device),
    )
    x = torch.stack([e.x_adv if attacked else e.x for e in examples]).to(device)
    with problem.classifier.frozen():
        return problem.gradient(rows, x, _score).grad.abs().amax(dim=1, keepdim=True).cpu()


def _score(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the score of class `y` and its gradient."""
    return z.gather(1, y.unsqueeze(1)).squeeze(1), one_hot(y, z)
