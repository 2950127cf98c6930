"""The small models."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import batches
from robustkit.loading.data import load_data
from robustkit.model.small_models import SMALL_MODELS, create, is_small

SHAPES = {
    "mlp": [(5,), (1, 8, 8), (2, 3, 4, 5)],
    "cnn": [(1, 8, 8), (3, 9, 15), (3, 32, 32)],
    "lenet": [(1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 17, 40)],
    "strided": [(1, 8, 8), (1, 28, 28), (3, 33, 17)],
    "lstm": [(1, 1), (12, 3)],
    "preact_resnet18": [(1, 8, 8), (3, 32, 32)],
    "wideresnet:depth=10,width=1": [(1, 8, 8), (2, 17, 40)],
    "vit": [(1, 8, 8), (1, 28, 28), (3, 32, 32)],
    "vit:layers=1,width=8": [(3, 33, 33)],
}


def test_every_small_model_is_tested_here() -> None:
    assert {name.partition(":")[0] for name in SHAPES} == SMALL_MODELS.keys()
    assert all(is_small(name) for name in SHAPES)
    assert not any(is_small(name) for name in ("cnn:factory", "resnet18", "torchvision:vit"))


@pytest.mark.parametrize(("name", "shape"), [(n, s) for n, shapes in SHAPES.items() for s in shapes])
def test_a_model_maps_rows_to_logits_and_every_weight_learns(name: str, shape: tuple[int, ...]) -> None:
    model = create(name, shape, 7)
    logits = model(torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (4, 7)
    cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("name", "shape"), [(n, shapes[-1]) for n, shapes in SHAPES.items()])
def test_the_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone(
    name: str, shape: tuple[int, ...]
) -> None:
    before = torch.get_rng_state()
    first, other = create(name, shape, 3, seed=1).state_dict(), create(name, shape, 3, seed=2).state_dict()
    assert torch.get_rng_state().equal(before)
    with torch.random.fork_rng(devices=[]):
        torch.rand(99)
        again = create(name, shape, 3, seed=1).state_dict()
    assert all(first[k].equal(again[k]) for k in first)
    assert not all(first[k].equal(other[k]) for k in first)


def test_the_default_seed_is_0() -> None:
    assert create("mlp", (3,), 2)[1].weight.equal(create("mlp", (3,), 2, seed=0)[1].weight)


def test_lenet_has_the_weights_of_the_cifar_tutorial() -> None:
    shapes = [tuple(p.shape) for p in create("lenet", (3, 32, 32), 10).parameters() if p.ndim > 1]
    assert shapes == [(6, 3, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]


@pytest.mark.parametrize(
    ("name", "millions"),  # as published: 11.2 million, and 36.5 million in table 5 of arXiv:1605.07146
    [("preact_resnet18", 11.17), ("wideresnet", 36.48), ("wideresnet:depth=16,width=2", 0.69)],
)
def test_residual_networks_have_the_published_number_of_weights(name: str, millions: float) -> None:
    weights = sum(p.numel() for p in create(name, (3, 32, 32), 10).parameters())
    assert weights / 1e6 == pytest.approx(millions, abs=0.01)


def test_a_transformer_passes_a_gradient_to_its_input_from_the_start() -> None:
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    create("vit", (1, 8, 8), 3)(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()


def test_cnn_has_batch_normalisation_and_one_number_of_weights_for_all_sizes() -> None:
    small, large = create("cnn", (3, 8, 8), 10), create("cnn", (3, 64, 64), 10)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in small.modules()) == 3
    assert small.state_dict().keys() == large.state_dict().keys()
    large.load_state_dict(small.state_dict())


def test_lstm_reads_every_step_in_order() -> None:
    model = create("lstm", (6, 2), 3)
    x = torch.rand(1, 6, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    model(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
    assert not model(x).allclose(model(x.flip(1)))


@pytest.mark.slow
def test_cnn_learns_the_digits_in_seconds() -> None:
    model = create("cnn", (1, 8, 8), 10)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    train, test = load_data("digits", split="train"), load_data("digits", split="test")
    for _ in range(8):
        for batch in batches(train, 64):
            optimizer.zero_grad()
            cross_entropy(model(batch.x), batch.y).backward()
            optimizer.step()
    model.eval()
    right = sum(int((model(b.x).argmax(1) == b.y).sum()) for b in batches(test, 250))
    assert right > 0.97 * 500


@pytest.mark.parametrize(
    ("name", "shape", "classes", "message"),
    [
        ("cn", (1, 8, 8), 10, "did you mean 'cnn'"),
        ("resnet", (1, 8, 8), 10, "known: cnn, lenet, lstm, mlp|did you mean"),
        ("cnn:depth=3", (1, 8, 8), 10, "'cnn': expected settings name=value, got 'depth=3'; it has none"),
        ("wideresnet:dept=16", (1, 8, 8), 10, "did you mean 'depth'"),
        ("wideresnet:depth=16.0", (1, 8, 8), 10, "'wideresnet': expected depth to be an integer >= 1, got 16.0"),
        ("wideresnet:depth=17", (1, 8, 8), 10, "depth of 10, 16, 22, 28"),
        ("vit", (1, 8, 9), 10, "'vit': expected square images"),
        ("cnn", (1, 7, 8), 10, r"'cnn': expected images \(C, H, W\) of at least 8x8, got shape \(1, 7, 8\)"),
        ("cnn", (64,), 10, r"got shape \(64,\); use 'mlp'"),
        ("lenet", (1, 15, 28), 10, "at least 16x16"),
        ("lstm", (1, 8, 8), 10, r"'lstm': expected inputs \(T, F\)"),
        ("mlp", (), 10, r"shape of one sample, got \(\)"),
        ("mlp", (3, 0), 10, r"shape of one sample, got \(3, 0\)"),
        ("mlp", (3,), 1, "2 or more classes, got 1"),
    ],
)
def test_what_a_model_cannot_take_is_refused(name: str, shape: tuple[int, ...], classes: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create(name, shape, classes)
