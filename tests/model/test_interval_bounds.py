"""Interval bounds: exact where they can be, never passed by a point, refused where they would be wrong."""

from __future__ import annotations

import itertools

import pytest
import torch
from nets import generator, linear, smooth_cnn
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.model.interval_bounds import interval_bounds, worst_margins
from robustkit.model.small_models import create, initial_weights


def every_layer():
    """Returns an image network with a layer of most kinds, BatchNorm with statistics and weights of either sign."""
    with initial_weights(0):
        net = nn.Sequential(
            *(nn.Conv2d(2, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6), nn.LeakyReLU(0.1)),
            nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Dropout(0.5), nn.AvgPool2d(2, padding=1), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Identity()),
            *(nn.Linear(24, 8), nn.BatchNorm1d(8), nn.Softplus(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)),
        )
    net.double()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, generator=generator(1))
            nn.init.normal_(layer.running_mean, generator=generator(2))
            nn.init.uniform_(layer.running_var, 0.3, 2.0, generator=generator(3))
    return net.train()


@pytest.mark.parametrize("make", [every_layer, smooth_cnn], ids=["every_layer", "smooth_cnn"])
def test_bounds_contain_ten_thousand_random_points(make):
    net, channels = make(), 2 if make is every_layer else 1
    x = torch.rand(1, channels, 6, 6, generator=generator(4), dtype=torch.float64)
    low, high = (x - 0.1).clamp(0, 1), (x + 0.1).clamp(0, 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    least, most = interval_bounds(net, low, high)
    worst = worst_margins(net, low, high, torch.tensor([1]))
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    share = torch.rand(10_000, channels, 6, 6, generator=generator(5), dtype=torch.float64)
    share[5_000:] = share[5_000:].round()  # corners
    logits = net.eval()(low + share * (high - low))
    assert (logits >= least - 1e-12).all()
    assert (logits <= most + 1e-12).all()
    assert (logits - logits[:, 1:2] <= worst + 1e-12).all()
    loose = most - least[:, 1:2]
    assert (worst[:, [0, 2]] < loose[:, [0, 2]]).all()  # taking the last layer with the difference is tighter
    for net_of_a_point in interval_bounds(net, x, x):
        torch.testing.assert_close(net_of_a_point, net(x))


def test_bounds_of_a_linear_model_are_exact():
    weight, bias = (
        torch.randn(3, 4, generator=generator(1), dtype=torch.float64),
        torch.tensor([0.1, -0.2, 0.3]).double(),
    )
    low = torch.rand(1, 4, generator=generator(2), dtype=torch.float64)
    high = low + torch.tensor([0.1, 0.2, 0.0, 0.4])
    corners = torch.stack([torch.where(torch.tensor(sides), high[0], low[0])
                           for sides in itertools.product([False, True], repeat=4)])  # fmt: skip
    logits = corners @ weight.T + bias
    least, most = interval_bounds(linear(weight, bias), low, high)
    torch.testing.assert_close(least[0], logits.min(0).values)
    torch.testing.assert_close(most[0], logits.max(0).values)
    for label in range(3):
        worst = worst_margins(linear(weight, bias), low, high, torch.tensor([label]))
        torch.testing.assert_close(worst[0], (logits - logits[:, [label]]).max(0).values)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    layer = nn.Linear(4, 3)
    layer.register_forward_hook(lambda module, inputs, output: -output)
    return layer


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Softmax(dim=1), "Softmax at '1.0'"),
        (nn.GELU(), "GELU at '1.0'"),
        (Doubled(4, 3), "Doubled at '1.0'"),
        (hooked(), "Linear at '1.0'"),
        (nn.LeakyReLU(-0.5), "LeakyReLU at '1.0'"),
        (nn.BatchNorm1d(4, track_running_stats=False), "BatchNorm1d at '1.0'"),
        (create("preact_resnet18", (3, 8, 8), 4), "PreActBlock at '1.0.1'"),
    ],
)
def test_a_layer_that_cannot_be_bounded_is_refused_by_name(layer, name):
    net, x = nn.Sequential(nn.Flatten(), nn.Sequential(layer)), torch.rand(1, 4)
    with pytest.raises(ConfigurationError, match=f"ibp: expected a Sequential of .*, got {name}; use such a network"):
        worst_margins(net, x, x, torch.tensor([0]), "ibp")
