"""What a model returns: where the class scores are, and what they mean."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from robustkit.base.errors import ConfigurationError
from robustkit.model.output import detect_output, find_scores

SCORES, OTHER = torch.zeros(2, 3), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], "probabilities"),
        ([[0.2, 0.8], [1.0, 0.5]], "logits"),
        ([[-0.1, 1.1]], "logits"),
        ([[-0.6931, -0.6931]], "log_probabilities"),
        ([[-0.5, -0.5]], "logits"),
        ([[-2.0], [0.5]], "binary_logit"),
    ],
)
def test_the_kind_of_output_is_told_from_its_values(scores, kind):
    assert detect_output(torch.tensor(scores)) == kind


@pytest.mark.parametrize("scores", [[[0.2], [0.9]], [[0.0], [1.0]]])
def test_one_column_within_0_and_1_could_be_either(scores):
    with pytest.raises(ConfigurationError, match="a probability or a logit"):
        detect_output(torch.tensor(scores))


@pytest.mark.parametrize(
    ("output", "select"),
    [
        (SCORES, None),
        (SimpleNamespace(logits=SCORES, loss=OTHER), None),
        ({"loss": OTHER, "logits": SCORES}, None),
        ((SCORES, OTHER), None),
        ([SCORES], None),
        ({"z": SCORES, "logits": OTHER}, "z"),
        (OrderedDict(z=SCORES), "z"),
        (SimpleNamespace(z=SCORES, logits=OTHER), "z"),
        ((OTHER, SCORES), 1),
        ((OTHER, SCORES), lambda output: output[-1]),
    ],
)
def test_scores_are_found_where_they_are_said_to_be_or_where_they_usually_are(output, select):
    assert find_scores(output, select) is SCORES


@pytest.mark.parametrize(
    ("output", "select"),
    [(None, None), ({}, None), ([], None), ({"a": SCORES}, "b"), (SimpleNamespace(), "b"), ((SCORES,), 1), (None, 0)],
)
def test_where_there_is_nothing_nothing_is_found(output, select):
    assert find_scores(output, select) is None
