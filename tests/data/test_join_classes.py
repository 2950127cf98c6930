"""Which output of a model a class of the data is: joined by name, number, wnid or place, or refused."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.class_matching import Classes
from robustkit.data.class_names import sorted_names
from robustkit.data.dataset import Dataset, batches
from robustkit.data.join_classes import join, real_names, same_order, select
from robustkit.data.remapped_labels import joined, relabelled
from robustkit.data.sampling import shuffled

WORDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")


def folders(*names: str, empty: tuple[str, ...] = (), selected: tuple[str, ...] | None = None) -> Classes:
    ordered = tuple(sorted_names(names))
    present = frozenset(i for i, name in enumerate(ordered) if name not in empty)
    return Classes(ordered, present, None if selected is None else select(ordered, selected), by_name=True)


def outputs(data: Classes, *arguments: Any, **options: Any) -> dict[str, int | None]:
    return dict(zip(data.names, join(data, *arguments, **options).outputs, strict=True))


@settings(max_examples=30)
@given(st.permutations(WORDS), st.sets(st.sampled_from(WORDS), min_size=1))
def test_any_folders_find_their_outputs_in_any_order(model: list[str], some: set[str]) -> None:
    assert outputs(folders(*some), 10, model) == {name: model.index(name) for name in some}


@pytest.mark.parametrize(
    ("folder", "output"),
    [
        ("Polar_Bear", "polar bear"),
        ("polar-bear", "polarBear"),
        ("POLAR BEAR", "ice bear, polar bear, Ursus Maritimus"),
        ("Ursus maritimus", "ice bear, polar bear, Ursus Maritimus"),
        ("polar bear, ice bear", "ice bear, Ursus Maritimus"),
        ("n02134084", "n02134084"),
        ("n02134084", "n02134084 ice bear, polar bear"),
        ("n02134084-polar_bear", "polar bear"),
        ("T-shirt_top", "T-shirt/top"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_a_class_may_be_written_in_several_ways(folder: str, output: str) -> None:
    assert outputs(folders(folder), 3, ["zebra", "apple", output]) == {folder: 2}


def test_the_most_exact_spelling_wins() -> None:
    assert outputs(folders("maillot"), 2, ["maillot, tank suit", "maillot"]) == {"maillot": 1}
    assert outputs(folders("C", "c"), 3, ["c", "b", "C"]) == {"C": 2, "c": 0}


@pytest.mark.parametrize(
    ("names", "model", "message"),
    [
        (("plane", "ship"), ("airplane", "ship"), r"1 of 2 that join none: 'plane' \(nearest: 'airplane'\)"),
        (("crane",), ("crane", "gull", "crane"), r"got 0 'crane', 2 'crane', which are called the same"),
        (("cat", "Cat_"), ("cat", "dog"), r"got 'Cat_' and 'cat' for output 0; merge them"),
        (("tench", "Tinca tinca"), ("tench, Tinca tinca", "carp"), r"'Tinca tinca' and 'tench' for output 0"),
        (("1", "01"), None, r"each class name once, got '1' twice in the data"),
        (("a", "b"), ("a", "b", "c"), r"one class name for each of 2 outputs, got 3"),
        (("uno", "due"), ("one", "two"), r"2 of 2 that join none: .*--class-map position"),
    ],
)
def test_names_that_do_not_join_are_refused(names: tuple[str, ...], model: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        join(folders(*names), 3 if "crane" in names else 2, model)
    assert "\n" not in str(caught.value)


def test_numbers_as_names_are_output_numbers_and_sort_as_numbers() -> None:
    assert folders(*map(str, range(12))).names == tuple(map(str, range(12)))
    assert outputs(folders(*map(str, range(12))), 12, None) == {str(i): i for i in range(12)}
    assert outputs(folders("3", "5", "07"), 10, None) == {"3": 3, "5": 5, "07": 7}
    assert outputs(folders("3", "5"), 6, WORDS[:6]) == {"3": 3, "5": 5}
    assert outputs(folders("3", "5"), 6, [*"543210"]) == {"3": 2, "5": 0}
    assert outputs(folders("0", "1", "notes", empty=("notes",)), 2, None) == {"0": 0, "1": 1, "notes": 2}


def test_numbers_that_text_would_order_otherwise_are_said() -> None:
    assert "--class-map text-order" in str(join(folders(*map(str, range(11))), 11, None).note)
    assert "text-order" not in str(join(folders(*map(str, range(10))), 10, None).note)


def test_numbers_from_1_are_asked_about_with_both_readings() -> None:
    ten = folders(*map(str, range(1, 11)))
    with pytest.raises(ConfigurationError) as caught:
        join(ten, 10, None)
    assert "--class-map from-1 ('1' is output 0, '2' is output 1, '10' is output 9)" in str(caught.value)
    assert "--class-map text-order ('1' is output 0, '2' is output 2, '10' is output 1)" in str(caught.value)
    assert outputs(ten, 10, None, "from-1") == {str(i): i - 1 for i in range(1, 11)}
    assert outputs(ten, 10, None, "text-order")["10"] == 1
    assert join(ten, 10, None, "from-1").names == ten.names
    # Choosing some of them does not make the others' numbers go away.
    with pytest.raises(ConfigurationError, match="from-1"):
        join(folders(*map(str, range(1, 11)), selected=("1", "2")), 10, None)
    with pytest.raises(ConfigurationError, match=r"position \('3' is output 0, '5' is output 1, '7' is output 2\)"):
        join(folders("3", "5", "7"), 3, None)


def test_without_names_of_outputs_as_many_classes_are_taken_in_order_and_it_is_said() -> None:
    found = join(folders("dog", "cat"), 2, None)
    assert found.outputs == (0, 1)
    assert found.names == ("cat", "dog")
    assert "the model does not say what its outputs are called: 'cat' = 0, 'dog' = 1" in str(found.note)
    assert outputs(folders("a", "b", "c", empty=("b",)), 3, None) == {"a": 0, "b": 1, "c": 2}
    assert outputs(folders("a", "b", "c", empty=("b",)), 2, None) == {"a": 0, "b": 1, "c": 1}  # b has no samples
    assert outputs(folders("a", "b", "c", selected=("a", "c")), 2, None) == {"a": 0, "b": None, "c": 1}
    with pytest.raises(ConfigurationError, match=r"--select: expected the classes in the order of the data"):
        join(folders("a", "b", "c", selected=("c", "a")), 2, None)


@pytest.mark.parametrize("count", [2, 1000])
def test_other_numbers_of_classes_and_outputs_list_what_could_be_meant(count: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        join(folders(*WORDS), count, None)
    for part in (f"{count} outputs without names", "--class-names", "--class-map", "--select", "--weights"):
        assert part in str(caught.value)
    assert "num_classes" not in str(caught.value)


def test_placeholders_are_no_names() -> None:
    assert real_names(("LABEL_0", "LABEL_1")) is None
    assert real_names(("0", "1", "2")) is None
    assert real_names(("1", "0")) == ("1", "0")
    assert outputs(folders("cat", "dog"), 2, ("LABEL_0", "LABEL_1")) == {"cat": 0, "dog": 1}


def numbered(*names: str) -> Classes:
    """Classes of data whose labels were numbers from the start."""
    return Classes(names, frozenset(range(len(names))))


def test_labels_that_were_numbers_keep_their_meaning_where_names_say_nothing_else() -> None:
    assert join(numbered("plane", "car"), 2, None).note is None
    assert join(numbered("plane", "car"), 2, ("airplane", "car")).outputs == (0, 1)
    assert join(numbered("zwei", "eins"), 2, ("two", "one")).outputs == (0, 1)
    assert join(numbered("bee", "ant"), 2, ("ant", "bee")).outputs == (1, 0)
    with pytest.raises(ConfigurationError, match="'plane'"):
        join(numbered("plane", "car"), 2, ("car", "airplane"))
    with pytest.raises(ConfigurationError, match="3 outputs without names"):
        join(numbered("plane", "car"), 3, None)
    assert join(numbered("plane", "car"), 3, None, "position").outputs == (0, 1)


# ImageNet

IDS = [f"n{10_000_000 + 7 * i}" for i in range(1000)]


def test_all_wnids_are_in_their_order_whatever_folders_are_empty() -> None:
    found = outputs(folders(*reversed(IDS), empty=(IDS[3],)), 1000, None)
    assert [found[id] for id in (IDS[0], IDS[5], IDS[999])] == [0, 5, 999]


def test_some_wnids_need_a_table_or_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    some = folders(IDS[3], IDS[900])
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(ConfigurationError, match=r"got some of them; pip install timm.*--class-map FILE"):
        join(some, 1000, None)
    assert outputs(some, 1000, None, {IDS[3]: 3, IDS[900]: 900}) == {IDS[3]: 3, IDS[900]: 900}
    assert outputs(some, 2, None) == {IDS[3]: 0, IDS[900]: 1}  # a model of these two
    table: Any = ModuleType("timm.data")
    table.ImageNetInfo = lambda subset: SimpleNamespace(label_names=lambda: IDS)
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "timm.data", table)
    assert outputs(some, 1000, None) == {IDS[3]: 3, IDS[900]: 900}
    names = ["tench, Tinca tinca", "goldfish", *(f"thing {i}" for i in range(2, 999)), "toilet paper, toilet tissue"]
    assert outputs(some, 1000, names) == {IDS[3]: 3, IDS[900]: 900}
    with pytest.raises(ConfigurationError, match="join none"):
        join(some, 1000, sorted(names, reverse=True))
    with pytest.raises(ConfigurationError, match=r"ImageNet's 1000 classes, got 'n00000001'"):
        join(folders(IDS[3], "n00000001"), 1000, None)


# maps and selections


def test_a_class_map_gives_names_or_numbers_and_may_join_several_classes_to_one_output() -> None:
    data = folders("husky", "tabby", "wolf")
    found = join(data, 3, ("bird", "cat", "dog"), {"HUSKY": "Dog", "tabby": 1, "wolf": "2", "unused": "nothing"})
    assert found.outputs == (2, 1, 2)
    assert "'husky' = 2 'dog'" in str(found.note)
    assert join(data, 4, None, {"husky": 3, "tabby": 0, "wolf": 3}).names == ("tabby", "1", "2", "husky / wolf")


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        ({"cat": 0}, r"a line for every class of the data, got none \(nearest: 'cat'\) for 'cats'"),
        ({"cat": 0, "cats": 2}, r"an output 0..1 or its name for 'cats', got '2'"),
        ({"cat": 0, "cats": "moggy"}, r"for 'cats', got 'moggy'"),
        ({"cat": -1, "cats": 1}, r"for 'cat', got '-1'"),
        ("position ", r"expected a file, or a reading, got 'position '; did you mean 'position'"),
        ("from-1", r"classes named 1..2, got 'cat', 'cats'"),
    ],
)
def test_a_class_map_that_does_not_fit_is_refused(class_map: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        join(folders("cat", "cats"), 2, ("Katze", "Katzen"), class_map)


def test_classes_are_selected_by_name_or_index() -> None:
    assert select(("ant", "polar bear"), ["Polar_Bear"]) == (1,)
    assert select(("ant", "bee", "cat"), ["2", "ant"]) == (2, 0)
    assert select(("3", "5", "7"), ["5"]) == (1,)
    for chosen in (["bees"], ["3"], ["-1"], ["ant", "0"]):
        with pytest.raises(ConfigurationError, match="--select"):
            select(("ant", "bee", "cat"), chosen)
    with pytest.raises(ConfigurationError, match="classes of the data, got '1'"):
        select(("3", "5", "7"), ["1"])
    with pytest.raises(ConfigurationError, match=r"--select: expected classes with samples, got 'b'"):
        join(folders("a", "b", empty=("b",), selected=("b",)), 2, None)


def test_two_models_agree_unless_a_name_stands_elsewhere() -> None:
    assert same_order(("tench", "Goldfish"), ("tench, Tinca tinca", "goldfish"))
    assert same_order(("a", "b"), ("c", "d"))
    assert same_order(None, ("c", "d"))
    assert not same_order(("a", "b"), ("b", "a"))


# data

Y = [0, 1, 2, 1, 0, 2]


def as_arrays(x: torch.Tensor) -> Any:
    return x, torch.tensor(Y)


def as_named_arrays(x: torch.Tensor) -> Any:
    return x.numpy(), np.array(Y), np.array([f"s{i}" for i in range(6)])


def as_map_style(x: torch.Tensor) -> Any:
    return torch.utils.data.TensorDataset(x, torch.tensor(Y))


def as_list(x: torch.Tensor) -> Any:
    return list(zip(x, Y, strict=True))


def as_loader(x: torch.Tensor) -> Any:
    return torch.utils.data.DataLoader(as_map_style(x), batch_size=4)


def as_generator(x: torch.Tensor) -> Any:
    return iter(as_list(x))


@pytest.mark.parametrize("make", [as_arrays, as_named_arrays, as_map_style, as_list, as_loader, as_generator])
def test_samples_keep_their_ids_when_classes_are_joined_and_selected(make: Any) -> None:
    x = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    data = Dataset(name="d", source=make(x), class_names=("ant", "bee", "cat"))
    found = joined(data, 4, ("cat", "dog", "ant", "bee"), selected=("ant", "cat"))
    batch = next(batches(found, 10))
    assert batch.y.tolist() == [2, 0, 2, 0]
    assert batch.x.equal(x[[0, 2, 4, 5]])
    assert batch.names == ["s0", "s2", "s4", "s5"] if make is as_named_arrays else batch.ids.tolist() == [0, 2, 4, 5]
    assert found.class_names == ("cat", "dog", "ant", "bee")
    assert found.notes[-1] == "only the classes 'ant', 'cat' of 3 in the data"


def test_joined_data_can_be_shuffled_and_joined_again() -> None:
    x = torch.arange(6.0)[:, None]
    data = Dataset(name="d", source=as_map_style(x), class_names=("ant", "bee", "cat"), labelled_by_name=True)
    names = ("cat", "ant", "bee")
    once = joined(data, 3, names)
    again = joined(once, 3, names)
    assert again == once
    mixed = next(batches(shuffled(once, 1), 6))
    assert mixed.y.tolist() == [[1, 2, 0][Y[id]] for id in mixed.ids.tolist()]
    assert mixed.x.flatten().tolist() == mixed.ids.tolist()
    third = joined(joined(data, 3, None), 3, None)
    assert third.notes == joined(data, 3, None).notes


def test_data_in_the_models_order_are_left_as_they_are() -> None:
    data = Dataset(name="d", source=as_arrays(torch.rand(6, 2)), class_names=("ant", "bee", "cat"))
    assert relabelled(data, (0, 1, 2)) is data
    assert joined(data, 3, ("ant", "bee", "cat")) == data


def test_data_without_names_are_selected_and_mapped_by_number() -> None:
    data = Dataset(name="d", source=as_arrays(torch.rand(6, 2)))
    assert next(batches(joined(data, 3, None, selected=("2",)), 9)).ids.tolist() == [2, 5]
    mapped = joined(data, 2, None, class_map={"0": 1, "1": 0, "2": 0})
    assert next(batches(mapped, 9)).y.tolist() == [1, 0, 0, 0, 1, 0]


def test_a_label_without_a_name_is_refused() -> None:
    data = Dataset(name="d", source=as_arrays(torch.rand(6, 2)), class_names=("ant", "bee"))
    with pytest.raises(InvalidEvaluation, match=r"0..1 for 2 named classes, got 2"):
        joined(data, 3, None)


def test_labels_a_foreign_data_set_keeps_apart_are_not_trusted() -> None:
    class Shifted:
        labels = torch.tensor([1, 2])  # counted from 1, unlike what comes with the samples

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.zeros(2), int(self.labels[index]) - 1

    data = Dataset(name="d", source=Shifted(), class_names=("ant", "bee"))
    assert next(batches(joined(data, 2, ("bee", "ant")), 2)).y.tolist() == [1, 0]
