"""A few broken samples with the points that broke them, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustkit.ledger import Ledger


@dataclass(frozen=True)
class Example:
    """One sample with the point that an attack found for it, on the CPU."""

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


class Gallery:
    """Keeps the broken samples with the smallest ids of every class, so that the order they come in is no matter.

    Args:
        room: How many to keep in all.
        num_classes: Among how many classes.
    """

    def __init__(self, room: int, num_classes: int) -> None:
        self.room = room
        self.share = -(-room // num_classes)
        self.kept: dict[int, list[Example]] = {}

    def offer(self, ledger: Ledger, where: slice, x: Tensor, x_adv: Tensor) -> None:
        """Looks at finished samples; `where` gives their places in the ledger, `x_adv` their worst points."""
        for row, place in enumerate(range(where.start, where.stop)):
            label, id = int(ledger["label"][place]), int(ledger["id"][place])
            shelf = self.kept.setdefault(label, [])
            broken = ledger["clean_prediction"][place] == label != ledger["worst_prediction"][place]
            if not broken or not self.share or (len(shelf) == self.share and id > shelf[-1].id):
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
            self.kept[label] = sorted([*shelf, example], key=lambda e: e.id)[: self.share]

    def examples(self) -> tuple[Example, ...]:
        """Returns what is kept, one sample of each class before the second of any."""
        ranked = [(rank, e.id, e) for shelf in self.kept.values() for rank, e in enumerate(shelf)]
        return tuple(e for *_, e in sorted(ranked, key=lambda item: item[:2])[: self.room])
