"""Transfer learning: the last layer."""

from __future__ import annotations

import pytest
import torch
import torchvision
from nets import digits
from tiny_training import net
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import batches
from robustkit.defenses import Standard, fit
from robustkit.defenses.training import head_of, replace_head
from robustkit.defenses.training.last_layer import train_only_head
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create


def test_a_linear_probe_trains_the_head_alone_and_keeps_batch_statistics(trained, start):
    after, _ = trained(Standard(), epochs=2, head_epochs=2, select="last")
    changed = {name for name in after if not after[name].equal(start[name])}
    assert changed == {"7.weight", "7.bias"} or changed == {f"{len(net()) - 1}.weight", f"{len(net()) - 1}.bias"}
    tuned, _ = trained(Standard(), epochs=3, head_epochs=2, select="last")
    assert not tuned["0.weight"].equal(start["0.weight"])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "vit_b_32", "densenet121"])
def test_the_head_of_torchvisions_networks_is_found_and_replaced(name):
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
    model = model.to_empty(device="cpu") if name in ("resnet18", "squeezenet1_1") else model
    before = dict(model.named_parameters())
    if next(model.parameters()).is_meta:
        head = head_of(model)
        assert model.get_submodule(head).out_features == 1000
        return
    head = replace_head(model, 7)
    logits = model.eval()(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, 7)
    assert all(p is before[n] for n, p in model.named_parameters() if not n.startswith(head))


def test_a_network_without_a_layer_to_replace_is_refused():
    with pytest.raises(ConfigurationError, match="expected a linear layer or a convolution"):
        head_of(nn.Flatten())
    with pytest.raises(ConfigurationError, match="2 or more classes, got 1"):
        replace_head(nn.Linear(3, 3), 1)


def test_transfer_keeps_what_was_learned():
    x, y = digits(200)
    old = create("mlp", (1, 8, 8), 3)
    samples = next(iter(batches(load_data("digits", split="train"), 600)))
    few = samples.y < 3
    fit(Classifier(old), samples.x[few], samples.y[few], Standard(), epochs=4)
    body = old[1].weight.clone()
    assert replace_head(old, 10) == "5"
    fit(Classifier(old), samples.x, samples.y, Standard(), epochs=10, head_epochs=10, lr=0.05)
    assert old[1].weight.equal(body)
    assert float((old(x).argmax(1) == y).double().mean()) > 0.7


def test_frozen_layers_keep_their_statistics_and_everything_else_is_in_training_mode():
    model = net().eval()
    learnable = [p for p in model.parameters() if p.requires_grad]
    norm, dropout, last = model[1], model[-2], model[-1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(dropout, nn.Dropout)
    train_only_head(model, str(len(model) - 1), learnable)
    assert [part.training for part in (model, norm, dropout, last)] == [True, False, True, True]
    assert {id(p) for p in model.parameters() if p.requires_grad} == set(map(id, last.parameters()))
    train_only_head(model, None, learnable)
    assert all(part.training for part in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    learnable.pop(0).requires_grad_(False)  # what the caller froze stays frozen
    train_only_head(model, None, learnable)
    assert not next(model.parameters()).requires_grad


class HeadFirst(nn.Module):
    """Declares its head before its body, and a projection that nothing uses after both."""

    def __init__(self, aside=False):
        super().__init__()
        self.head = nn.Linear(8, 5)
        self.body = nn.Linear(6, 8)
        self.unused = nn.Linear(8, 5)
        self.aside = aside

    def forward(self, x):
        features = self.body(x).relu()
        logits = self.head(features)
        return (logits, self.unused(features)[:, :3]) if self.aside else logits


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize("example", [None, torch.rand(3, 6)])
def test_the_head_is_the_layer_that_becomes_the_logits_wherever_it_was_declared(aside, example):
    model = HeadFirst(aside)
    classifier = Classifier(model, select=0) if aside else model
    assert head_of(classifier, example) == "head"
    assert replace_head(classifier, 7, example=example) == "head"
    logits = model(torch.rand(2, 6))
    assert (logits[0] if aside else logits).shape == (2, 7)
    assert not model.head._forward_hooks


def test_a_new_convolution_keeps_all_settings_of_the_old_one():
    settings = {"stride": 2, "padding": 2, "dilation": 2, "padding_mode": "circular", "bias": False}
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, **settings), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    old = model[1]
    assert replace_head(model, 7) == "1"
    fresh = model[1]
    for name in ("in_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode", "groups", "bias"):
        assert getattr(fresh, name) == getattr(old, name)
    assert fresh.out_channels == 7
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 7)


def test_a_head_that_does_not_decide_the_number_of_logits_is_refused_and_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5))
    old = model[1]
    with pytest.raises(ConfigurationError, match=r"expected 7 logits with a new layer '1', got 0"):
        replace_head(model, 7, example=torch.rand(2, 6))
    assert model[1] is old


def test_the_caller_may_name_the_head():
    model = HeadFirst()
    assert replace_head(model, 7, head="head") == "head"
    with pytest.raises(ConfigurationError, match="did you mean 'head'"):
        replace_head(model, 7, head="haed")
    with pytest.raises(ConfigurationError, match=r"expected 5 logits with a new layer 'unused', got 7"):
        replace_head(model, 5, head="unused", example=torch.rand(2, 6))


def test_a_network_that_no_example_passes_through_asks_for_one():
    class Odd(HeadFirst):
        def forward(self, x):
            return super().forward(x.reshape(-1, 6)[:2] if x.ndim == 5 else 1 / 0)

    with pytest.raises(ConfigurationError, match=r"no pass through Odd to find it with; name it .head=. or give an ex"):
        head_of(Odd())
    assert head_of(Odd(), torch.rand(1, 1, 2, 3, 2)) == "head"


def test_a_linear_probe_finds_a_head_that_was_declared_first():
    model = HeadFirst()
    body, head = model.body.weight.clone(), model.head.weight.clone()
    fit(Classifier(model), torch.rand(20, 6), torch.arange(20) % 5, Standard(), epochs=1, head_epochs=1)
    assert model.body.weight.equal(body)
    assert not model.head.weight.equal(head)
