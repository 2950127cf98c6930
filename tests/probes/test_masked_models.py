"""One model in several disguises: each gets the true robust accuracy, or a check calls the result unreliable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import digits, digits_cnn, linear
from quick import quick
from twins import Twin, twins

import robustkit
from robustkit.attacks import APGD, FGSM, PGD, Noise, Square
from robustkit.attacks.protocols import get_protocol
from robustkit.data.dataset import batches
from robustkit.defenses import PGDTraining, fit
from robustkit.loading.data import load_data
from robustkit.model.bpda import BPDA
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create

EPS = 0.1
ATTACKS = [
    Noise(eps=EPS),
    FGSM(eps=EPS),
    PGD(eps=EPS, steps=20),
    APGD(eps=EPS, steps=20, loss="dlr", targets=9),
    Square(eps=EPS, queries=100),
]


@pytest.fixture(scope="module")
def truth() -> float:
    found = robustkit.evaluate(digits_cnn(), digits(100), ATTACKS)
    assert found.quality in ("reliable", "reliable with remarks")
    return found.robust_accuracy.value


TWINS = {
    "softmax head": Twin(after=lambda z: z.softmax(1)),
    "logits times 1e4": Twin(after=lambda z: 1e4 * z),
    "logits times 1e-4": Twin(after=lambda z: 1e-4 * z),
    "logits plus 1e6": Twin(after=lambda z: z + 1e6),
    "quantised input": Twin(before=lambda x: (x * 8).round() / 8),
    "random noise": Twin(before=lambda x: x + 0.1 * torch.randn_like(x)),
    "sign of the input": Twin(before=lambda x: (x > 0.5).to(x.dtype)),
    "detached": Twin(before=lambda x: x.detach()),
    "saturated softmax": Twin(after=lambda z: (1e3 * z).softmax(1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_gets_the_truth_or_a_warning(name, truth):
    try:
        found = robustkit.evaluate(TWINS[name], digits(100), ATTACKS)
    except robustkit.base.errors.InvalidEvaluation:
        return
    near = abs(found.robust_accuracy.value - truth) <= 0.02 + 1e-9
    assert near or found.quality in ("unreliable", "invalid"), f"{found} against {truth}, {found.quality}"


@pytest.mark.parametrize("name", quick("softmax head", slow=("logits times 1e4", "logits times 1e-4")))
def test_a_harmless_disguise_changes_nothing(name, truth):
    found = robustkit.evaluate(TWINS[name], digits(100), ATTACKS)
    assert abs(found.robust_accuracy.value - truth) <= 0.02 + 1e-9
    assert found.quality in ("reliable", "reliable with remarks")


@pytest.mark.slow
def test_what_is_declared_is_attacked_through():
    # A quantised input with its substitute, judged by the same attacks: no zero gradient is left.
    through = Twin(before=BPDA(lambda x: (x * 8).round() / 8))
    around = robustkit.evaluate(TWINS["quantised input"], digits(100), ATTACKS[:4])
    found = robustkit.evaluate(through, digits(100), ATTACKS[:4])
    assert found.robust_accuracy.value < around.robust_accuracy.value - 0.2
    assert found.quality in ("reliable", "reliable with remarks")


class TestRandomModels:
    def test_results_depend_on_neither_batch_nor_order_nor_the_global_generator(self):
        x, y = digits(40)
        noisy = Classifier(TWINS["random noise"], draws=4)
        attacks = [PGD(eps=EPS, steps=5, eot=3), Square(eps=EPS, queries=5, eot=2)]
        one = robustkit.evaluate(noisy, (x, y), attacks, batch_size=40)
        order = torch.arange(39, -1, -1)
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(123)
            two = robustkit.evaluate(noisy, (x[order], y[order], order), attacks, batch_size=7)
        for column in one.ledger.columns:
            np.testing.assert_allclose(one.ledger[column][::-1], two.ledger[column], rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_more_draws_find_more(self):
        x, y = digits(100)
        noisy = Classifier(TWINS["random noise"], draws=16)
        single, averaged = (
            robustkit.evaluate(noisy, (x, y), [PGD(eps=EPS, steps=20, loss="margin", eot=k)]) for k in (1, 10)
        )
        assert averaged.robust_accuracy.k <= single.robust_accuracy.k
        # The noise itself smooths the model: the same attack on the model without it finds more.
        assert averaged.draws == 16

    def test_the_decision_rule_is_the_mean_over_draws(self):
        x, y = digits(60)
        found = robustkit.evaluate(Classifier(TWINS["random noise"], draws=16), (x, y), [Noise(eps=EPS)])
        status = {item.id: item.status for item in found.diagnostics}
        assert status["Q05"] == "remark"
        assert robustkit.evaluate(TWINS["random noise"], (x, y), [Noise(eps=EPS)]).quality == "unreliable"

    def test_an_average_costs_what_it_says(self):
        x, y = digits(8)
        classifier = Classifier(digits_cnn(), num_classes=10, output="logits")
        PGD(eps=0.001, steps=5, eot=3)(classifier, x, y)
        assert (classifier.tally.forwards, classifier.tally.backwards) == (8 * 3 * 6, 8 * 3 * 5)


MASKED = twins()


def truth_about(name, attacks, n, seed=0):
    """Returns what the same attacks find on the network without its disguise.

    A saturated sigmoid, however, really swallows small changes near 0 and 1: its truth is what stronger attacks find.
    """
    if name != "saturated sigmoid":
        return robustkit.evaluate(digits_cnn(), digits(n), attacks, seed=seed).robust_accuracy.value
    far = [APGD(eps=EPS, steps=100, loss="dlr", targets=9), Square(eps=EPS, queries=3000)]
    return robustkit.evaluate(MASKED[name], digits(n), far, seed=seed).robust_accuracy.value


def convicted(name, attacks, truth, n, probes, seed=0):
    """Whether a masked network gets the truth within two points, or the evaluation says that it cannot be trusted."""
    try:
        found = robustkit.evaluate(MASKED[name], digits(n), attacks, probes=probes, seed=seed)
    except robustkit.base.errors.InvalidEvaluation:
        return True
    near = abs(found.robust_accuracy.value - truth) <= 0.02 + 1e-9
    return near or found.quality in ("unreliable", "invalid")


class TestProbes:
    """The hardest case for the probes: an audit by one gradient attack, which a masked gradient fools completely."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", MASKED)
    def test_a_masked_network_is_never_called_reliable(self, name):
        n = 12 if name == "purified" else 32
        alone = [PGD(eps=EPS, steps=10)]
        truth = truth_about(name, alone, n)
        assert convicted(name, alone, truth, n, probes=6 if name == "purified" else 24)

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [0, 1, 2])
    @pytest.mark.parametrize("name", MASKED)
    def test_nor_under_any_attacks_or_seed(self, name, seed):
        n = 32 if name == "purified" else 100
        several = [[PGD(eps=EPS, steps=40)], [APGD(eps=EPS, steps=30)]]
        if seed == 0:
            several.append(get_protocol("fast", norm="Linf", eps=EPS, classes=10))
        for attacks in several:
            truth = truth_about(name, attacks, n, seed)
            assert convicted(name, attacks, truth, n, probes=n, seed=seed), attacks


@pytest.fixture(scope="module")
def hardened():
    """The digits network after a few epochs of adversarial training."""
    classifier = Classifier(create("cnn", (1, 8, 8), 10))
    train = next(iter(batches(load_data("digits", split="train"), 2000)))
    fit(classifier, train.x, train.y, PGDTraining(attack=PGD(eps=0.15, steps=3)), epochs=3)
    classifier.module.eval()
    return classifier


class TestHonest:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(2, 6))
    @pytest.mark.parametrize("kind", ["standard", "adversarial", "linear"])
    def test_an_honest_model_is_always_reliable(self, kind, seed, hardened):
        x, y = digits(64)
        line = linear(torch.randn(10, 64, generator=torch.Generator().manual_seed(seed))).eval()
        model, eps = {"standard": (digits_cnn(), 0.1), "adversarial": (hardened, 0.15), "linear": (line, 0.01)}[kind]
        labels = line(x).argmax(1) if kind == "linear" else y
        attacks = [APGD(eps=eps, steps=20), APGD(eps=eps, steps=20, loss="dlr", targets=9)]
        found = robustkit.evaluate(model, (x, labels), attacks, probes=48, seed=seed)
        assert found.quality == "reliable", [i for i in found.diagnostics if i.status in ("fail", "remark")]


AT = {
    "mnist_trades": 0.3, "mnist_convex_eps01": 0.1, "mnist_cnn_a_adv": 0.3, "mnist_fmn_standard": 0.1,
    "mnist_autoattack_tf": 0.3, "cifar10_akamaster_resnet20": "1/255", "cifar10_resnet2b": "2/255",
    "cifar10_oval_sgd": "1/255",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", AT)
def test_foreign_networks_are_reliable_at_their_own_radius(name, pretrained, shared_data):
    file = "mnist/test.npz" if name.startswith("mnist") else "cifar10_lossless/test406.npz"
    data, model = load_data(shared_data / "data" / file), pretrained(name)
    attacks = [APGD(eps=AT[name], steps=30), APGD(eps=AT[name], steps=30, loss="dlr", targets=9)]
    for seed in range(3):
        found = robustkit.evaluate(model, data, attacks, limit=64, probes=64, seed=seed)
        assert found.quality == "reliable", [i for i in found.diagnostics if i.status in ("fail", "remark")]
