"""Protocols: named lists of attacks with every setting fixed, so that a robust accuracy says how it was found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.attacks import APGD, FAB, FGSM, Noise, Patch, SigmaZero, SparseRS, Square, SquarePGD, create
from robustkit.attacks.base import Adversarial, Attack
from robustkit.attacks.names import STANDARD, attack_name
from robustkit.attacks.threat import Eps, parse_eps, read_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.registry import Registry
from robustkit.base.settings import choice, every, instance, integer, read, split
from robustkit.base.settings import seed as known_seed
from robustkit.base.version import __version__
from robustkit.maths.losses import lead
from robustkit.maths.norms import COUNTED, NORMS, SPARSE, Norm
from robustkit.model.classifier import Classifier, as_classifier

TARGETS = 9  # the published number, for ten classes


@dataclass(frozen=True)
class Protocol:
    """Attacks that run one after the other, each on what the ones before did not break.

    Attributes:
        name: "autoattack", "autoattack-plus", "autoattack-rand", "fast", or "custom" for a list of one's own.
        attacks: In the order they run; all of one threat.
        changes: How they differ from what was published, one sentence each; empty means to the letter.
        cascade: Whether a sample that is broken is spared the later attacks. The worst case stays what it is; the
            accuracy under a later attack then counts what the earlier ones broke too.
    """

    name: str
    attacks: tuple[Attack, ...]
    changes: tuple[str, ...] = ()
    cascade: bool = True

    @property
    def label(self) -> str:
        """The name, marked "(adapted)" where something was changed."""
        return f"{self.name} (adapted)" if self.changes else self.name

    def plus(self, attack: Attack) -> Protocol:
        """Returns the protocol with one more attack at the end, which a published one then says in its changes."""
        said = () if self.name == "custom" else (f"{attack_name(attack.label)} was added",)
        return dataclasses.replace(self, attacks=(*self.attacks, attack), changes=(*self.changes, *said))

    def __call__(
        self,
        model: Classifier | nn.Module | Callable[[Tensor], Any],
        x: Tensor,
        y: Tensor,
        *,
        ids: Tensor | None = None,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> Adversarial:
        """Returns what the attacks find between them: each goes after the rows that those before it did not break.

        A row that is wrong, or at the target, before any attack is broken at distance 0. What is found is what
        `robustkit.evaluate` finds on the same ids and seed.

        Args and errors are those of an attack; see `Attack.__call__`.
        """
        first, size = self.attacks[0], None if batch_size is None else integer(self.name, "batch_size", batch_size)
        classifier, seed = as_classifier(model), known_seed(self.name, seed)
        with classifier.frozen():
            x, goal, ids = first.read(classifier, x, y, None, ids)
            size = size or max(len(x), 1)
            with torch.no_grad():
                logits = torch.cat([classifier.logits(rows) for rows in torch.split(x, size)])
            clean = lead(logits.double(), goal)
            x_adv, margin, steps = x.clone(), -clean if first.targeted else clean.clone(), torch.zeros_like(goal)
            rival = torch.full_like(margin, -torch.inf)
            success = (logits.argmax(1) == goal) == first.targeted
            for attack in self.attacks:
                if not len(at := (~success).nonzero().flatten()):
                    break
                margins = () if attack.targeted else (clean[at], rival[at])
                done = attack.search(classifier, x[at], goal[at], ids[at], seed, size, attack.targeted, False, *margins)
                steps[at] += done.steps
                better = done.broken | (done.margin > rival[at])
                at, done = at[better], done.take(better.nonzero().flatten())
                x_adv[at], margin[at], rival[at], success[at] = done.x_adv, done.margin, done.margin, done.broken
        distance = first.threat(classifier).distance(x_adv, x)
        return Adversarial(x_adv=x_adv, success=success, margin=margin, distance=distance, steps=steps)

    def fingerprint(self, dtype: torch.dtype = torch.float32, versions: Mapping[str, Any] | None = None) -> str:
        """Returns 12 hexadecimal digits over attacks, all their settings, versions and precision.

        Two results can be compared where these agree; the seed and the data are no part of it.

        Args:
            dtype: In which the model computes.
            versions: Of "robustkit" and "torch", where they are not those of this process.
        """
        versions = versions or {"robustkit": __version__, "torch": torch.__version__}
        content = {
            "protocol": self.name,
            "cascade": self.cascade,
            "attacks": [{"attack": attack.name, **attack.settings()} for attack in self.attacks],
            "versions": {name: versions.get(name) for name in ("robustkit", "torch")},
            "precision": str(dtype),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def get_protocol(name: str, *, norm: Norm, eps: Eps, classes: int, strict: bool = False) -> Protocol:
    """Returns the protocol called `name`.

    "autoattack", "autoattack-plus" and "autoattack-rand" are those of Croce & Hein 2020, arXiv 2003.01690, section 6
    and the settings of their code; for L1 those of Croce & Hein 2021, arXiv 2103.01208. "fast" is our own: where it was
    compared it left as many samples unbroken as "autoattack", give or take what a seed moves (docs/log.md). Published
    ones know neither L0, for which "fast" is sigma-zero and Sparse-RS, nor patches, for which it is Patch with two
    losses.

    With fewer than ten classes there are fewer targets; with fewer than four the targeted DLR loss does not exist and
    with two no DLR loss at all: differences of two logits take their place. The protocol then says so in `changes`.

    Args:
        name: Which: ours, a plug-in's, or the address of a function of norm, eps and the number of classes,
            `package.module:function`, that returns the attacks and what differs from a publication.
        norm: "Linf", "L2" or "L1"; for "fast" and protocols of one's own "L0", "L0-pixels" or "patch", too.
        eps: Radius.
        classes: Number of classes of the model.
        strict: Refuse rather than adapt.

    Raises:
        ConfigurationError: If no protocol has that name, or it would have to be adapted and `strict` forbids it.
    """
    instance("protocol", "the name", name, str)
    choice(f"protocol {name}", "norm", norm, NORMS if name in STANDARD[:3] else (*NORMS, *COUNTED))
    parse_eps(eps := read_eps(eps))
    integer(f"protocol {name}", "classes", classes, 2)
    attacks, changes = _parts(name, KNOWN.find(name)(norm, eps, classes))
    if strict and changes:
        raise ConfigurationError(
            f"protocol {name}: expected a model of at least 10 classes, got {classes}: {'; '.join(changes)}; "
            "run it without strict and it is reported as adapted"
        )
    return Protocol(name, attacks, changes)


def _parts(name: str, parts: Any) -> Parts:
    """Returns what a protocol's function returned, if it is what it should be."""
    try:
        attacks, changes = map(tuple, parts)
    except (TypeError, ValueError):
        attacks, changes = (), ()
    if not attacks or not all(isinstance(attack, Attack) for attack in attacks):
        raise ConfigurationError(
            f"protocol '{name}': expected attacks, one or more, and a list of changes, got {parts!r}; return both"
        )
    return attacks, tuple(map(str, changes))


def custom(attacks: Sequence[Attack]) -> Protocol:
    """Returns a list of attacks as a protocol in which each runs on every sample that is right from the start."""
    return Protocol("custom", tuple(attacks), cascade=False)


def as_protocol(
    attacks: Sequence[Attack | str] | Attack | str | Protocol,
    classes: Callable[[], int] | None = None,
    norm: Norm | None = None,
    eps: Eps | None = None,
) -> Protocol:
    """Returns a protocol as it is, and one attack or a list of them as `custom` makes one of it.

    Args:
        attacks: A text stands for the protocol of that name, such as "fast" or "autoattack:norm=L2,eps=0.5", or for an
            attack as `robustkit.attacks.create` makes it.
        classes: Tells how many classes the model has, for protocols by name.
        norm: For what is given as text; Linf where neither says otherwise.
        eps: For what is given as text; 8/255 where neither says otherwise.

    Raises:
        ConfigurationError: If it is something else, or no attack at all.
    """
    given = {name: value for name, value in (("norm", norm), ("eps", eps)) if value is not None}
    several: list[Any] = list(attacks) if isinstance(attacks, list | tuple) else [attacks]
    if given and not any(isinstance(one, str) for one in several):
        raise ConfigurationError(
            f"attacks: expected {' and '.join(given)} only with attacks given by name, got attacks that have their own;"
            " drop them, or give names"
        )
    if isinstance(attacks, Protocol):
        return attacks
    if isinstance(attacks, str) and classes is not None and (name := attacks.partition(":")[0]) in KNOWN.names():
        own: dict[str, Any] = read(f"protocol {name}", split(attacks)[1], ("norm", "eps", "strict"))
        return get_protocol(name, **{"norm": "Linf", "eps": "8/255", **given, **own}, classes=classes())
    made = [create(attack, **given) if isinstance(attack, str) else attack for attack in several]
    if not made:
        raise ConfigurationError("attacks: expected at least one attack, got none; such as [robustkit.attacks.PGD()]")
    every("attacks", "attacks", made, Attack)
    return custom(made)


Parts = tuple[tuple[Attack, ...], tuple[str, ...]]


def _targets(norm: Norm, classes: int) -> tuple[int, tuple[str, ...]]:
    """Returns for how many targets APGD-T starts, and what is not as published."""
    published = 5 if norm == "L1" else TARGETS
    targets = min(published, classes - 1)
    changes = []
    if classes - 1 < TARGETS:
        changes.append(f"{classes - 1} targets, because the model has {classes} classes")
    if classes < 4:
        changes.append("the difference of two logits for the targeted DLR loss, which needs 4 classes")
    return targets, tuple(changes)


def _ratio(classes: int) -> tuple[str, tuple[str, ...]]:
    """Returns the untargeted loss beside cross entropy, and what is not as published."""
    return ("dlr", ()) if classes > 2 else ("margin", ("the margin for the DLR loss, which needs 3 classes",))


def _standard(norm: Norm, eps: Eps, classes: int) -> Parts:
    targets, changes = _targets(norm, classes)
    return (
        APGD(norm=norm, eps=eps, restarts=5 if norm == "L1" else 1),
        APGD(norm=norm, eps=eps, loss="dlr", targets=targets),
        FAB(norm=norm, eps=eps, targets=min(TARGETS, classes - 1)),
        Square(norm=norm, eps=eps),
    ), changes


def _plus(norm: Norm, eps: Eps, classes: int) -> Parts:
    (targets, changes), (loss, more) = _targets(norm, classes), _ratio(classes)
    return (
        APGD(norm=norm, eps=eps, restarts=5),
        APGD(norm=norm, eps=eps, loss=loss, restarts=5),
        FAB(norm=norm, eps=eps, restarts=5),
        Square(norm=norm, eps=eps),
        APGD(norm=norm, eps=eps, loss="dlr", targets=targets),
        FAB(norm=norm, eps=eps, targets=min(TARGETS, classes - 1)),
    ), changes + more


def _rand(norm: Norm, eps: Eps, classes: int) -> Parts:
    loss, changes = _ratio(classes)
    return (APGD(norm=norm, eps=eps, eot=20), APGD(norm=norm, eps=eps, loss=loss, eot=20)), changes


def _fast(norm: Norm, eps: Eps, classes: int) -> Parts:
    # Two short attacks come near all that long ones break, so what costs more follows on samples in reach alone, the
    # less of their lead is left the more of it (docs/log.md). Square-PGD finds what hides from gradients near the clean
    # input. The last three are alarms for masked gradients: they should find nothing nor come much nearer, and Square
    # goes on only where it is ahead of them or has nearly arrived.
    common: dict[str, Any] = {"norm": norm, "eps": eps}
    if norm == "patch":
        return (Patch(**common), Patch(**common, loss=_ratio(classes)[0])), ()
    if norm in SPARSE:
        return (SigmaZero(**common, steps=300), SparseRS(**common, queries=1000)), ()
    few, all_ = min(3, classes - 1), min(TARGETS, classes - 1)
    # In L2 and L1 it alone finds points whose surroundings give no sign of them (TRADES in L2: 5 of 24 samples).
    fab = FAB(**common, targets=few)
    if norm == "Linf":
        fab = dataclasses.replace(fab, steps=30, close=0.35)
    return (
        APGD(**common, steps=20, loss="margin"),
        APGD(**common, steps=20),
        APGD(**common, steps=20, loss="dlr", targets=few, close=0.6),
        APGD(**common, steps=20, loss="dlr", targets=all_, close=0.35),
        fab,
        APGD(**common, steps=40, restarts=4, close=0.2),
        SquarePGD(**common, restarts=2),
        SquarePGD(**common, restarts=9, close=0.35),
        SquarePGD(**common, queries=400, restarts=4, close=0.15),
        Square(**common, trial=300),
        FGSM(**common),
        Noise(**common),
    ), ()


PROTOCOLS: dict[str, Callable[[Norm, Eps, int], Parts]]
PROTOCOLS = dict(zip(STANDARD, (_standard, _plus, _rand, _fast), strict=True))
KNOWN: Registry[Callable[[Norm, Eps, int], Parts]] = Registry(
    "protocol", "robustkit.protocols", PROTOCOLS, expected="a function of norm, eps and classes", fits=callable
)
