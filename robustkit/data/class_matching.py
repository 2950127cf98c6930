"""The ways in which a class of the data can be an output of a model: its name, its number, its place, a map."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.data.class_names import NameTable, numbers, shown, wnid

READINGS = {
    "position": "class i of the data, in order, is output i",
    "from-1": "names are output numbers that begin at 1",
    "text-order": "names sorted as text are the outputs, as in torchvision's ImageFolder",
}
MAP = "--class-map FILE (class,output a line)"
_LANDMARKS = {0: "tench", 1: "goldfish", 999: "toilet tissue"}  # names in ImageNet's order have these


@dataclass(frozen=True)
class Classes:
    """The classes of some data.

    Attributes:
        names: One for each class index.
        present: Indices of the classes with samples.
        selected: Indices of the classes that are wanted, in the order they were named; all if None.
        by_name: Whether samples were labelled by name (folders, texts), so that indices follow the order of names only.
    """

    names: tuple[str, ...]
    present: frozenset[int]
    selected: tuple[int, ...] | None = None
    by_name: bool = False

    @property
    def wanted(self) -> list[int]:
        """The classes whose samples are used."""
        chosen = range(len(self.names)) if self.selected is None else sorted(self.selected)
        return [index for index in chosen if index in self.present]

    def numbered(self, count: int) -> bool:
        """Returns whether labels were numbers from the start, as many as there are outputs."""
        return not self.by_name and len(self.names) == count

    def named(self, indices: Iterable[int]) -> str:
        """Returns some of the names, quoted."""
        return shown([f"'{self.names[index]}'" for index in indices])


def by_names(data: Classes, count: int, model: tuple[str, ...]) -> tuple[dict[int, int], str]:
    """Returns the output of each class, given what the outputs are called, and how it was found."""
    table = NameTable(model)
    candidates = {index: table.find(name) for index, name in enumerate(data.names)}
    found = {index: outputs[0] for index, outputs in candidates.items() if len(outputs) == 1}
    lost = [index for index in data.wanted if not candidates[index]]
    doubtful = [index for index in data.wanted if len(candidates[index]) > 1]
    if doubtful:
        first = doubtful[0]
        raise ConfigurationError(
            f"classes: expected one output for '{data.names[first]}', got {_outputs(candidates[first], model)}, which"
            f" are called the same; say which with {MAP}"
        )
    if not lost:
        return _one_each(data, found), "by name"
    if data.numbered(count) and all(found.get(i, i) == i for i in range(count)):
        return {i: i for i in range(count)}, "by number; their names differ"
    present = [data.names[index] for index in sorted(data.present)]
    if not any(candidates[index] for index in data.wanted) and numbers(present) is not None:
        return _by_number(data, count)
    if all(map(wnid, present)) and all(output in table.find(name) for output, name in _LANDMARKS.items()):
        return _by_wnid(data), "by wnid, in ImageNet's order"
    got = shown([f"'{name}'{table.hint(name)}" for name in (data.names[index] for index in lost)])
    position = f", or --class-map position ({READINGS['position']})" if len(data.names) == count else ""
    raise ConfigurationError(
        f"classes: expected every class of the data among the model's {count} class names ({shown(model)}), got"
        f" {len(lost)} of {len(data.wanted)} that join none: {got}; give {MAP}{position}, leave them out with --select,"
        " or correct --class-names"
    )


def without_names(data: Classes, count: int) -> tuple[dict[int, int], str]:
    """Returns the output of each class where nobody says what the outputs are called, and how it was found."""
    if data.numbered(count):
        return {i: i for i in range(count)}, "by number"
    present = [data.names[index] for index in sorted(data.present)]
    if numbers(present) is not None:
        return _by_number(data, count)
    if all(map(wnid, present)) and count == 1000:
        return _by_wnid(data), "by wnid, in ImageNet's order"
    found = _by_position(data, count)
    if found is None:
        some = "" if data.selected is None else f" ({len(data.wanted)} of them selected)"
        raise ConfigurationError(
            f"classes: expected as many classes as outputs, or names on both sides, got {len(data.names)} classes{some}"
            f" ({shown(data.names)}) and {count} outputs without names; if the outputs are other classes, say what they"
            f" are called with --class-names or which is which with {MAP}; if only some classes are meant, --select"
            " them; if the last layer was never trained on these classes, give the model or --weights that was"
        )
    return found, "in order of their names, since the model does not say what its outputs are called"


def _by_number(data: Classes, count: int) -> tuple[dict[int, int], str]:
    """Names that are numbers are the outputs' own numbers, if all of them can be."""
    named = {index: int(data.names[index]) for index in sorted({*data.present, *data.wanted})}
    if all(output < count for output in named.values()):
        by_text = _by_position(data, count, as_text=True)
        other = "; torchvision's ImageFolder orders them as text: after such training, --class-map text-order"
        return named, "by number, from 0" + (other if data.by_name and by_text and by_text != named else "")
    least, most = min(named.values()), max(named.values())
    readings: dict[str, dict[int, int] | None] = {
        "from-1": {index: number - 1 for index, number in named.items()} if least and most <= count else None,
        "position": _by_position(data, count),
        "text-order": _by_position(data, count, as_text=True),
    }
    lines, told = list[str](), list[dict[int, int]]()
    for reading, found in readings.items():
        if found is not None and found not in told:
            told.append(found)
            examples = ", ".join(f"'{data.names[i]}' is output {found[i]}" for i in (*data.wanted[:2], data.wanted[-1]))
            lines.append(f"--class-map {reading} ({examples})")
    meant = " or ".join([*lines, f"give {MAP}"])
    raise ConfigurationError(
        f"classes: expected output numbers 0..{count - 1} as names of classes, got {least}..{most}; say what they"
        f" mean: {meant}"
    )


def _by_position(data: Classes, count: int, as_text: bool = False) -> dict[int, int] | None:
    """Returns places as outputs, among all classes, those with samples, or those selected: whichever are as many."""
    order = sorted(range(len(data.names)), key=data.names.__getitem__) if as_text else range(len(data.names))
    for group in ({*order}, {*(data.selected or ())}, data.present, {*data.wanted}):
        if len(group) == count:
            if group == {*(data.selected or ())} and list(data.selected or ()) != sorted(group) and count < len(order):
                raise ConfigurationError(
                    f"--select: expected the classes in the order of the data, got {data.named(data.selected or ())};"
                    f" whether that is the order of the outputs is not clear: sort them, or give {MAP}"
                )
            return {index: place for place, index in enumerate(index for index in order if index in group)}
    return None


def _by_wnid(data: Classes) -> dict[int, int]:
    ids = {index: wnid(name) or name for index, name in enumerate(data.names)}
    order = sorted(ids.values()) if len(ids) == 1000 else _imagenet()
    found = {index: order.index(id) for index, id in ids.items() if id in order}
    strangers = [index for index in data.wanted if index not in found]
    if strangers:
        raise ConfigurationError(
            f"classes: expected wnids of ImageNet's 1000 classes, got {data.named(strangers)}; leave them out with"
            f" --select, or give {MAP}"
        )
    return found


def _imagenet() -> list[str]:
    """Returns the wnids of ImageNet's 1000 classes in the order of the outputs, as timm has them."""
    try:
        return list(importlib.import_module("timm.data").ImageNetInfo("imagenet-1k").label_names())
    except (ImportError, AttributeError):
        raise ConfigurationError(
            "classes: expected all 1000 wnids of ImageNet, whose order is known, got some of them; pip install timm,"
            f" which knows the numbers of all, or give {MAP}"
        ) from None


def mapped(
    data: Classes, count: int, model: tuple[str, ...] | None, class_map: Mapping[str, str | int]
) -> dict[int, int]:
    """Returns the output of each class as a map of names says; several classes may be one output."""
    keys, table = list(class_map), NameTable(list(class_map))
    outputs, found = NameTable(model or ()), dict[int, int]()
    for index in data.wanted:
        name = data.names[index]
        entries = table.find(name)
        if len(entries) != 1:
            got = f"{len(entries)} of them" if entries else f"none{table.hint(name)}"
            raise ConfigurationError(
                f"--class-map: expected a line for every class of the data, got {got} for '{name}'; add it, or"
                " leave the class out with --select"
            )
        target = class_map[keys[entries[0]]]
        places = outputs.find(target) if isinstance(target, str) else [target]
        if not places and isinstance(target, str) and numbers([target]):
            places = [int(target)]
        if len(places) != 1 or not 0 <= places[0] < count:
            known = outputs.hint(str(target)) if model else ""
            raise ConfigurationError(
                f"--class-map: expected an output 0..{count - 1} or its name for '{name}', got"
                f" {f'{len(places)} outputs called ' if len(places) > 1 else ''}'{target}'{known}"
            )
        found[index] = places[0]
    return found


def read_as(data: Classes, count: int, reading: str) -> dict[int, int]:
    """Returns the output of each class by one of the `READINGS`."""
    if reading not in READINGS:
        raise ConfigurationError(
            f"--class-map: expected a file, or a reading, got '{reading}'{suggest(reading, READINGS)}"
        )
    if reading == "from-1":
        known = numbers([data.names[index] for index in data.wanted])
        if known is None or min(known) < 1 or max(known) > count:
            raise ConfigurationError(
                f"--class-map from-1: expected classes named 1..{count}, got {data.named(data.wanted)}; give {MAP}"
            )
        return dict(zip(data.wanted, (number - 1 for number in known), strict=True))
    found = _by_position(data, count, as_text=reading == "text-order")
    if found is None and reading == "position" and len(data.names) < count:
        found = {index: index for index in range(len(data.names))}
    if found is None:
        raise ConfigurationError(
            f"--class-map {reading}: expected {count} classes, as many as outputs, got {len(data.names)}; give {MAP}"
        )
    return found


def _one_each(data: Classes, found: dict[int, int]) -> dict[int, int]:
    """Returns `found` without empty classes that share an output; two classes with samples must not."""
    kept: dict[int, int] = {}
    for index in data.wanted:
        for other, output in kept.items():
            if output == found[index]:
                raise ConfigurationError(
                    f"classes: expected one class of the data for each output, got '{data.names[other]}' and"
                    f" '{data.names[index]}' for output {output}; merge them, or say so with {MAP}"
                )
        kept[index] = found[index]
    return kept


def _outputs(places: Sequence[int], model: Sequence[str]) -> str:
    return shown([f"{place} '{model[place]}'" for place in places])
