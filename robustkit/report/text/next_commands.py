"""Command lines that follow on the one that made a report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

_FLAGS = (
    *("--archive", "--minimal", "--no-data-hash", "--no-evidence"),
    *("--quiet", "--resume", "--strict", "--trust-checkpoint"),
)
_ONCE = ("--out", "--resume", "--shard", "--archive")  # say where and how one run was kept
_ATTACKS = ("--attack", "--protocol", "--strict")
_SAMPLES = ("--limit", "--first", "--until", "--time-limit")
_OF_TRAINING = (
    "--bounds", "--class-map", "--class-names", "--classes", "--data", "--data-root", "--eps", "--image-size", "--mean",
    "--norm", "--output", "--output-key", "--select-classes", "--std", "--transform", "--trust-checkpoint", "--weights",
    "--weights-key",
)  # fmt: skip
_WITH_TRAINING_SPLIT = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")


def with_protocol(command: str | None, protocol: str) -> str | None:
    """Returns the audit again by another protocol, None where the command was no audit."""
    return _audit(command, _ATTACKS, "--protocol", protocol, "--out", f"robustkit-{protocol}")


def with_samples(command: str | None, count: int) -> str | None:
    """Returns the audit again on so many samples, None where the command was no audit."""
    return _audit(command, _SAMPLES, "--limit", str(count), "--out", f"robustkit-{count}-samples")


def training(command: str | None) -> str | None:
    """Returns the adversarial training of the audited model, None where it is not one command.

    Its data must have a part to train on, and one eps must hold for all values of an input.
    """
    typed = _typed(command)
    given = {words[0]: words[-1] for words in typed}
    if given.get("--data") not in _WITH_TRAINING_SPLIT or "--mask" in given or given.get("--eps", "").endswith(".npy"):
        return None
    kept = [word for words in typed if words[0] in _OF_TRAINING or not words[0].startswith("-") for word in words]
    return shlex.join(["robustkit", "train", *kept, "--objective", "pgd-at"])


def _audit(command: str | None, dropped: Sequence[str], *added: str) -> str | None:
    typed = _typed(command)
    kept = [word for words in typed if words[0] not in (*dropped, *_ONCE) for word in words]
    return shlex.join(["robustkit", "audit", *kept, *added]) if typed else None


def _typed(command: str | None) -> list[tuple[str, ...]]:
    """Returns the arguments of an audit, each option with its value; none where the command was another."""
    words = shlex.split(command or "")
    return [*_arguments(words[2:])] if words[:2] == ["robustkit", "audit"] else []


def _arguments(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if not option.startswith("-") or option in _FLAGS:
            yield (word,)
        else:
            yield option, value if equals else next(left, "")
