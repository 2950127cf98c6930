"""Is the model better than a guess, and if it is not, which usual mistake explains it?"""

from __future__ import annotations

import functools

import pytest
import torch
from nets import digits, digits_cnn, generator, linear
from torch import nn
from torch.utils.data import TensorDataset
from twins import Twin

import robustkit
from robustkit.attacks import FGSM
from robustkit.base.errors import InvalidEvaluation
from robustkit.checks.clean_accuracy import clean_accuracy, some_samples
from robustkit.data.dataset import batches
from robustkit.model.classifier import Classifier

N = 128


def judged(model, x, y, **settings):
    classifier = model if isinstance(model, Classifier) else Classifier(model.eval(), **settings)
    with classifier.frozen(), torch.no_grad():
        return clean_accuracy(classifier, classifier.accept(x), y)


@functools.cache
def colours(n: int = N):
    """Returns images (n, 3, 6, 6) of six classes, and a network that is right about all of them.

    Each class has other brightness above, on the left, and in its first channel than below, on the right, and in its
    last one.
    """
    y = torch.randint(6, (n,), generator=generator(5))
    patterns = torch.rand(6, 3, 6, 6, generator=generator(15))
    x = (0.1 + 0.3 * patterns[y] + 0.02 * torch.rand(n, 3, 6, 6, generator=generator(7))).clamp(0, 1)
    centred = (0.1 + 0.3 * patterns + 0.01).flatten(1)
    return x, y, linear(2 * centred, -centred.square().sum(1))  # the nearest pattern


MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
INPUTS = {
    "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225": lambda x: x * STD + MEAN,
    "--mean 0 --std 0.00392157": lambda x: x / 255,
    "reverse the channels": lambda x: x.flip(1),
    "transpose the data": lambda x: x.transpose(2, 3),
    "flip the data": lambda x: x.flip(2),
}


@pytest.mark.parametrize("cure", INPUTS)
def test_a_mistake_in_the_inputs_is_found_and_its_cure_named(cure):
    x, y, net = colours()
    assert judged(net, x, y).status == "pass"
    found = judged(Twin(before=INPUTS[cure], net=net), x, y)
    assert found.status == "fail"
    assert cure in found.message
    assert "--expected-clean-accuracy" in found.message


def test_light_and_dark_exchanged_are_named():
    x, y = digits(N)
    assert "invert the data (low + high - x)" in judged(digits_cnn(), 1 - x, y).message


@pytest.mark.parametrize(("change", "cure"), [
    (lambda y: y + 1, "subtract 1 from the labels"),
    (lambda y: y - 1, "add 1 to the labels"),
    (lambda y: (y + 3) % 10, "label 0 is output 7, 1 is output 8"),
    (lambda y: torch.tensor([0, 2, 1, 4, 3, 6, 5, 8, 7, 9])[y], "label 1 is output 2, 2 is output 1"),
])  # fmt: skip
def test_labels_that_are_shifted_or_in_another_order_are_named(change, cure):
    x, y = digits(N)
    moved = change(y)
    kept = (moved >= 0) & (moved < 10)
    found = judged(digits_cnn(), x[kept], moved[kept])
    assert found.status == "fail"
    assert cure in found.message


def test_an_order_fitted_to_chance_is_not_claimed():
    x, y = digits(N)
    found = judged(digits_cnn(), x, y[torch.randperm(N, generator=generator(3))])
    assert found.status == "fail"
    assert "not better than a guess" in found.message
    assert "in another order" not in found.message


@pytest.mark.parametrize(("after", "settings", "cure"), [
    (lambda z: -z, {}, "return -scores"),
    (lambda z: (z.flip(1), z), {}, "--output-key 1 (select=1)"),
    (lambda z: {"logits": z.flip(1), "out": z}, {}, "--output-key out (select='out')"),
    (lambda z: (z.argmax(1, keepdim=True) > torch.arange(9)) * 8.0 - 4, {}, "CORAL"),
])  # fmt: skip
def test_a_mistake_about_the_output_is_named(after, settings, cure):
    x, y = digits(N)
    kept = y < 9
    found = judged(Twin(after=after), x[kept], y[kept], **settings)
    assert found.status == "fail"
    assert cure in found.message


def test_the_constants_in_a_models_own_configuration_are_tried():
    x, y, net = colours()
    model = Twin(before=lambda x: x * 0.07 + 0.9, net=net)
    model.pretrained_cfg = {"mean": (0.9, 0.9, 0.9), "std": (0.07, 0.07, 0.07)}
    assert "of the model's own pretrained_cfg: give --mean 0.9,0.9,0.9" in judged(model, x, y).message


def test_features_that_were_not_standardised_are_named():
    x = torch.rand(N, 5, generator=generator(1)) * torch.tensor([0.01, 1, 0.2, 0.05, 0.5])
    scaled = (x - x.mean(0)) / x.std(0, correction=0)
    y = scaled.argmax(1)
    assert "one per feature" in judged(linear(torch.eye(5)), x, y, output="logits").message


def test_where_nothing_helps_the_weights_are_asked_for():
    x, y = digits(N)
    fresh = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    with torch.no_grad():
        fresh[3].bias[3] = 100
    assert "no trained weights were loaded: give --weights" in judged(fresh, x, y).message
    assert (
        "trained weights were loaded (--weights)" in judged(linear(torch.zeros(10, 64)), x, y, output="logits").message
    )


def guessing(right: int, wrong: int, classes: int = 10):
    """Returns a model with so many right and wrong answers among balanced classes."""
    y = torch.arange(right + wrong) % classes
    answers = torch.where(torch.arange(right + wrong) < right, y, (y + 1 + torch.arange(len(y)) % 7) % classes)
    return linear(torch.eye(classes), torch.full((classes,), -0.5)), nn.functional.one_hot(answers, classes).float(), y


@pytest.mark.parametrize(("right", "wrong", "status"), [
    (0, 5, "pass"),  # too few to condemn anybody
    (1, 9, "pass"),
    (0, 40, "fail"),
    (10, 90, "fail"),
    (45, 155, "pass"),  # bad, but better than a guess
    (26, 230, "fail"),
    (200, 56, "pass"),
])  # fmt: skip
def test_a_guess_is_told_from_a_weak_model_and_few_samples_condemn_nobody(right, wrong, status):
    assert judged(*guessing(right, wrong)).status == status


def test_always_answering_the_most_frequent_class_is_no_model():
    y = (torch.arange(200) % 10 == 0).long()
    x = nn.functional.one_hot(y, 2).float()
    constant = linear(torch.zeros(2, 2), torch.tensor([1.0, -1.0]))
    found = judged(constant, x, y)
    assert (found.value, found.status) == (0.9, "fail")
    assert "it answers class 0 to every sample" in found.message
    assert judged(linear(torch.eye(2)), x, y, output="logits").status == "pass"


def test_samples_of_one_class_are_compared_with_a_guess_among_all():
    x, y = digits(300)
    one = y == 3
    assert judged(digits_cnn(), x[one], y[one]).status == "pass"
    assert judged(digits_cnn(), x[one], y[one] + 2).status == "fail"


def test_an_unequal_choice_of_classes_is_not_held_against_a_model_that_follows_the_labels():
    y = (torch.arange(250) % 5 == 0).long()
    answers = torch.where(torch.arange(250) % 4 == 0, 1 - y, y)  # 75 %: fewer than 80 % zeros, but not by chance
    found = judged(linear(torch.eye(2)), nn.functional.one_hot(answers, 2).float(), y, output="logits")
    assert found.status == "remark"


def test_samples_come_from_all_over_data_that_can_be_indexed():
    x, y = torch.arange(1000.0).unsqueeze(1), torch.arange(1000) // 100
    for data in ((x, y), TensorDataset(x, y)):
        found = some_samples(data, next(batches(data, 50)))
        assert len(found) == 512
        assert found.y.unique().tolist() == list(range(10))
        assert found.x[:, 0].long().div(100, rounding_mode="floor").equal(found.y)
    stream = batches((x, y), 50)
    assert some_samples(stream, next(stream)).y.equal(y[:50])


def test_an_evaluation_of_a_guess_is_refused_before_any_attack_and_done_where_it_is_expected():
    x, y = digits(N)
    wrong, calls = (y + 3) % 10, []
    with pytest.raises(InvalidEvaluation, match=r"Q01 clean accuracy check: \d of 128 samples .* in another order"):
        robustkit.evaluate(digits_cnn(), (x, wrong), [FGSM(eps=0.1)], progress=calls.append)
    assert not calls
    found = robustkit.evaluate(digits_cnn(), (x, wrong), [FGSM(eps=0.1)], expected_clean_accuracy=0.01)
    assert found.quality != "invalid"
    assert next(item for item in found.diagnostics if item.id == "Q01").status == "pass"


def test_constants_that_cost_a_good_model_little_are_found_and_those_as_good_are_named():
    x, y = torch.zeros(400, 1, 6, 6), torch.arange(400) % 2
    x[:, 0, 0, 0] = torch.where(y == 1, 0.42, 0.1)
    x[::24, 0, 0, 0] = 0.35  # 17 samples of class 0, which a shift by 0.1 takes over the threshold
    net = Twin(after=lambda z: torch.stack([torch.zeros(len(z)), z - 0.4], 1), net=Corner())
    good = judged(net, x, y)
    assert good.status == "pass"
    assert "--mean" not in good.message
    worse = judged(net, x, y, mean=-0.1)
    assert worse.status == "fail"
    assert "omit mean and std" in worse.message
    equal = judged(net, x, y, mean=-0.01)
    assert equal.status == "pass"
    assert "as many (400) are correct without mean and std" in equal.message


def test_constants_may_have_the_shape_of_an_image():
    x = torch.rand(60, 3, 4, 4, generator=generator(3))
    y = (x[:, 0, 0, 1] > x[:, 0, 0, 0]).long()
    whole = Twin(net=nn.Identity(), after=lambda z: z[:, 0, 0, :2])  # no constants of a channel change its answers
    found = judged(whole, x, y, mean=torch.full((3, 4, 4), 0.1))
    assert found.status == "pass"
    assert "as many (60) are correct without mean and std" in found.message


class Corner(nn.Module):
    """Returns one pixel of each image."""

    def forward(self, x):
        return x[:, 0, 0, 0]
