"""Synthetic reports, as real as they can be without a model, for the tests of the views."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from robustkit.evaluation.ledger import Ledger
from robustkit.maths.calibration import ClasswiseBins, columns, measure
from robustkit.maths.intervals import proportion
from robustkit.report import (
    About,
    AccuracyCurve,
    Artefact,
    AttackResult,
    Audit,
    CalibrationPair,
    ChangedRow,
    ClassRow,
    CurvePoint,
    Data,
    Diagnostic,
    Ensemble,
    FeatureChange,
    GalleryItem,
    GateResult,
    Method,
    Nearest,
    Report,
    SignOff,
    SliceRow,
    Subject,
    ThreatModel,
    Verdict,
    WorstCase,
)
from robustkit.report.document.gallery import ShownSample
from robustkit.report.document.io import result_sha256
from robustkit.report.document.ledger_summaries import confusion, margins, risk_coverage
from robustkit.report.document.report import SCHEMA, Quality
from robustkit.report.figures.pictures import difference, picture

HOSTILE = (
    "</svg><script>alert('x')</script>",
    "quote \" and ' and {{ 7 * 7 }} {% raw %}",
    "$\\frac{1}{0}$ costs $5 \\ & <b>more</b>",
    "naïve 猫 кошка قطة ไทย",
    "W" * 300,
    "a | pipe `tick` *star* _low_ [link](http://x) <!-- -->",
    "line\nbreak\x00\x1b[31m\u202egnp.exe",
    "@0003@ &lt; #0a0b01 ]]>",
)


ABOUT = About(
    purpose="Sorting of parcels by the digits of the postcode",
    users="Operators of the sorting line",
    harm="A parcel goes to the wrong town and is a day late",
    domain="Printed and handwritten digits, one at a time, scanned at 8 x 8 pixels",
    thresholds="Answers below 80 % confidence go to a person",
    requirement_origin="Head of operations: what the present machine reaches",
    auditor="A. Auditor",
    organisation="Parcels Ltd",
    party="3rd",
    signoff=SignOff(name="R. Officer", role="Head of risk", date="2026-03-05"),
)


def report(*audits: Audit, title: str = "Digits under attack", about: About | None = None) -> Report:
    """A report over these audits, as the command line would write it."""
    audits = audits or (audit("standard CNN", 0.04), audit("adversarially trained CNN", 0.62, defended=True))
    return Report(
        schema=SCHEMA,
        id="7c1f0a52",
        title=title,
        created="2026-03-04T05:06:07Z",
        tool="robustkit 0.1.0",
        command="robustkit audit digits.toml --seed 7",
        seed=7,
        environment={
            "python": "3.11.2",
            "torch": "2.9.1",
            "platform": "Linux x86_64",
            "cpu_threads": 2,
            "cuda": None,
            "deterministic": True,
        },
        audits=audits,
        artefacts=(Artefact("ledger.csv", "ab" * 32), Artefact("adversarial.safetensors", "cd" * 32)),
        result_sha256=result_sha256(audits),
        about=about,
    )


def complete(one: Audit) -> Audit:
    """The audit with every optional part present."""
    n = one.data.n
    wide = CurvePoint("1", 1.0, proportion(3, n))
    shares = (proportion(int(0.9 * n), n), proportion(int(0.3 * n), n))
    return dataclasses.replace(
        one,
        slices=(
            SliceRow("scanner", "old", proportion(80, 90), proportion(9, 90), 0.0004, 0.0012),
            SliceRow("scanner", "new", proportion(390, 400), proportion(160, 400), 0.03, 0.06),
            SliceRow("ink", HOSTILE[0], proportion(9, 10), proportion(0, 0), None, None),
        ),
        gates=(
            GateResult("robust_accuracy >= 0.60", "not met", 0.31, 0.35, None, "the upper bound lies below the limit"),
            GateResult("clean_accuracy >= 0.96", "undecided", 0.97, 0.95, 2400, "the interval holds the limit"),
            GateResult("clean_ece <= 0.50", "met", 0.02, 0.04, None, "the upper bound lies below the limit"),
        ),
        ensemble=Ensemble(
            members=("CNN, seed 0", "CNN, seed 1", "a vision transformer with a long name"),
            combine="mean probability",
            clean=(shares[0],) * 3,
            robust=(shares[1],) * 3,
            transfer=((1.0, 0.82, 0.4), (0.79, 1.0, 0.35), (0.5, 0.55, 1.0)),
            disagreement=0.07,
        ),
        worst_case=dataclasses.replace(
            one.worst_case,
            stored=proportion(one.worst_case.accuracy.k + 2, n),
            anytime=(0.2, 0.5),
            clustered=(0.25, 0.4),
        ),
        curve=AccuracyCurve("Linf", "fast", (*(one.curve.points if one.curve else ()), wide)),
    )


@functools.cache
def audit(
    name: str = "standard CNN",
    robust: float = 0.31,
    *,
    names: tuple[str, ...] = tuple("0123456789"),
    n: int = 500,
    shape: tuple[int, ...] = (1, 8, 8),
    quality: Quality = "reliable with remarks",
    defended: bool = False,
    gallery: int = 4,
    norm: str = "Linf",
    target: int | None = None,
    seed: int = 0,
) -> Audit:
    """One audit; its counts, intervals and calibration all come from the same invented verdicts."""
    rng = np.random.default_rng([seed, n, len(names), int(1000 * robust)])
    labels = rng.permutation(np.arange(n) % len(names))
    hard = 0.06 * rng.standard_normal(len(names))[labels]
    luck = rng.random(n)
    clean_right = luck + hard / 4 < 0.97
    members = {"fgsm": 0.24, "pgd": 0.08, "apgd-ce": 0.02, "apgd-dlr": 0.01, "square": 0.12}
    right = {key: clean_right & (luck + hard < robust + more) for key, more in members.items()}
    worst = np.logical_and.reduce(list(right.values()))
    started = int(clean_right.sum())
    ledger = _ledger(rng, labels, clean_right, right, len(names))

    def result(key: str) -> AttackResult:
        steps = {"fgsm": 1, "pgd": 40, "square": 1000}.get(key, 100)
        path = 2.2 * (1 - np.exp(-np.arange(steps) / (steps / 9))) + 0.05 if steps > 1 else []
        broken = int((clean_right & ~right[key]).sum())
        return AttackResult(
            name=key,
            implementation=f"robustkit.attacks.{key.split('-')[0]} 0.1.0",
            source={"fgsm": "Goodfellow et al. 2015, arXiv 1412.6572"}.get(
                key, "Croce and Hein 2020, arXiv 2003.01690"
            ),
            params={
                "norm": norm,
                "eps": "8/255",
                "steps": steps,
                "step_size": 0.00784,
                "random_start": steps > 1,
                "loss": None,
            },
            seed=7,
            accuracy=proportion(int(right[key].sum()), n),
            attack_success=proportion(broken, started),
            forwards=n * steps,
            backwards=0 if key == "square" else n * steps,
            seconds=0.02 * steps + 0.4,
            steps_to_break=None if steps == 1 else steps / 8,
            loss_path=tuple(float(value) for value in path),
            rechecked_changes=0,
            zero_gradient_rows=3 if key == "pgd" else 0,
            nonfinite_gradient_rows=0,
        )

    return Audit(
        subject=Subject(
            name=name,
            source="models/digits.safetensors",
            architecture="SmallCNN(conv 16, conv 32, linear 10)",
            parameters=21_834,
            weights_sha256="0f" * 32,
            weights_file_sha256=None,
            defences=("adversarial training, PGD, Linf 8/255, 10 steps",) if defended else (),
            preprocess=("scale to [0, 1]", "normalise: mean 0.5, std 0.5 (differentiable)"),
            output="logits",
            dtype="float32",
            device="cpu",
            num_classes=len(names),
            class_names=names,
        ),
        data=Data(
            name="digits",
            split="test",
            selection="the first n of a permutation with seed 0",
            n=n,
            input_shape=shape,
            ids_sha256="12" * 32,
            sha256="34" * 32,
            notes=("scanned handwritten digits, 8 x 8 pixels",),
        ),
        threat=ThreatModel(
            goal="integrity, untargeted" if target is None else "integrity, targeted",
            knowledge="white-box: weights, architecture and defences are known",
            access="gradients, scores and labels; no limit on queries",
            norm=norm,
            eps="8/255" if norm == "Linf" else "0.5",
            eps_value=8 / 255 if norm == "Linf" else 0.5,
            bounds=(0.0, 1.0),
            target=target,
            exclusions=("poisoning of the training data", "model extraction", "patches and physical changes"),
        ),
        verdict=Verdict(
            requirement="undecided" if defended else "not met",
            quality=quality,
            coverage=(
                "other norms and larger budgets than the one declared",
                "common corruptions",
                "attackers adapted to this defence",
            ),
            rule="robust_accuracy >= 0.60",
        ),
        method=Method(
            protocol="autoattack",
            fingerprint="0123456789ab",
            cascade=True,
            changes=(),
            draws=1,
            early=False,
            stopped=None,
            planned=n,
            accelerated=True,
        ),
        clean=proportion(started, n),
        attacks=tuple(result(key) for key in members),
        worst_case=WorstCase(
            accuracy=proportion(int(worst.sum()), n),
            attack_success=proportion(int((clean_right & ~worst).sum()), started),
            broken_by={key: int((clean_right & ~mask).sum()) for key, mask in right.items()},
        ),
        per_class=tuple(
            ClassRow(
                index,
                label,
                proportion(int(clean_right[labels == index].sum()), int((labels == index).sum())),
                proportion(int(worst[labels == index].sum()), int((labels == index).sum())),
            )
            for index, label in enumerate(names)
        ),
        calibration=CalibrationPair(
            _calibration(rng, labels, clean_right, len(names), 0.93),
            _calibration(rng, labels, worst, len(names), 0.8),
            "the most damaging attack per sample",
        ),
        diagnostics=_diagnostics(quality),
        gallery=tuple(_exhibit(rng, index, names, shape, norm) for index in range(gallery)),
        curve=AccuracyCurve(
            norm=norm,
            protocol="autoattack",
            points=tuple(
                CurvePoint(f"{k}/255", k / 255, proportion(int(started * (1 - k / 20)), n)) for k in (1, 2, 4, 8, 16)
            ),
        ),
        nearest=Nearest(norm, ("fmn", "fab"), (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, None, None)),
        confusion=confusion(ledger, names),
        margins=margins(ledger),
        risk_coverage=risk_coverage(ledger),
    )


def _ledger(rng, labels, clean_right, right, num_classes: int) -> Ledger:
    """A ledger of these verdicts; mistakes go to one of the two next classes."""
    n = len(labels)
    ledger = Ledger(right)
    other = (labels + rng.integers(1, min(3, num_classes), n)) % num_classes
    standing = np.logical_and.reduce(list(right.values()))
    sure = rng.beta(4, 1, (2, n))
    ledger.extend(n)
    ledger.write(
        slice(None),
        id=np.arange(n),
        label=labels,
        clean_prediction=np.where(clean_right, labels, other),
        clean_confidence=np.where(clean_right, sure[0], sure[0] / 2),
        worst_prediction=np.where(standing, labels, other),
        worst_confidence=sure[1],
    )
    for key, mask in right.items():
        lead = np.where(mask, rng.gamma(2, 1.5, n), -0.3 * rng.random(n))
        ledger.write(slice(None), f"{key}/", margin=np.where(clean_right, -lead, np.nan))
    return ledger


def _calibration(rng, labels, correct, num_classes, sure):
    """Columns of a model that is about `sure`, whether right or wrong."""
    n = len(labels)
    top = np.clip(1 - rng.beta(1.2, 1.2 * sure / (1 - sure), n), 1 / num_classes + 1e-3, 1)
    answer = np.where(correct, labels, (labels + 1) % num_classes)
    probabilities = np.repeat((1 - top)[:, None] / (num_classes - 1), num_classes, axis=1)
    probabilities[np.arange(n), answer] = top
    classwise = ClasswiseBins(num_classes)
    classwise.add(probabilities, labels)
    return measure(*columns(probabilities, labels), classwise=classwise, resamples=50)


def _diagnostics(quality: Quality) -> tuple[Diagnostic, ...]:
    bad = "fail" if quality in ("unreliable", "invalid") else "pass"
    remark = "pass" if quality == "reliable" else "remark"
    return (
        Diagnostic(
            "Q01",
            "Wrapped and raw model agree",
            0.0,
            "gap = 0",
            "pass",
            "Both are right on the same samples.",
        ),
        Diagnostic("Q04", "Batch size and order do not matter", 0, "0 flips", "pass", "No prediction changed."),
        Diagnostic(
            "Q07",
            "Gradients are there",
            0.006,
            "share of zero gradients <= 0.01",
            remark,
            "3 rows of pgd had none.",
        ),
        Diagnostic(
            "Q08",
            "Inputs stay inside the threat",
            0.03137255,
            "norm <= eps + 1e-6",
            "pass",
            "Measured in float64.",
        ),
        Diagnostic(
            "Q12",
            "A huge budget breaks everything",
            0.34 if bad == "fail" else 0.0,
            "accuracy <= 0.1",
            bad,
            "At eps 0.5.",
        ),
        Diagnostic("Q19", "Transfer from an undefended twin", None, "gain <= 0.01", "not run", "No twin was given."),
    )


def _exhibit(rng, index, names, shape, norm) -> GalleryItem:
    channels, height, width = shape
    y, x = np.mgrid[:height, :width]
    clean = np.stack([np.clip(np.sin(x / 2 + index) * np.cos(y / 3) + 0.5, 0, 1)] * channels)
    attacked = np.clip(clean + 8 / 255 * rng.choice([-1, 1], clean.shape), 0, 1)
    shown = difference(clean, attacked, (0, 1))
    assert shown is not None
    before, after = picture(clean, (0, 1)), picture(attacked, (0, 1))
    assert before is not None
    assert after is not None
    label, wrong = names[index % len(names)], names[(index + 1) % len(names)]
    return GalleryItem(
        id=17 * index,
        label=label,
        attack="apgd-ce",
        clean_prediction=label,
        clean_confidence=0.97,
        adversarial_prediction=wrong,
        adversarial_confidence=0.71,
        norm=norm,
        distance=float(np.abs(attacked - clean).max()),
        gain=shown[1],
        clean=before,
        adversarial=after,
        difference=shown[0],
        saliency=picture(np.abs(clean[:1] - 0.5), (0.0, 0.5)),
        saliency_adversarial=picture(np.abs(attacked[:1] - 0.5), (0.0, 0.5)),
    )


def with_rows(one: Audit) -> Audit:
    """The audit with rows of a table instead of pictures: one that was broken, and one that was not."""
    answers = {field.name: getattr(audit().gallery[0], field.name) for field in dataclasses.fields(ShownSample)}
    features = (
        FeatureChange(2, HOSTILE[0], 0.5, 0.25),
        FeatureChange(4, None, 0.0, 3.0),
        FeatureChange(5, "age", 1, 2),
    )
    row = ChangedRow(**answers, features=features, changed=9)
    robust = dataclasses.replace(row, id=row.id + 1, adversarial_prediction=row.label)
    return dataclasses.replace(one, gallery=(), changed_rows=(row, robust))
