"""Randomised smoothing: exact radii, honest abstention, and certificates no attack refutes."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import digits, generator, images, linear, smooth_cnn
from scipy.stats import binom, norm
from torch import nn
from torch.nn.functional import cross_entropy

from robustkit.attacks import PGD
from robustkit.base.errors import ConfigurationError
from robustkit.data.dataset import batches
from robustkit.defenses.smoothing import ABSTAIN, Certificates, Smoothed, certified_accuracy, certified_radius
from robustkit.loading.data import load_data
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create


class Always(nn.Module):
    """Answers class 1, whatever it sees."""

    def forward(self, x):
        return torch.tensor([0.0, 5.0, 0.0]).expand(len(x), 3)


class Sign(nn.Module):
    """Answers class 1 where the first number is above a half: a half-space."""

    def forward(self, x):
        gap = x.flatten(1)[:, 0] - 0.5
        return torch.stack([-gap, gap], dim=1)


@functools.cache
def noisy_net(sigma: float) -> nn.Module:
    """A perceptron trained on digits under noise."""
    net = create("mlp", (1, 8, 8), 10)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for epoch in range(3):
        for number, batch in enumerate(batches(load_data("digits", split="train"), 64)):
            x = batch.x + sigma * torch.randn(batch.x.shape, generator=generator(1000 * epoch + number))
            optimizer.zero_grad()
            cross_entropy(net(x), batch.y).backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
def test_all_of_100000_votes_prove_3_811_sigma(sigma):
    assert certified_radius(100_000, 100_000, sigma) == pytest.approx(3.811 * sigma, rel=2e-4)
    assert certified_radius(100_000, 100_000, sigma) == pytest.approx(sigma * norm.ppf(0.001 ** (1 / 100_000)))


@given(st.integers(1, 500), st.data(), st.floats(1e-6, 0.4))
def test_the_bound_of_the_radius_is_exact(n, data, alpha):
    votes = data.draw(st.integers(0, n))
    radius = certified_radius(votes, n, 1.0, alpha)
    if radius > 0:  # were the class exactly as likely as the bound says, so many votes would come with chance alpha
        assert binom.sf(votes - 1, n, norm.cdf(radius)) == pytest.approx(alpha, rel=1e-6)
    else:
        assert votes == 0 or binom.sf(votes - 1, n, 0.5) >= alpha * (1 - 1e-6)


def test_a_constant_classifier_is_certified_to_the_largest_radius():
    found = Smoothed(Always(), 0.25).certify(images(2), n=2000, batch_size=1000)
    assert found.prediction.tolist() == [1, 1]
    assert found.votes.tolist() == [2000, 2000]
    assert found.radius.tolist() == pytest.approx([0.25 * norm.ppf(0.001 ** (1 / 2000))] * 2)


def test_radius_of_a_half_space_stays_just_below_the_distance_to_it():
    x = torch.full((3, 1, 2, 2), 0.5)
    x[:, 0, 0, 0] += torch.tensor([0.1, 0.2, -0.3])
    found = Smoothed(Sign(), 0.25).certify(x, n=20_000, batch_size=5000)
    distance = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert found.prediction.tolist() == [1, 1, 0]
    assert bool((found.radius < distance).all())
    assert bool((found.radius > distance - 0.02).all())


def test_a_sample_on_the_boundary_is_abstained_from():
    x = torch.full((1, 1, 2, 2), 0.5)
    smoothed = Smoothed(Sign(), 0.25)
    assert smoothed.predict(x).tolist() == [ABSTAIN]
    found = smoothed.certify(x, n=1000)
    assert (found.prediction.tolist(), found.radius.tolist()) == ([ABSTAIN], [0.0])


def test_prediction_is_the_majority_where_it_is_clear():
    net, x = smooth_cnn().eval(), images(12)
    found = Smoothed(net, 0.01).predict(x, n=100)
    sure = found != ABSTAIN
    assert int(sure.sum()) >= 8
    assert torch.equal(found[sure], net(x).argmax(1)[sure])


def test_nothing_depends_on_batch_size_or_company():
    smoothed, x = Smoothed(smooth_cnn(), 0.5), images(5)
    ids = torch.tensor([7, 3, 11, 0, 2**40])
    whole = smoothed.certify(x, ids=ids, n=300)
    order = torch.tensor([4, 0, 2])
    part = smoothed.certify(x[order], ids=ids[order], n=300, batch_size=37)
    assert torch.equal(part.votes, whole.votes[order])
    assert torch.equal(part.radius, whole.radius[order])
    assert not torch.equal(smoothed.certify(x, ids=ids + 1, n=300).votes, whole.votes)
    assert not torch.equal(Smoothed(smooth_cnn(), 0.5, seed=1).certify(x, ids=ids, n=300).votes, whole.votes)


def test_noise_comes_before_the_normalisation():
    model = linear(torch.tensor([[0.0] * 4, [1.0, 0, 0, 0]]), torch.tensor([0.0, 0.0]))
    x = torch.full((1, 1, 2, 2), 0.6)  # (0.6 - 0.5) / 0.1 = 1: the boundary is 0.1 away, whatever the std
    found = Smoothed(Classifier(model, mean=0.5, std=0.1), 0.25).certify(x, n=20_000, batch_size=5000)
    assert 0.08 < float(found.radius) < 0.1


def test_the_module_is_the_mean_probability_over_fixed_noise():
    net, x = smooth_cnn().eval(), images(6)
    smoothed = Smoothed(net, 0.3, draws=4)
    assert torch.equal(smoothed(x), smoothed(x))
    torch.testing.assert_close(smoothed(x)[2:3], smoothed(x[2:3]))
    torch.testing.assert_close(smoothed(x).exp().sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(Smoothed(net, 1e-9)(x).exp(), net(x).softmax(1))


@pytest.mark.slow
def test_certified_accuracy_is_never_above_the_empirical_one_at_the_same_radius():
    x, y = digits(30)
    smoothed = Smoothed(noisy_net(0.25), 0.25, draws=8)
    found = smoothed.certify(x, n=500, batch_size=500)
    radii = (0.2, 0.5)
    certified = certified_accuracy(found, y, radii)
    assert certified[0].value > 0.5
    for radius, share in zip(radii, certified, strict=True):
        x_adv = PGD(norm="L2", eps=radius, steps=6)(smoothed, x, y).x_adv
        votes = smoothed.predict(x_adv, ids=torch.arange(30) + 1000, n=500, alpha=0.999, batch_size=500)
        assert share.k <= int((votes == y).sum())
        proven = (found.prediction == y) & (found.radius >= radius)
        assert bool((votes[proven] == y[proven]).all())


def test_certified_accuracy_counts_the_right_the_sure_and_the_far():
    found = Certificates(torch.tensor([0, 1, ABSTAIN, 2]), torch.tensor([0.5, 0.9, 0.0, 0.3]), torch.tensor([9] * 4))
    shares = certified_accuracy(found, torch.tensor([0, 0, 1, 2]), [0.0, 0.3, 0.4, 0.6])
    assert [share.k for share in shares] == [2, 2, 1, 0]
    assert shares[0].n == 4


def test_the_model_is_left_as_it_was():
    net = smooth_cnn().train()
    state = torch.random.get_rng_state()
    Smoothed(net, 0.25).certify(images(2), n=50)
    assert net.training
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Smoothed(Always(), 0), "expected sigma in \\(0, inf\\), got 0"),
        (lambda: Smoothed(Always(), float("nan")), "expected sigma in \\(0, inf\\)"),
        (lambda: Smoothed(Always(), 0.1, draws=0), "expected draws to be an integer in 1\\.\\."),
        (lambda: Smoothed(Always(), 0.1).predict(images(1), n=0), "expected predict to be an integer in 1\\.\\."),
        (lambda: Smoothed(Always(), 0.1).certify(images(1), alpha=1), "expected alpha in \\(0, 1\\)"),
        (lambda: Smoothed(Always(), 0.1).certify(images(2), ids=torch.tensor([1]), n=10), "one id per sample"),
    ],
)
def test_what_cannot_be_meant_is_refused(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()
