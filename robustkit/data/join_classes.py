"""Which output of a model each class of the data is: by name where both sides have names, never by the alphabet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robustkit.base.errors import ConfigurationError
from robustkit.data.class_matching import READINGS, Classes, by_names, mapped, read_as, without_names
from robustkit.data.class_names import NameTable, numbers, shown

ClassMap = Mapping[str, str | int] | str


@dataclass(frozen=True)
class Join:
    """How classes of the data become outputs of the model.

    Attributes:
        outputs: For every class of the data its output; None for one whose samples are left out.
        names: For every output its name.
        note: What a report has to say about it, None if nothing.
    """

    outputs: tuple[int | None, ...]
    names: tuple[str, ...]
    note: str | None


def join(data: Classes, count: int, names: Sequence[str] | None, class_map: ClassMap | None = None) -> Join:
    """Returns which output each class of the data is.

    In this order: what `class_map` says; names that both sides have; names that are output numbers; ImageNet's wnids;
    and, where a model does not say what its outputs are called, as many classes as outputs.

    Args:
        data: The classes of the data.
        count: How many outputs the model has.
        names: What they are called, in order, if that is known.
        class_map: Names of the data with names or numbers of outputs, or one of `READINGS`.

    Raises:
        ConfigurationError: If a class has no output, or could be more than one; the message says what could be meant.
    """
    model = real_names(names)
    if model and len(model) != count:
        raise ConfigurationError(
            f"classes: expected one class name for each of {count} outputs, got {len(model)}"
            f" ({shown(model)}); correct --class-names"
        )
    refuse_repeated(data.names, "in the data")
    if not data.wanted:
        raise ConfigurationError(f"--select: expected classes with samples, got {data.named(data.selected or ())}")
    if isinstance(class_map, Mapping):
        found, how = mapped(data, count, model, class_map), "by the class map"
    elif class_map is not None:
        found, how = read_as(data, count, class_map), f"as {class_map}: {READINGS[class_map]}"
    elif model:
        found, how = by_names(data, count, model)
    else:
        found, how = without_names(data, count)
    kept = {index: found[index] for index in data.wanted}
    identity = all(index == output for index, output in kept.items()) and len(data.names) == count
    silent = class_map is None and identity and (data.names == model or not data.by_name)
    pairs = [_pair(data.names[index], output, model) for index, output in kept.items()]
    return Join(
        outputs=tuple(kept.get(i, None if i in data.present else i) for i in range(len(data.names))),
        names=model or _names_of_outputs(data, found, count),
        note=None if silent else f"classes joined to the outputs {how}: {shown(pairs)}",
    )


def real_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Returns names of outputs, None where they only number these, as "0" or Hugging Face's "LABEL_0" do."""
    plain = all(name in (str(i), f"LABEL_{i}") for i, name in enumerate(names or ()))
    return None if plain else tuple(names or ())


def same_order(names: Sequence[str] | None, others: Sequence[str] | None) -> bool:
    """Returns whether outputs that are called the same have the same numbers, as far as their names are known."""
    table = NameTable(others or ())
    return all(place in (table.find(name) or [place]) for place, name in enumerate(names or ()))


def select(names: Sequence[str], chosen: Sequence[str]) -> tuple[int, ...]:
    """Returns the indices of the classes that are chosen by name or, where names are no numbers, by index.

    Raises:
        ConfigurationError: If there is no such class, or one is chosen twice.
    """
    table, found = NameTable(names), list[int]()
    for name in chosen:
        indices = table.find(name)
        if not indices and numbers(names) is None and numbers([name]) and int(name) < len(names):
            indices = [int(name)]
        if len(indices) != 1:
            got = f"'{name}', which is {len(indices)} of them" if indices else f"'{name}'{table.hint(name)}"
            raise ConfigurationError(f"--select: expected classes of the data, got {got}; they have {shown(names)}")
        found += indices
    refuse_repeated([names[index] for index in found], "in --select")
    return tuple(found)


def refuse_repeated(names: Sequence[str], where: str) -> None:
    """Raises ConfigurationError if a name, or a number as "1" and "01", stands for two classes."""
    known = numbers(names)
    counts = Counter[str | int](names if known is None else known)
    twice = [str(name) for name, times in counts.items() if times > 1]
    if twice:
        raise ConfigurationError(f"classes: expected each class name once, got '{twice[0]}' twice {where}; rename one")


def _names_of_outputs(data: Classes, found: Mapping[int, int], count: int) -> tuple[str, ...]:
    """Returns names for outputs without any: those of the classes that they are, else their numbers."""
    named: dict[int, list[str]] = {}
    for index, output in found.items():
        named.setdefault(output, []).append(data.names[index])
    taken = {name for names in named.values() for name in names}
    free = (f"output {output}" if str(output) in taken else str(output) for output in range(count))
    return tuple(" / ".join(named.get(output, [other])) for output, other in enumerate(free))


def _pair(name: str, output: int, model: Sequence[str] | None) -> str:
    called = f" '{model[output]}'" if model and model[output] != name else ""
    return f"'{name}' = {output}{called}"
