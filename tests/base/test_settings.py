"""The one parser of names with settings, and the one place that checks values."""

import pytest

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between, integer, read, scalar, split


@pytest.mark.parametrize(
    ("text", "name", "items"),
    [
        ("pgd", "pgd", ()),
        (" pgd : steps = 4 , loss=ce,", "pgd", ("steps = 4", "loss=ce")),
        ("foolbox:LinfPGD", "foolbox", ("LinfPGD",)),
        ("foolbox:LinfPGD,steps=3", "foolbox", ("LinfPGD", "steps=3")),
        ("mine:Mine", "mine:Mine", ()),
        ("my.own.module:Mine:steps=5,eps=8/255", "my.own.module:Mine", ("steps=5", "eps=8/255")),
        ("my-file:make", "my-file:make", ()),
        ("pgd:loss=my.module:loss", "pgd", ("loss=my.module:loss",)),
        ("pgd:4", "pgd", ("4",)),
        ("", "", ()),
    ],
)
def test_a_text_has_a_name_or_an_address_and_settings(text, name, items):
    assert split(text, ["foolbox"]) == (name, items)


def test_values_are_what_they_spell():
    assert read("mine", ("a=1", "b=1e-3", "c=True", "d=none", "e=8/255", "f="), None) == {
        "a": 1,
        "b": 1e-3,
        "c": True,
        "d": None,
        "e": "8/255",
        "f": "",
    }
    assert scalar("nan") != scalar("nan")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (("step=1",), "mine: expected settings name=value, got 'step=1'; did you mean 'steps'"),
        (("steps",), "mine: expected settings name=value, got 'steps'"),
        (("steps=1", "steps=2"), "mine: expected every setting once, got steps twice; drop one"),
    ],
)
def test_settings_that_are_none_are_refused(items, message):
    with pytest.raises(ConfigurationError, match=message):
        read("mine", items, ["steps", "eps"])


@pytest.mark.parametrize("value", [0, 4, True, 1.0, "1", None, float("nan")])
def test_only_an_integer_in_range_is_one(value):
    integer("mine", "steps", 3, 1, 3)
    with pytest.raises(ConfigurationError, match=r"mine: expected steps to be an integer in 1\.\.3, got"):
        integer("mine", "steps", value, 1, 3)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("(0, 1)", [0.5, 1e-9], [0, 1]),
        ("[0, 1)", [0, 0.0], [1, -1]),
        ("(0, 1]", [1, 1.0], [0, 2]),
        ("[0, inf]", [0, float("inf")], [-1e-9]),
        ("[0, inf)", [0, 1e300], [float("inf")]),
    ],
)
def test_an_interval_has_the_ends_it_is_written_with(interval, inside, outside):
    for value in inside:
        between("mine", "share", value, interval)
    for value in [*outside, float("nan"), True, "1", None]:
        with pytest.raises(ConfigurationError, match=r"mine: expected share in .*, got .*; correct it"):
            between("mine", "share", value, interval)
