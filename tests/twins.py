"""Networks in disguise: every one of them hides or spoils its gradient in another way."""

from __future__ import annotations

import copy
import functools

import torch
from nets import digits_cnn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustkit.data.dataset import batches
from robustkit.loading.data import load_data


class Twin(nn.Module):
    """A network, by default the digits one, behind a change of its input or its output."""

    def __init__(self, before=lambda x: x, after=lambda z: z, net: nn.Module | None = None):
        super().__init__()
        self.net, self.before, self.after = copy.deepcopy(net or digits_cnn()), before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.net(self.before(x)))


def swapped(net: nn.Module, make) -> nn.Module:
    """Returns a copy of `net` in which `make()` takes the place of every ReLU."""
    net = copy.deepcopy(net)
    for name, part in list(net.named_modules()):
        if isinstance(part, nn.ReLU):
            net.set_submodule(name, make())
    return net


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def winners(x: Tensor, share: float = 0.1) -> Tensor:
    """Returns `x` with all but the largest `share` of each row set to zero (Xiao et al. 2020, arXiv 1905.10510)."""
    flat = x.flatten(1)
    least = flat.topk(max(int(share * flat.shape[1]), 1), dim=1).values[:, -1:]
    return (flat * (flat >= least)).view_as(x).relu()


def thermometer(x: Tensor, levels: int = 10) -> Tensor:
    """Returns `x` through a thermometer code and back (Buckman et al. 2018)."""
    steps = (torch.arange(levels, dtype=x.dtype) + 0.5) / levels
    return (x.unsqueeze(-1) > steps).to(x.dtype).mean(-1)


def dct_rounded(x: Tensor, step: float = 0.25) -> Tensor:
    """Returns 8x8 images after rounding of their cosine coefficients, as JPEG does it."""
    n = torch.arange(8, dtype=x.dtype)
    basis = torch.cos(torch.pi / 8 * (n + 0.5) * n.unsqueeze(1)) * (0.25**0.5)
    basis[0] /= 2**0.5
    return basis.T @ ((basis @ x @ basis.T) / step).round().mul(step) @ basis


class Vote(nn.Module):
    """Three shifted copies of a network that vote by their first choice."""

    def __init__(self):
        super().__init__()
        self.net = copy.deepcopy(digits_cnn())

    def forward(self, x: Tensor) -> Tensor:
        views = [x, x.roll(1, -1), x.roll(1, -2)]
        votes = [nn.functional.one_hot(self.net(view).argmax(1), 10).to(x.dtype) for view in views]
        return 2 * votes[0] + votes[1] + votes[2] + 0 * x.flatten(1).sum(1, keepdim=True)


class Purifier(nn.Module):
    """A network that first moves its input to where it is surest."""

    def __init__(self):
        super().__init__()
        self.net = copy.deepcopy(digits_cnn())

    def forward(self, x: Tensor) -> Tensor:
        moved = x.detach()
        with torch.enable_grad():
            for _ in range(3):
                moved = moved.detach().requires_grad_()
                score = self.net(moved).log_softmax(1).amax(1).sum()
                moved = (moved + 0.02 * torch.autograd.grad(score, moved)[0].sign()).clamp(0, 1)
        return self.net(x + (moved - x).detach())


class Liar(torch.autograd.Function):
    """The identity with a gradient that leads nowhere."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        rough = torch.sin(1e4 * (grad + torch.arange(grad[0].numel(), dtype=grad.dtype).view_as(grad[0])))
        return rough * grad.abs().amax()


class Rough(torch.autograd.Function):
    """Eight levels, whose stand-in for the gradient has the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx, grad):
        return -grad


@functools.cache
def signs() -> nn.Module:
    """Returns a network whose hidden units only say yes or no, trained through a smooth stand-in."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        first, last = nn.Linear(64, 200), nn.Linear(200, 10)
    optimizer = torch.optim.Adam([*first.parameters(), *last.parameters()], 3e-3)
    for _ in range(6):
        for batch in batches(load_data("digits", split="train"), 64):
            optimizer.zero_grad()
            hidden = torch.tanh(3 * first(batch.x.flatten(1)))
            cross_entropy(last(hidden + (hidden.sign() - hidden).detach()), batch.y).backward()
            optimizer.step()
    return nn.Sequential(nn.Flatten(), first, Call(torch.sign), last).eval().requires_grad_(False)


def twins(net: nn.Module | None = None) -> dict[str, nn.Module]:
    """Returns the disguises of `net`, by default the digits network."""
    net = net or digits_cnn()

    def twin(before=lambda x: x, after=lambda z: z, of=net):
        return Twin(before, after, of)

    made = {
        "quantised input": twin(lambda x: (x * 8).round() / 8),
        "sign of the input": twin(lambda x: (x > 0.5).to(x.dtype)),
        "sign activation": signs(),
        "hard activation": twin(of=swapped(net, lambda: Call(lambda h: (h * 4).round() / 4 * (h > 0)))),
        "saturated softmax": twin(after=lambda z: (1e4 * z).softmax(1)),
        "saturated tanh": twin(lambda x: (torch.tanh(60 * (x - 0.25)) + torch.tanh(60 * (x - 0.75))) / 4 + 0.5),
        "saturated sigmoid": twin(lambda x: torch.sigmoid(40 * (x - 0.5))),
        "random noise": twin(lambda x: x + 0.1 * torch.randn_like(x)),
        "dropout left on": twin(lambda x: nn.functional.dropout(x, 0.2, training=True)),
        "thermometer": twin(thermometer),
        "fast sine": twin(lambda x: x + 0.02 * torch.sin(1000 * x)),
        "slow sine": twin(lambda x: x + 0.05 * torch.sin(200 * x)),
        "detached": twin(lambda x: x.detach()),
        "detached beside zeros": twin(lambda x: x.detach() + 0 * x),
        "cosine quantisation": twin(dct_rounded),
        "hard vote": Vote(),
        "purified": Purifier(),
        "logits plus 1e6": twin(after=lambda z: z + 1e6),
        "rounded logits": twin(after=lambda z: z.round()),
        "winners take all": twin(of=swapped(net, lambda: Call(winners))),
        "false gradient": twin(Liar.apply),
        "wrong sign": twin(Rough.apply),
        "ripples on the logits": twin(after=lambda z: z + 0.3 * z.std(1, keepdim=True) * torch.sin(300 * z)),
    }
    return {name: model.eval() for name, model in made.items()}
