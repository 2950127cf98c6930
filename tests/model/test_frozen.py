"""A borrowed module comes back exactly as it was."""

from __future__ import annotations

import copy
import shutil
import warnings

import pytest
import torch
from nets import images, smooth_cnn
from torch import nn

from robustkit.model.frozen import frozen


def mixed():
    """Returns a BatchNorm CNN with unequal modes, a frozen and a trained parameter, and one gradient set."""
    net = smooth_cnn(dtype=torch.float32)
    net.train()
    net[1].eval()
    net[3].eval()
    net[0].weight.requires_grad_(False)
    net[6].weight.grad = torch.randn_like(net[6].weight)
    return net


def trace(net):
    """Returns everything that must not change, tensors by object, version and value."""
    return {
        "modes": [part.training for part in net.modules()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "grad": [id(p.grad) for p in net.parameters()],
        "objects": [id(t) for t in (*net.parameters(), *net.buffers())],
        "keys": list(net.state_dict()),
        "flags": torch.backends.cudnn.enabled,
        "modes of torch": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def values(net):
    return copy.deepcopy([*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters() if p.grad is not None)])


def same(first, second):
    return all(a.equal(b) for a, b in zip(first, second, strict=True))


def disturb(net):
    """Uses the network, draws random numbers, and breaks its buffers as a forced-train BatchNorm would."""
    torch.rand(7)
    x = images(4, torch.float32).requires_grad_()
    torch.autograd.grad(net(x).sum(), x)
    net[1].running_mean.add_(1)
    net[1].num_batches_tracked.add_(5)


def disturb_and_fail(net):
    disturb(net)
    raise ValueError("wrong number of channels")


@pytest.mark.parametrize("outside", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_everything_is_as_it_was_afterwards(outside):
    net = mixed()
    with outside():
        before, tensors, state = trace(net), values(net), torch.get_rng_state()
        with frozen(net):
            disturb(net)
        assert trace(net) == before
        assert same(values(net), tensors)
        assert torch.get_rng_state().equal(state)


def test_everything_is_as_it_was_after_an_exception_too():
    net = mixed()
    before, tensors, state = trace(net), values(net), torch.get_rng_state()
    with pytest.raises(ValueError, match="channels"), frozen(net):
        disturb_and_fail(net)
    assert trace(net) == before
    assert same(values(net), tensors)
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("outside", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_inside_the_module_evaluates_with_constant_weights_and_live_gradients(outside):
    net = mixed()
    with outside(), frozen(net):
        assert not any(part.training for part in net.modules())
        assert not any(p.requires_grad for p in net.parameters())
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        x = images(4, torch.float32).requires_grad_()
        (grad,) = torch.autograd.grad(net(x).sum(), x)
        assert grad.abs().sum() > 0
        assert net(x[:1]).allclose(net(x)[:1], atol=1e-4)


def test_nested_contexts_unwind_one_by_one():
    net = mixed()
    before = trace(net)
    with frozen(net):
        inner = trace(net)
        with frozen(net):
            pass
        assert trace(net) == inner
    assert trace(net) == before


def test_a_backward_pass_that_was_waiting_still_works():
    net = mixed().eval()
    x = images(4, torch.float32).requires_grad_()
    loss = net(x).sum()
    with frozen(net):
        net(x)
    loss.backward()
    assert x.grad.abs().sum() > 0


def test_buffers_that_the_model_replaces_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", None)

        def forward(self, x):
            self.calls = self.calls + 1
            self.last = x
            return x

    net = Counting()
    first = net.calls
    with frozen(net):
        net(torch.ones(2))
    assert net.calls is first
    assert net.calls.item() == 0
    assert net.last is None


def test_a_module_that_overrides_train_is_restored_part_by_part():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def train(self, mode=True):
            super().train(mode)
            self.norm.training = False
            return self

    net = Stubborn().train()
    net.norm.training = True
    with frozen(net):
        assert [net.training, net.norm.training] == [False, False]
    assert [net.training, net.norm.training] == [True, True]


def test_cudnn_is_off_inside_for_recurrent_modules_only_and_on_again_after():
    flags = ("enabled", "benchmark", "deterministic", "allow_tf32")
    before = [getattr(torch.backends.cudnn, flag) for flag in flags]
    assert before[0]
    for net, enabled in ((nn.Sequential(nn.LSTM(3, 4)), False), (nn.Linear(3, 4), True)):
        with frozen(net):
            assert torch.backends.cudnn.enabled is enabled
        assert [getattr(torch.backends.cudnn, flag) for flag in flags] == before


def test_spectral_normalisation_does_not_iterate_inside():
    net = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)).train()
    before = copy.deepcopy(net.state_dict())
    with frozen(net):
        net(torch.rand(2, 3))
    assert all(net.state_dict()[key].equal(value) for key, value in before.items())


def test_a_scripted_module_evaluates_inside_and_trains_after():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net = torch.jit.script(nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2)))
    net.train()
    x = torch.rand(8, 3)
    mean = net.state_dict()["0.running_mean"].clone()
    with frozen(net):
        assert net(x).equal(net(x))
    assert not net(x).equal(net(x))
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    with frozen(net):
        pass
    assert not net.state_dict()["0.running_mean"].equal(mean)


def test_an_exported_module_gives_gradients_inside():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    torch.compiler.reset()  # old versions count the programs of a process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(net, (torch.rand(4, 3),)).module()
    before = trace(exported)
    with torch.no_grad(), frozen(exported):
        x = torch.rand(4, 3).requires_grad_()
        (grad,) = torch.autograd.grad(exported(x).sum(), x)
        assert grad.abs().sum() > 0
    assert trace(exported) == before


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_module_gives_the_gradients_of_the_plain_one_and_is_restored():
    net = mixed()
    compiled = torch.compile(net)
    before, tensors = trace(net), values(net)
    x = images(4, torch.float32).requires_grad_()
    grads = []
    for module in (net, compiled):
        with torch.no_grad(), frozen(module):
            grads.append(torch.autograd.grad(module(x).sum(), x)[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=1e-6)
    assert trace(net) == before
    assert same(values(net), tensors)
