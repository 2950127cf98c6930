"""Where data meet a classifier, classes are joined first: every entry measures the same accuracy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nets import digits, digits_cnn
from torch import nn

import robustkit
from robustkit.attacks import FGSM, FMN
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.checks import checkup, join_classes
from robustkit.data import Dataset, batches
from robustkit.evaluation import minimal_distances, security_curve
from robustkit.model.classifier import Classifier
from robustkit.shift import evaluate_shift
from robustkit.testing import assert_robust

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
N = 24


def alphabetical() -> Dataset:
    """Digits in folders with their names: labels follow the alphabet."""
    x, y = (part[:N] for part in digits())
    names = tuple(sorted(WORDS))
    labels = torch.tensor([names.index(WORDS[label]) for label in y.tolist()])
    return Dataset(name="words", source=(x, labels), class_names=names, labelled_by_name=True)


def right() -> int:
    x, y = (part[:N] for part in digits())
    return int((digits_cnn()(x).argmax(1) == y).sum())


def named() -> Classifier:
    return Classifier(digits_cnn(), class_names=WORDS)


def test_every_entry_joins_the_classes() -> None:
    data, weak = alphabetical(), FGSM(eps=1e-6)
    found = robustkit.evaluate(named(), data, [weak])
    assert found.clean_accuracy.k == right() > N // 2
    assert found.dataset.class_names == WORDS
    assert any("joined to the outputs by name: 'eight' = 8" in note for note in found.dataset.notes)
    assert security_curve(named(), data, [weak], [1e-6]).accuracy[0].k == right()
    assert int((minimal_distances(named(), data, [FMN(eps="inf", steps=2)]).values > 0).sum()) == right()
    assert evaluate_shift(named(), data, ["fog"], [1]).clean.accuracy.k == right()
    audit = assert_robust(named(), data, "clean_accuracy>=0.1", attacks=[weak])
    assert audit.clean.k == right()


def test_the_doctor_joins_the_classes() -> None:
    half = Dataset(name="x", source=(digits()[0][:N], torch.zeros(N, dtype=torch.long)), class_names=("null", "one"))
    with pytest.raises(ConfigurationError, match="'null'"):
        checkup(named(), half)


def test_a_bare_model_is_asked_for_its_outputs_without_counting_the_pass() -> None:
    classifier = Classifier(digits_cnn())
    found = join_classes(classifier, alphabetical())
    assert found.class_names == tuple(sorted(WORDS))
    assert classifier.num_classes == 10
    assert classifier.tally.forwards == 0
    few = Dataset(name="x", source=digits(), class_names=("cat", "dog"), labelled_by_name=True)
    with pytest.raises(InvalidEvaluation, match=r"0\.\.1 for 2 named classes"):
        join_classes(Classifier(digits_cnn()), few)
    with pytest.raises(InvalidEvaluation, match="doctor: expected a model that takes inputs"):
        join_classes(Classifier(nn.Linear(3, 2)), alphabetical())


def test_data_that_can_be_read_once_lose_no_sample() -> None:
    x, y = (part[:N] for part in digits())
    source = iter([(x[:7], y[:7]), (x[7:], y[7:])])
    data = Dataset(name="stream", source=source, class_names=WORDS)
    assert len(next(batches(join_classes(Classifier(digits_cnn()), data), 100))) == N


def test_a_hugging_face_model_brings_its_names() -> None:
    net = nn.Sequential(digits_cnn())
    config: Any = SimpleNamespace(id2label={i: f"{word}, number {i}" for i, word in enumerate(WORDS)})
    net.config = config
    found = robustkit.evaluate(net, alphabetical(), [FGSM(eps=1e-6)])
    assert found.clean_accuracy.k == right()
    config.id2label = {str(i): f"LABEL_{i}" for i in range(10)}
    assert join_classes(Classifier(net), alphabetical()).class_names == tuple(sorted(WORDS))


def test_a_class_map_and_a_selection_can_be_given_in_python() -> None:
    data = join_classes(Classifier(digits_cnn()), alphabetical(), {w: i for i, w in enumerate(WORDS)}, ["Seven", "two"])
    found = robustkit.evaluate(Classifier(digits_cnn()), data, [FGSM(eps=1e-6)])
    x, y = (part[:N] for part in digits())
    kept = (y == 2) | (y == 7)
    assert found.ledger["label"].tolist() == y[kept].tolist()
    assert found.ledger["id"].tolist() == kept.nonzero().flatten().tolist()
    assert found.clean_accuracy.k == int((digits_cnn()(x).argmax(1) == y)[kept].sum())
