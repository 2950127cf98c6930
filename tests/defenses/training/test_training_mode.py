"""What training borrows from a model and gives back."""

from __future__ import annotations

import pytest
import torch
from objective_rows import EVERY
from tiny_training import TINY, data, net
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Recipe
from robustkit.defenses.training.training_mode import memory_format, seed_dropout, training_mode, tried_format
from robustkit.model.classifier import Classifier


def test_the_model_comes_back_in_eval_mode_with_its_flags_and_without_gradients(start):
    model = net()
    model[0].weight.requires_grad_(False)
    before, state = model[0].weight.clone(), torch.get_rng_state()
    fit(Classifier(model), *data(), EVERY["mart"], epochs=1, head_epochs=1, **TINY)
    assert not any(part.training for part in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
    assert all(p.grad is None for p in model.parameters())
    assert model[0].weight.equal(before)
    assert torch.get_rng_state().equal(state)


def test_weights_lie_in_channels_last_order_while_they_train_and_afterwards_as_before(start):
    model, seen = net(), []
    layout = model[3].weight.stride()

    def look(batch):
        seen.append((model[3].weight.stride() != layout, batch.x.is_contiguous(memory_format=torch.channels_last)))
        return batch

    fit(Classifier(model), *data(), Standard(), epochs=1, augment=look, **TINY)
    assert all(turned and last for turned, last in seen)
    assert model[3].weight.stride() == layout
    fit(Classifier(model), *data(), Standard(), epochs=1, augment=look, channels_last=False, **TINY)
    assert not seen[-1][0]


@pytest.mark.parametrize(
    ("wanted", "shape", "channels_last"),
    [(None, (2, 3, 4, 4), True), (True, (2, 3, 4, 4), True), (False, (2, 3, 4, 4), False), (True, (2, 12), False)],
)
def test_images_alone_lie_in_channels_last_order_and_on_the_cpu_by_default(wanted, shape, channels_last):
    found = memory_format(Recipe(channels_last=wanted), torch.zeros(shape))
    assert found == (torch.channels_last if channels_last else None)


def test_inputs_elsewhere_than_on_the_cpu_stay_as_they_are_unless_asked():
    x = torch.zeros(2, 3, 4, 4, device="meta")
    assert memory_format(Recipe(), x) is None
    assert memory_format(Recipe(channels_last=True), x) == torch.channels_last


def test_an_error_inside_gives_everything_back_too():
    model = net()
    classifier, state, flags = Classifier(model), torch.get_rng_state(), [p.requires_grad for p in model.parameters()]

    def fails():
        with training_mode(classifier, torch.channels_last):
            seed_dropout(0, "here", classifier.device)
            model.requires_grad_(False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.is_contiguous() for p in model.parameters())
    assert torch.get_rng_state().equal(state)
    assert not model.training


def test_what_changed_while_weights_lay_in_another_order_is_kept():
    model = net()
    with training_mode(Classifier(model), torch.channels_last):
        model[0].weight.data += 1
        expected = model[0].weight.data.clone()
    assert model[0].weight.equal(expected)


def test_dropout_repeats_with_seed_and_name_and_with_nothing_else():
    def numbers(seed, name):
        with torch.random.fork_rng(devices=[]):
            seed_dropout(seed, name, torch.device("cpu"))
            return torch.rand(4).tolist()

    assert numbers(1, "a") == numbers(1, "a")
    assert numbers(1, "a") != numbers(2, "a")
    assert numbers(1, "a") != numbers(1, "b")


class Views(nn.Module):
    """Calls `view` behind a convolution, in training mode only if so asked."""

    def __init__(self, always=True):
        super().__init__()
        self.conv, self.last, self.always = nn.Conv2d(3, 3, 3), nn.Linear(48, 4), always

    def forward(self, x):
        x = self.conv(x)
        return self.last(x.view(len(x), -1) if self.always or self.training else x.flatten(1))


@pytest.mark.parametrize("always", [True, False])
def test_a_model_that_refuses_channels_last_trains_in_the_usual_order_with_a_note(always):
    x, y = data()
    x = x.expand(-1, 3, -1, -1)
    result = fit(Classifier(Views(always)), x, y, EVERY["pgd-at"], epochs=1, **TINY)
    (note,) = result.findings
    assert "refuses channels_last (RuntimeError: view size is not compatible" in note.evidence
    assert not note.fatal
    assert fit(Classifier(Views()), x, y, Standard(), epochs=1, channels_last=False, **TINY).findings == ()
    with pytest.raises(ConfigurationError, match=r"works with channels_last, got .*view size.*; leave channels_last"):
        fit(Classifier(Views()), x, y, Standard(), epochs=1, channels_last=True, **TINY)


def test_trying_a_memory_format_changes_nothing_and_is_not_blamed_for_what_fails_anyway():
    model, x = net(), data()[0][:2]
    classifier, before = Classifier(model), {name: value.clone() for name, value in model.state_dict().items()}
    assert tried_format(classifier, torch.channels_last, Recipe(), x) == (torch.channels_last, None)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert classifier.tally.forwards == 0
    broken = Classifier(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(7, 4)))
    assert tried_format(broken, torch.channels_last, Recipe(), x) == (torch.channels_last, None)
