"""Every tensor says where it lies: what torch takes for the default device makes no difference.

The default is "meta" here, so that any tensor made without a device has no values, and whatever is done with it fails.
"""

from __future__ import annotations

import copy

import pytest
import torch
from attack_rows import ROWS
from nets import digits, digits_cnn, images, smooth_cnn
from objective_rows import EVERY
from quick import one_norm_each

import robustkit
from robustkit.attacks import FGSM, FMN, PGD, Square
from robustkit.data.dataset import Dataset
from robustkit.defenses import Ensemble, fit
from robustkit.defenses.augment.apply import create_augmentation
from robustkit.defenses.base import Minibatch
from robustkit.defenses.calibrators import CALIBRATORS, calibrate
from robustkit.defenses.smoothing import Smoothed
from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create
from robustkit.report.build import build_audit, build_report
from robustkit.shift.corruptions import CORRUPTIONS
from robustkit.shift.evaluate import evaluate_shift
from robustkit.shift.rotation import spatial_grid


@pytest.fixture
def elsewhere():
    with torch.device("meta"):
        assert torch.zeros(1).is_meta
        yield


@pytest.fixture(scope="module")
def case():
    classifier, x = Classifier(smooth_cnn()), images(4)
    return classifier, x, classifier.logits(x).argmax(1)


@pytest.mark.parametrize("attack", one_norm_each(ROWS), ids=lambda a: f"{a.label}-{a.norm}")
def test_attacks(attack, case, elsewhere):
    assert attack(*case).x_adv.device.type == "cpu"


@pytest.mark.parametrize("objective", EVERY)
def test_objectives(objective, case, elsewhere):
    classifier, x, y = case
    model = copy.deepcopy(classifier.module)
    assert torch.isfinite(EVERY[objective].loss_on(Classifier(model), x, y, memory={}))


def test_training(elsewhere):
    x, y = digits(16)
    fit(create("mlp", (1, 8, 8), 10), x.numpy(), y.tolist(), EVERY["trades"], epochs=1, held_out=0.25)


@pytest.mark.parametrize("spec", ["flip+crop+randaugment", "augmix+noise", "mixup+cutmix"])
def test_augmentation(spec, elsewhere):
    x, y = digits(4)
    batch = Minibatch(x, y, torch.arange(4, device="cpu"))
    assert create_augmentation(spec, (0.0, 1.0), 10)(batch).x.device.type == "cpu"


@pytest.mark.parametrize("method", CALIBRATORS)
def test_calibration(method, elsewhere):
    calibrate(Classifier(digits_cnn()), *digits(60), method=method)


def test_defences(elsewhere):
    x, y = digits(4)
    for rule in ("mean_probabilities", "hard_vote"):
        ensemble = Classifier(Ensemble([digits_cnn(), digits_cnn()], rule=rule))
        assert PGD(eps=0.1, steps=2)(ensemble, x, y).x_adv.device.type == "cpu"
    Smoothed(digits_cnn(), sigma=0.2).certify(x, n0=4, n=8)


def test_shifts(elsewhere):
    x, y = digits(4)
    classifier = Classifier(digits_cnn())
    evaluate_shift(classifier, Dataset(name="d", source=(x, y)), [*CORRUPTIONS], [3])
    spatial_grid(classifier, x, y, 10, 1, rotations=3, shifts=3)


def test_an_evaluation_its_report_and_its_verification(elsewhere, tmp_path):
    x, y = digits(16)
    classifier, data = Classifier(digits_cnn()), Dataset(name="d", source=(x.numpy(), y.tolist()))
    attacks = [FGSM(eps=0.1), Square(eps=0.1, queries=5)]
    evaluation = robustkit.evaluate(classifier, data, attacks, evidence=True, probes=2, batch_size=5)
    curve = security_curve(classifier, data, [FGSM(eps=0.1)], ["0.02", "0.1"])
    distances = minimal_distances(classifier, data, [FMN(norm="Linf", eps="inf", steps=3)])
    audit = build_audit(evaluation, classifier, name="m", curve=curve, distances=distances)
    robustkit.save_bundle(build_report([audit], title="m"), evaluation, tmp_path / "b")
    assert robustkit.verify(tmp_path / "b", classifier, data, attack_again=2, seed=0).holds
