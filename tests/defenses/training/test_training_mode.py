"""What training borrows from a model and gives back."""

from __future__ import annotations

import pytest
import torch
from objective_rows import EVERY
from tiny_training import TINY, data, net

from robustkit.defenses import Standard, fit
from robustkit.defenses.training import Recipe
from robustkit.defenses.training.training_mode import memory_format, seed_dropout, training_mode
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
