"""The faster copy of a model: it computes the same, or is not used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, generator, images, smooth_cnn
from torch import nn

import robustkit
from robustkit.attacks import PGD
from robustkit.model.accelerate import faster
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create


def copied(model, x):
    classifier = Classifier(model)
    with classifier.frozen():
        return classifier, faster(classifier, x)


class Residual(nn.Module):
    """Two convolutions that share nothing, a skip, and a batch norm whose input is read twice."""

    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.two, self.again = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.one(x)
        x = torch.relu(self.norm(x)) + x
        return self.head(torch.relu(self.again(self.two(x))).mean((2, 3)))


@pytest.mark.parametrize("model", [smooth_cnn(), digits_cnn(), Residual().double()], ids=["smooth", "digits", "skip"])
def test_the_copy_agrees_in_logits_and_gradients_and_leaves_the_model_alone(model):
    x = images(8) if model is not digits_cnn() else digits(8)[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classifier, fast = copied(model, x.to(Classifier(model).dtype))
    assert fast is not classifier
    assert fast.tally is classifier.tally
    labels = torch.zeros(8, dtype=torch.int64)
    with classifier.frozen():
        mine, theirs = (c.gradient(x, labels, robustkit.maths.losses.margin) for c in (classifier, fast))
    torch.testing.assert_close(mine.logits, theirs.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    assert theirs.grad.is_contiguous()
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_only_batch_norms_that_alone_read_a_convolution_are_folded():
    _, fast = copied(Residual().double(), images(4))
    assert isinstance(fast.module.norm, nn.BatchNorm2d)  # its input is read by the skip as well
    assert isinstance(fast.module.again, nn.Identity)


def test_without_a_convolution_or_with_random_numbers_the_model_itself_is_used():
    x = torch.rand(4, 1, 8, 8, generator=generator())
    mlp = Classifier(create("mlp", (1, 8, 8), 10))
    noisy = Classifier(digits_cnn(), draws=3)
    function = Classifier(digits_cnn().forward)
    for classifier in (mlp, noisy, function):
        with classifier.frozen():
            assert faster(classifier, x) is classifier


class Moody(nn.Module):
    """A model that cannot be copied, traced or trusted, by turns."""

    def __init__(self, mood: str):
        super().__init__()
        self.net, self.mood, self.copied = smooth_cnn(), mood, False

    def __deepcopy__(self, memo):
        if self.mood == "uncopied":
            raise RuntimeError("no copies")
        twin = Moody(self.mood)
        twin.copied = True
        return twin

    def forward(self, x):
        z = self.net(x)
        if self.mood == "untraced" and z.sum() > 1e9:
            return z
        return z.flip(1) if self.mood == "untrue" and self.copied else z


def test_a_model_that_cannot_be_copied_or_whose_copy_differs_is_used_itself():
    for mood in ("uncopied", "untrue"):
        classifier, fast = copied(Moody(mood), images(4))
        assert fast is classifier
    classifier, fast = copied(Moody("untraced"), images(4))
    assert fast is not classifier  # channels last needs no tracing
    assert any(isinstance(part, nn.BatchNorm2d) for part in fast.module.modules())


def test_the_evaluation_is_the_same_with_and_without():
    x, y = digits(80)
    one, two = (
        robustkit.evaluate(digits_cnn(), (x, y), [PGD(eps=0.1, steps=10)], accelerate=switch)
        for switch in (True, False)
    )
    assert (one.accelerated, two.accelerated) == (True, False)
    assert (one.ledger.robust != two.ledger.robust).sum() <= 1
    difference = one.ledger["pgd/margin"] - two.ledger["pgd/margin"]
    assert np.nanmean(abs(difference)) < 0.05
