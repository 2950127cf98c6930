"""What a model returns: where the class scores are, and what they mean."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from robustkit.base.errors import ConfigurationError
from robustkit.model.output import as_logits, as_probabilities, check_output, detect_output, find_scores

SCORES, OTHER = torch.zeros(2, 3), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], "probabilities"),
        ([[0.2, 0.8], [1.0, 1.5]], "logits"),
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


SIGMOIDS = [[0.9, 0.2, 0.8], [0.1, 0.0, 0.05], [1.0, 0.3, 0.2], [0.5, 0.5, 0.5]]


def test_values_within_0_and_1_that_do_not_add_up_to_one_are_asked_about():
    with pytest.raises(ConfigurationError, match="say output='sigmoid' or output='logits'"):
        detect_output(torch.tensor(SIGMOIDS))


CHECKED = {
    "logits": [[-1.0, 2.0, 0.5]] * 4,
    "probabilities": [[0.2, 0.3, 0.5]] * 4,
    "log_probabilities": torch.tensor([[0.2, 0.3, 0.5]] * 4).log().tolist(),
    "sigmoid": SIGMOIDS,
    "binary_logit": [[-1.0], [0.2], [3.0], [0.7]],
}
CONFUSED = [
    ("logits", "probabilities", "probabilities"),
    ("probabilities", "logits", "logits"),
    ("probabilities", "log_probabilities", "logits"),
    ("probabilities", "sigmoid", "sigmoid"),
    ("log_probabilities", "logits", "logits"),
    ("log_probabilities", "probabilities", "logits"),
    ("sigmoid", "logits", "logits"),
    ("sigmoid", "probabilities", "probabilities"),
]


@pytest.mark.parametrize("kind", CHECKED)
def test_an_output_that_is_what_it_is_said_to_be_passes(kind):
    check_output(torch.tensor(CHECKED[kind]), kind)
    check_output(torch.tensor(CHECKED[kind]).half(), kind)


@pytest.mark.parametrize(("said", "given", "likely"), CONFUSED)
def test_an_output_that_is_said_to_be_another_is_refused_with_the_likely_one(said, given, likely):
    with pytest.raises(ConfigurationError, match=f"output '{said}' expects .* say output='{likely}'"):
        check_output(torch.tensor(CHECKED[given]), said)


def test_a_single_column_of_probabilities_is_no_logit():
    with pytest.raises(ConfigurationError, match="say output='probabilities'"):
        check_output(torch.tensor([[0.2], [0.9], [0.4], [0.6]]), "binary_logit")


@pytest.mark.parametrize("kind", ["logits", "sigmoid"])
def test_few_rows_that_add_up_to_one_may_do_so_by_accident(kind):
    check_output(torch.tensor([[0.2, 0.3, 0.5]]), kind)


def test_the_logits_of_sigmoids_are_their_own():
    z = torch.tensor([[-3.0, 0.5, 2.0], [10.0, -10.0, 0.0]])
    assert torch.allclose(as_logits(z.sigmoid(), "sigmoid"), z, atol=1e-3)
    assert torch.allclose(as_probabilities(z, "sigmoid"), z.sigmoid())
    assert as_logits(torch.tensor([[0.0, 1.0]]), "sigmoid").isfinite().all()


FEATURES = torch.zeros(2, 64)


@pytest.mark.parametrize("output", [
    (FEATURES, SCORES),
    (SCORES, FEATURES),
    {"features": FEATURES, "scores": SCORES},
    (torch.tensor(0.3), SCORES),
    (torch.zeros(2, 5, 4), SCORES, FEATURES),
])  # fmt: skip
def test_of_several_tensors_the_one_as_wide_as_there_are_classes_is_taken(output):
    assert find_scores(output, None, classes=3) is SCORES


@pytest.mark.parametrize("output", [(FEATURES, SCORES), (SCORES, FEATURES)])
def test_which_of_several_tensors_is_meant_is_not_guessed(output):
    with pytest.raises(ConfigurationError, match=r"shape \(2, 64\).*select= \(--output-key\)"):
        find_scores(output, None)


def test_a_second_head_of_the_same_width_is_taken_for_an_auxiliary_one():
    assert find_scores((SCORES, OTHER, FEATURES), None, classes=3) is SCORES
    assert find_scores((torch.tensor(0.3), SCORES), None) is SCORES
