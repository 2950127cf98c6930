"""What a GPU must do like a CPU; skipped where there is none."""

from __future__ import annotations

import pytest
import torch
from nets import digits, digits_cnn

import robustkit
from robustkit.attacks import APGD, FGSM, PGD, Noise
from robustkit.defenses import create as create_objective
from robustkit.defenses import fit
from robustkit.defenses.augment.apply import create_augmentation
from robustkit.defenses.base import Minibatch
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
GPU = f"cuda:{max(torch.cuda.device_count() - 1, 0)}"  # the last one, so that a hard-coded first one would show


def on_gpu(net):
    other = create("cnn", (1, 8, 8), 10)
    other.load_state_dict(net.state_dict())
    return other.eval().to(GPU)


def test_random_numbers_are_equal_on_cpu_and_gpu():
    ids, zero = torch.arange(50), torch.zeros(50, dtype=torch.int64)
    there = [part.to(GPU) for part in (ids, zero, zero)]
    stream = Stream(3, "pgd")
    assert stream.uniform((3, 5), *there).cpu().equal(stream.uniform((3, 5), ids, zero, zero))
    torch.testing.assert_close(stream.normal((7,), *there).cpu(), stream.normal((7,), ids, zero, zero))


@pytest.mark.parametrize(
    "spec", ["flip+crop+randaugment", "augmix+noise", "trivialaugment+cutout:size=3", "mixup+cutmix"]
)
def test_a_batch_is_augmented_as_on_the_cpu(spec):
    x, y = digits(40)
    here, there = (
        create_augmentation(spec, (0.0, 1.0), 10)(Minibatch(x.to(place), y.to(place), torch.arange(40).to(place)))
        for place in ("cpu", GPU)
    )
    assert there.x.device == there.y.device == torch.device(GPU)
    torch.testing.assert_close(there.x.cpu(), here.x)
    torch.testing.assert_close(there.y.cpu(), here.y)


@pytest.mark.parametrize("attack", [Noise(eps=0.1), FGSM(eps=0.1), PGD(eps=0.1), APGD(eps=0.1, steps=30)])
def test_verdicts_agree_with_the_cpu(attack):
    x, y = digits(200)
    here, there = attack(digits_cnn(), x, y), attack(on_gpu(digits_cnn()), x, y)
    assert there.x_adv.device == torch.device(GPU)
    assert (here.success != there.success.cpu()).double().mean() <= 0.01


def test_an_evaluation_runs_on_the_models_device():
    x, y = digits(120)
    found = robustkit.evaluate(on_gpu(digits_cnn()), (x, y), [FGSM(eps=0.1), PGD(eps=0.1)], batch_size=50)
    expected = robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps=0.1), PGD(eps=0.1)])
    assert abs(found.robust_accuracy.k - expected.robust_accuracy.k) <= 2
    assert found.clean_accuracy == expected.clean_accuracy


def test_an_lstm_is_attacked_in_eval_mode():
    net = create("lstm", (5, 3), 4).to(GPU).eval()
    x = torch.rand(16, 5, 3)
    y = net(x.to(GPU)).argmax(1)
    enabled = torch.backends.cudnn.enabled
    assert PGD(eps=0.5, steps=5)(net, x, y.cpu()).x_adv.shape == x.shape
    assert torch.backends.cudnn.enabled == enabled


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_attacked(dtype):
    x, y = digits(100)
    found = PGD(eps=0.2)(on_gpu(digits_cnn()).to(dtype), x, y)
    assert found.success.double().mean() > 0.5


def test_memory_stays_flat():
    classifier, (x, y) = Classifier(on_gpu(digits_cnn())), digits(100)
    PGD(eps=0.1, steps=3)(classifier, x, y)
    torch.cuda.reset_peak_memory_stats(GPU)
    PGD(eps=0.1, steps=3)(classifier, x, y)
    once = torch.cuda.max_memory_allocated(GPU)
    for _ in range(50):
        PGD(eps=0.1, steps=3)(classifier, x, y)
    assert torch.cuda.max_memory_allocated(GPU) <= 1.01 * once


@pytest.mark.parametrize("spec", ["free:m=2", "awp:warmup=0+trades:steps=3", "gradalign+fgsm-rs"])
def test_training_runs_on_the_models_device_and_resumes(spec, tmp_path):
    def train(**arguments):
        classifier = Classifier(create("cnn", (1, 8, 8), 10).to(GPU))
        common = {"batch_size": 64, "precision": "bf16", "average": "ema", "val_steps": 3, "epochs": 2}
        return classifier, fit(classifier, *digits(200), create_objective(spec, eps=0.1), **common, **arguments)

    classifier, straight = train()
    assert all(p.device == torch.device(GPU) for p in classifier.module.parameters())
    train(folder=tmp_path, stop_after=1)
    _, resumed = train(folder=tmp_path, resume=True)
    assert resumed.epochs[-1].loss == pytest.approx(straight.epochs[-1].loss, rel=0.05)  # cuDNN may add in any order
