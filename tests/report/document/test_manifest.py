"""The manifest: the same text for the same content, refused where a letter was changed."""

from __future__ import annotations

import dataclasses

import pytest

from robustkit.base.errors import ConfigurationError
from robustkit.report.document.manifest import SCHEMA, Manifest, Part, file_endings, from_text, to_text, with_files


def test_files_of_several_audits_are_told_apart_by_a_word_or_a_number():
    assert file_endings(["anything"]) == [""]
    assert file_endings(["Standard training", "adversarial training"]) == ["-standard", "-adversarial"]
    assert file_endings(["cnn one", "cnn two"]) == ["-1", "-2"]
    assert file_endings(["../x", "猫"]) == ["-1", "-2"]


MANIFEST = Manifest(
    schema=SCHEMA,
    tool="robustkit 0.1.0",
    command="audit",
    seed=3,
    versions={"torch": "2.6", "cuda": None},
    audits=(Part("na\u00efve", "ledger.csv", None, {"model": "cnn"}, "a" * 64, None, "b" * 64, "c" * 64),),
    files={"report.json": "d" * 64},
)


def test_a_manifest_comes_back_from_its_text_and_gives_the_same_text():
    text = to_text(MANIFEST)
    assert from_text(text) == MANIFEST
    assert to_text(from_text(text)) == text


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"seed": 3', '"seed": 4'),
        lambda text: text.replace('"seed": 3', '"seed":  3'),
        lambda text: text.replace("d" * 64, "e" * 64),
        lambda text: text + "\n",
    ],
)
def test_a_changed_letter_is_refused(change):
    text = to_text(MANIFEST)
    assert change(text) != text
    with pytest.raises(ConfigurationError, match="agrees with its own hash, got one that was changed"):
        from_text(change(text))


@pytest.mark.parametrize(
    ("schema", "message"),
    [("robustkit.bundle/2.0", r"schema robustkit\.bundle/1\.x, got 'robustkit\.bundle/2\.0'"), ("x", "read it with")],
)
def test_a_manifest_of_another_schema_is_refused(schema, message):
    with pytest.raises(ConfigurationError, match=message):
        from_text(to_text(dataclasses.replace(MANIFEST, schema=schema)))


def test_a_later_minor_version_is_read():
    later = dataclasses.replace(MANIFEST, schema="robustkit.bundle/1.7")
    assert from_text(to_text(later)) == later


def test_a_field_that_is_missing_is_named():
    with pytest.raises(ConfigurationError, match="a fault at tool"):
        from_text('{"schema": "robustkit.bundle/1.0"}')


def test_files_are_sorted_by_name():
    assert [*with_files(MANIFEST, {"b": "1", "a": "2"}).files] == ["a", "b"]
