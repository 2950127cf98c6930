"""Several inputs in one row: what is passed on arrives as it is, and neither that nor padding ever changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

import robustkit
from robustkit import Classifier, ConfigurationError, InvalidEvaluation, attacks
from robustkit.data import batches, pack
from robustkit.data.layout import Layout, Part
from robustkit.defenses import Standard, fit
from robustkit.model import Unpacked
from robustkit.report.text.sentences import perturbation


class Network(nn.Module):
    """An LSTM of padded sequences."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(self.lstm(packed)[1][0][-1])


class Masked(nn.Module):
    """A mean over what is no padding, which is refused where a mask or ids do not arrive as they were."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x, attention_mask, code):
        assert attention_mask.dtype == code.dtype == torch.int64
        assert bool(((attention_mask == 0) | (attention_mask == 1)).all())
        assert bool((code == 16_777_216 - attention_mask.sum(1)).all())
        real = attention_mask[..., None]
        return self.head((x * real).sum(1) / real.sum(1))


def samples(count=12, masked=False):
    torch.manual_seed(1)
    net, found = (Masked() if masked else Network()), []
    for _ in range(count):
        length = int(torch.randint(2, 7, ()))
        x = torch.randn(length, 3)
        mask = torch.ones(length, dtype=torch.int64)
        beside = {"attention_mask": mask, "code": 2**24 - length} if masked else {"lengths": length}
        with torch.no_grad():
            given = {key: torch.as_tensor(value)[None] for key, value in beside.items()}
            label = int(net(x[None], **given).argmax())
        found.append({"x": x, **beside, "label": label, "text": "left out"})
    return net, found


def audited(masked=False, **settings):
    net, found = samples(masked=masked)
    data = pack(found, "x", **settings)
    return Classifier(Unpacked(net, data.layout), bounds=data.bounds), data


def bits(x):
    return x.view(torch.int32)


EVERY = [
    ("Linf", 0.5, "pgd:steps=3"), ("L2", 0.5, "pgd:steps=3"), ("L1", 0.5, "pgd:steps=3"), ("Linf", 0.5, "fgsm"),
    ("Linf", 0.5, "noise"), ("L2", 0.5, "apgd:steps=4"), ("L1", 0.5, "apgd:steps=4"), ("Linf", 0.5, "mifgsm:steps=3"),
    ("Linf", 0.5, "square:queries=20"), ("L2", 0.5, "square:queries=20"), ("L1", 0.5, "square:queries=20"),
    ("L2", 9, "ddn:steps=20"), ("L2", 9, "fmn:steps=20"), ("Linf", 5, "fab:steps=20"), ("L1", 20, "fab:steps=20"),
    ("L0", 18, "sigma-zero:steps=30"), ("L0", 2, "sparse-rs:queries=20"), ("L2", 30, "hop-skip-jump:steps=1,looks=4"),
    ("Linf", 0.5, "square-pgd"),
]  # fmt: skip


@pytest.mark.parametrize(("norm", "eps", "attack"), EVERY)
@pytest.mark.parametrize("masked", [False, True])
def test_no_attack_changes_padding_or_what_is_passed_on_by_a_bit(norm, eps, attack, masked):
    classifier, data = audited(masked)
    (batch,) = batches(data, 100)
    made = attacks.create(attack, norm=norm, eps=data.layout.eps(eps))
    found = made(classifier, batch.x, batch.y)
    fixed = data.layout.fixed(batch.x)
    assert bool(fixed[:, :18].any())
    assert bool(fixed[:, 18:].all())
    assert torch.equal(bits(found.x_adv)[fixed], bits(batch.x)[fixed])
    if attack[:3] not in ("fab", "hop"):  # which may find nothing here and then move nothing
        assert not torch.equal(bits(found.x_adv)[~fixed], bits(batch.x)[~fixed])


def test_verification_refuses_padding_that_is_off_by_one_ulp():
    classifier, data = audited()
    threat = attacks.PGD(norm="L2", eps=data.layout.eps(0.5)).threat(classifier)
    (batch,) = batches(data, 100)
    row = int(data.layout.fixed(batch.x)[:, :18].any(1).nonzero()[0])
    for where in (17, 18):  # the last position is padding, and the length is passed on
        x_adv = batch.x.clone()
        assert bool(threat.contains(x_adv, batch.x)[row])
        x_adv[row, where] = torch.nextafter(x_adv[row, where], torch.tensor(9.0))
        assert not bool(threat.contains(x_adv, batch.x)[row])


@pytest.mark.slow
def test_evaluate_and_its_probes_ask_the_model_with_the_inputs_of_each_sample():
    classifier, data = audited(masked=True)
    found = robustkit.evaluate(classifier, data, "pgd:steps=5", norm="L2", eps=0.5, batch_size=5, probes=4)
    assert found.clean_accuracy.value == 1
    assert found.threat.eps.layout == data.layout
    assert str(found.threat.eps).startswith("0.5 on x alone (")
    again = robustkit.evaluate(classifier, data, "pgd:steps=5", norm="L2", eps=0.5, batch_size=12)
    assert found.robust_accuracy == again.robust_accuracy


def test_a_bundle_verifies_with_the_layout_it_states(tmp_path):
    classifier, data = audited()
    found = robustkit.evaluate(classifier, data, "pgd:steps=5", norm="Linf", eps=0.5, evidence=True)
    audit = robustkit.report.build_audit(found, classifier, name="lstm")
    folder = robustkit.save_bundle(robustkit.report.build_report([audit], title="t"), found, tmp_path / "b")
    assert audit.threat.layout == data.layout
    assert "only x may change, and no padding in it" in perturbation(audit)
    assert robustkit.verify(folder, classifier, data).holds
    forged = folder / "report.json"
    forged.write_text(forged.read_text().replace('"padding": "lengths"', '"padding": null'))
    assert not robustkit.verify(folder, classifier, data).holds


def test_samples_batches_and_columns_are_read_alike():
    _, found = samples()
    long = pad_sequence([sample["x"] for sample in found], batch_first=True)
    lengths, y = torch.tensor([s["lengths"] for s in found]), torch.tensor([s["label"] for s in found])
    whole = {"x": long, "lengths": lengths, "labels": y}
    loader = [{key: value[i : i + 5] for key, value in whole.items()} for i in range(0, 12, 5)]
    one, *others = (pack(source, "x") for source in (found, loader, whole))
    for other in others:
        assert torch.equal(one.source[0], other.source[0])
        assert torch.equal(one.source[1], other.source[1])
        assert one.layout == other.layout


@pytest.mark.parametrize(
    ("mask", "shape", "expected"),
    [((2,), (2, 3), [1, 1, 1, 0, 0, 0]), ((3,), (2, 3), [1, 0, 1, 1, 0, 1]), ((2, 3), (2, 3), [1, 0, 1, 0, 1, 1])],
)
def test_a_mask_is_that_of_the_first_axes_or_else_the_last(mask, shape, expected):
    layout = Layout((Part("x", shape, "float"), Part("mask", mask, "boolean")), "mask")
    said = {(2,): [1, 0], (3,): [1, 0, 1], (2, 3): [1, 0, 1, 0, 1, 1]}[mask]
    assert layout.real(torch.tensor([[0.5] * 6 + said])).flatten().int().tolist() == expected


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"lengths": 9}, {}, "expected lengths up to 6 in lengths, got 9"),
        ({"lengths": 0}, {}, "more than padding in every sample, got none in row 0"),
        ({"lengths": 2**24 + 1}, {}, "whole numbers up to 16,777,216 in lengths"),
        ({"x": torch.tensor([[1, 2, 3]])}, {}, "if they are token ids, attack their embeddings: robustkit.embeddings"),
        ({"x": torch.full((2, 3), torch.nan)}, {}, "finite numbers in x"),
        ({"key_mask": [1]}, {"passed": ["key_mask"]}, "expected an input called key_mask"),
        ({}, {"padding": "length"}, "padding to name an input that is passed on, got 'length'"),
        ({}, {"passed": []}, "expected x of one shape"),
        ({}, {"bounds": (torch.arange(5.0), torch.arange(5.0) + 1)}, "bounds that broadcast to x"),
        ({"label": None}, {}, "a label"),
    ],
)
def test_what_makes_no_rows_is_said(change, settings, message):
    _, found = samples()
    found[0] |= change
    with pytest.raises((ConfigurationError, InvalidEvaluation), match=message.replace("(", r"\(")):
        pack(found, "x", **settings)


def test_a_mask_of_unknown_meaning_is_asked_about():
    x, y = torch.randn(4, 5, 3), torch.zeros(4, dtype=torch.int64)
    given = {"x": x, "key_padding_mask": torch.zeros(4, 5, dtype=torch.bool), "y": y}
    with pytest.raises(ConfigurationError, match="which input says what is padding, got key_padding_mask"):
        pack(given, "x")
    assert pack(given, "x", padding=None).layout.padding is None


def test_an_eps_that_would_reach_the_other_inputs_is_refused():
    classifier, data = audited()
    (batch,) = batches(data, 100)
    with pytest.raises(ConfigurationError, match=r"expected eps=data.layout.eps\(...\) for a model of several inputs"):
        attacks.PGD(eps=0.1)(classifier, batch.x, batch.y)
    with pytest.raises(ConfigurationError, match=r"eps=data.layout.eps"):
        robustkit.evaluate(classifier, data, [attacks.PGD(eps=0.1)])


def test_what_would_change_other_inputs_refuses_such_models():
    classifier, data = audited()
    net = classifier.module.unpacked
    with pytest.raises(ConfigurationError, match="fit: expected a model of one input"):
        fit(classifier, data, Standard())
    with pytest.raises(ConfigurationError, match="no mean and std beside a model of several inputs"):
        Classifier(Unpacked(net, data.layout), mean=0.5)
    with pytest.raises(ConfigurationError, match="expected a model for data with several inputs"):
        robustkit.evaluate(Classifier(net, bounds=data.bounds), data, "pgd", eps=0.1)
    with pytest.raises(ConfigurationError, match="expected float32"):
        Unpacked(net, data.layout)(data.source[0].half())


@pytest.mark.parametrize("key", ["attention_mask", "lengths", "edge_index"])
def test_a_second_input_is_not_lost_in_silence(key):
    with pytest.raises(InvalidEvaluation, match=f"got {key}, too"):
        next(batches([{"x": torch.ones(2), key: 1, "y": 0}], 4))


def test_token_ids_are_answered_with_their_embeddings():
    for data in (
        (torch.ones(4, 5, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)),
        [{"input_ids": [1], "y": 0}],
    ):
        with pytest.raises(InvalidEvaluation, match=r"attack their embeddings: robustkit.embeddings\(model, data\)"):
            robustkit.evaluate(nn.Linear(5, 2), data, "pgd")


def test_decibels_are_refused_with_what_there_is():
    with pytest.raises(ConfigurationError, match="differs by signal; divide signals"):
        attacks.PGD(norm="L2", eps="30dB")
