"""Every public callable with wrong arguments: one line that says who, what was expected, what came, and what to do."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import nn

import robustkit
from robustkit import Classifier, RobustkitError, attacks, defenses
from robustkit.attacks.protocols import as_protocol
from robustkit.data import Batch, Dataset
from robustkit.data.layout import Layout, Part

NAN, INF = float("nan"), float("inf")

# Wrong values by the kind of the argument.
COUNT = (0, -1, 2.5, True, "3", NAN, INF, [3], torch.ones(2), np.float64(2.5))
COUNT_OR_NONE = COUNT
INTEGER = (2.5, True, "3", NAN, [3], np.array([1, 2]))
NUMBER = (NAN, True, "much", [0.1], b"1", torch.ones(2))
SHARE = (*NUMBER, -0.1, 1.1, INF)
AMOUNT = (*NUMBER, -1, INF)
EPS = (*NUMBER[:-1], torch.tensor([1.0, -1.0]), -1, None, "1/0", "", "8\\255")
FLAG = (1, "yes", None, 0.0, [True])
NORM = ("L3", "linf", "inf", 2, None, ["Linf"])
LEVELS = (1, 0, True, 2.5, "256")
BOUNDS = ((0, 1, 2), (1, 0), (0, 0), (NAN, 1), (0, INF), 1, None, "01", ("0", "1"), (True, 2), [[0, 1]])
TEXT = (3, None, b"x", ["x"])
MODEL = (None, 3, "resnet", [nn.Flatten()])
FOLDER = (3, True, ["here"], b"here")
FUNCTION = (3, "f", [print])
LEVEL = (*NUMBER, 0, 1, 95, -0.5, INF, "95%", None)
SEED = (*INTEGER, None)


@functools.cache
def net() -> nn.Module:
    made = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, device="meta")).to_empty(device="cpu")
    with torch.no_grad():
        made[1].weight.copy_(torch.tensor([[1.0, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]]))
        made[1].bias.zero_()
    return made


class Text(nn.Module):
    """As much of a text classifier of transformers as is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 4), nn.Linear(4, 3)

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None) -> Any:
        return self.head((self.embed(input_ids) if inputs_embeds is None else inputs_embeds).mean(1))


TEXTS = [{"input_ids": [1, 2, 3], "label": 0}, {"input_ids": [4, 5, 6], "label": 1}]


@functools.cache
def classifier() -> Classifier:
    return Classifier(net(), num_classes=3, output="logits")


X = torch.linspace(0, 1, 24).reshape(6, 1, 2, 2)
X = X[torch.tensor([3, 0, 5, 1, 4, 2])] * torch.tensor([1.0, 0.2, 0.7, 0.5]).reshape(1, 1, 2, 2)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
IDS = torch.arange(6)
P = np.full((6, 3), 1 / 3)
RIGHT = np.array([1, 0, 1, 1, 0, 1])
WEAK = [attacks.Noise(eps="1/255", restarts=1)]
DATA = ((None), 3, "cifar10", (X,), (X, Y[:4]), (X, Y, IDS, IDS), (X[:0], Y[:0]), [], (X, ["a"] * 6), (X * 300, Y),
        (X, Y.float() + 0.5), (X, Y + 90), (X, -Y - 1), (X, Y, [0, 0, 1, 2, 3, 4]), (X.long(), Y), (X * NAN, Y),
        [(X[0], 0), (X[1, :, :1], 1)], {"x": X}, Dataset(name="other", source=(X, Y), bounds=(0, 255)))  # fmt: skip
ATTACKS = (None, 3, [], "autoatack", attacks.PGD, [attacks.PGD], ["pdg"], [None], {}, [WEAK[0], 3],
           [WEAK[0], attacks.Noise(eps="2/255")], [WEAK[0], attacks.Noise(norm="L2", eps="1/255")])  # fmt: skip
TENSOR = (None, "x", 3, [None])


HERE: list[Path] = []


@pytest.fixture(autouse=True, scope="module")
def _here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    HERE[:] = [tmp_path_factory.mktemp("here")]
    with contextlib.chdir(HERE[0]):
        yield


class Frame:
    """As much of a DataFrame as is read."""

    columns, index = ("a", "label"), np.arange(4)

    @property
    def iloc(self) -> Any:
        return self

    def __getitem__(self, at: Any) -> Any:
        return MagicMock(to_numpy=lambda: np.array([0.0, 1.0, 0.0, 1.0]))


def new_name(count: Iterator[int] = itertools.count()) -> str:
    return f"new-{next(count)}"


def fresh() -> nn.Module:
    return copy.deepcopy(net())


@functools.cache
def saved() -> str:
    return str(robustkit.save_bundle(report(), evaluation(), HERE[0] / "bundle"))


@functools.cache
def weights_file() -> str:
    torch.save(net().state_dict(), HERE[0] / "w.pt")
    return "w.pt"


def logged(**arguments):
    """Calls `log_report` where MLflow stands in for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mlflow", MagicMock())
        return robustkit.report.log_report(**arguments)


@functools.cache
def about_file() -> str:
    (HERE[0] / "about.toml").write_text("purpose = 'test'")
    return "about.toml"


@functools.cache
def corrupted_folder() -> str:
    np.save(HERE[0] / "contrast.npy", np.zeros((10, 2, 2, 3), np.uint8))
    np.save(HERE[0] / "labels.npy", np.zeros(10, np.uint8))
    return str(HERE[0])


@functools.cache
def certificates() -> Any:
    return defenses.Smoothed(net(), 0.1).certify(X, n0=2, n=10)


@functools.cache
def evaluation() -> Any:
    return robustkit.evaluate(classifier(), (X, Y), WEAK, accelerate=False)


@functools.cache
def searched() -> Any:
    return robustkit.evaluate(classifier(), (X, Y), attacks.PGD(eps=0.4, steps=3), accelerate=False, evidence=True)


@functools.cache
def curve() -> Any:
    return robustkit.security_curve(classifier(), (X, Y), WEAK, ["1/255"])


@functools.cache
def shift() -> Any:
    return robustkit.shift.evaluate_shift(classifier(), (X, Y), corruptions=["contrast"], severities=[1])


@functools.cache
def trained() -> Any:
    settings = {"epochs": 1, "held_out": 0.0, "select": "last"}
    return defenses.fit(Classifier(fresh()), X, Y, defenses.Standard(), **settings)


@functools.cache
def audit() -> Any:
    return robustkit.report.build_audit(evaluation(), classifier(), name="tiny")


@functools.cache
def report() -> Any:
    return robustkit.report.build_report([audit()], title="tiny")


@dataclasses.dataclass(frozen=True)
class Row:
    """Arguments that are right, and for each what is wrong in its place."""

    right: Callable[[], dict[str, Any]]
    wrong: dict[str, tuple[Any, ...]]
    call: Callable[..., Any] | None = None


def row(call: Callable[..., Any] | None = None, /, right: Any = dict, **wrong: tuple[Any, ...]) -> Row:
    return Row(right if callable(right) else lambda: right, wrong, call)


AXES, NAMED = (3, "ax", []), (3, ["a"], [3, 4, 5])
COMMON = {"norm": NORM, "eps": EPS, "restarts": COUNT, "target": (*INTEGER, -1), "eot": COUNT, "levels": LEVELS,
          "close": (*SHARE, 0, 1)}  # fmt: skip
LOSS = ("nope", 3, "", ["ce"])
STEP = (*NUMBER, -1, INF, 0)
OPEN = (*NUMBER, -1, 0, 1, INF, None)
SMOOTHING = {"label_smoothing": (*SHARE, None)}
EVALUATE = {"classifier": MODEL, "data": DATA, "attacks": ATTACKS, "batch_size": (*COUNT, None), "limit": COUNT,
            "seed": SEED}  # fmt: skip
PLACE = {
    "model": MODEL,
    "x": (*TENSOR, X[:0], X * NAN, X * 300, X.long()),
    "y": (*TENSOR, Y[:4], Y + 90, Y.float() + 0.5),
}


def given(**right: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {name: value() if isinstance(value, Lazy) else value for name, value in right.items()}


class Lazy:
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __call__(self) -> Any:
        return self.make()


CLASSIFIER = Lazy(classifier)
LINF = {"Linf": 0}

ROWS: dict[str, Row] = {
    "BPDA": row(right=given(forward=torch.round), forward=(None, *FUNCTION), substitute=FUNCTION),
    "Classifier": row(
        right=given(model=Lazy(net)),
        model=(None, 3, "resnet18"),
        bounds=BOUNDS,
        mean=("x", NAN, [NAN], INF, True, [], ["0.5"], {}),
        std=(0, -1, "x", NAN, [0.2, 0.0], True, [], INF),
        output=("logit", None, 3, ["logits"]),
        select=(2.5, [0], True),
        num_classes=(1, 0, 2.5, True, "3", NAN),
        class_names=("abc", ["a", "a", "b"], ["a", 2, "c"], 3, ["a", "", "c"], []),
        draws=(*COUNT, None),
        device=("gpu", 3.5, ["cpu"], "cudda:0", "cuda:99", ""),
    ),
    "Ledger": row(right=given(attacks=["pgd"]), attacks=(None, 3, "pgd", [3], ["a", "a"])),
    "Threat": row(norm=NORM, eps=EPS, bounds=BOUNDS, target=(*INTEGER, -1), levels=LEVELS),
    "embeddings": row(
        right=given(model=Lazy(Text), data=TEXTS),
        model=(*MODEL, nn.Linear(3, 2)),
        data=(None, 3, (X, Y), [], [{"input_ids": [1]}], [{"input_ids": [30], "label": 0}]),
        passed=(["z"], "z"),
        name=TEXT,
    ),
    "attack": row(
        right=given(model=Lazy(net), x=X, y=Y, attacks="fgsm", norm="Linf", eps="1/255"),
        model=MODEL,
        x=(*TENSOR, X[:0], X * NAN, X * 300, X.long()),
        y=(*TENSOR, Y[:4], Y + 90, Y.float() + 0.5),
        attacks=(*ATTACKS, WEAK),
        norm=tuple(norm for norm in NORM if norm is not None),
        eps=(NAN, True, "much", -1, "1/0", [0.1, "much"]),
        ids=(3, IDS[:4], -IDS),
        seed=SEED,
        batch_size=COUNT,
    ),
    "attacks.APGD": row(**COMMON, steps=COUNT, loss=LOSS, targets=(-1, 2.5, True, "3", None)),
    "attacks.DDN": row(**COMMON, steps=COUNT, step_size=STEP, gamma=OPEN, loss=LOSS),
    "attacks.SigmaZero": row(**COMMON, steps=COUNT, step_size=STEP, sigma=STEP, tau=OPEN, tau_step=STEP),
    "attacks.universal_patch": row(
        right=given(classifier=CLASSIFIER, x=X, y=Y, scale=(0.9, 1.0), steps=1, max_degrees=0),
        classifier=MODEL,
        x=TENSOR,
        scale=(None, 3, (0.2,), (0.4, 0.2), (0, 1), (NAN, 1)),
        max_degrees=(*NUMBER, -1, 181),
        side=COUNT,
        target=(*INTEGER, -1),
        steps=COUNT,
        step_size=STEP,
        batch_size=COUNT,
        seed=SEED,
    ),
    "attacks.Patch": row(**COMMON, steps=COUNT, loss=LOSS),
    "attacks.SparseRS": row(
        **COMMON, queries=COUNT, share=(*SHARE, 0, None), rescale_schedule=FLAG, loss=LOSS,
    ),
    "attacks.FAB": row(
        **COMMON, steps=COUNT, alpha_max=OPEN, eta=(*STEP, 1, None), beta=OPEN, targets=(-1, 2.5, True, "3", None)
    ),
    "attacks.FGSM": row(**COMMON, loss=LOSS),
    "attacks.FMN": row(**COMMON, steps=COUNT, step_size=STEP, gamma=OPEN, gamma_last=OPEN, loss=LOSS),
    "attacks.MIFGSM": row(
        **COMMON, steps=COUNT, step_size=(*NUMBER, -1, INF), momentum=(*AMOUNT, None), loss=LOSS,
        share=(*SHARE, 0, None)
    ),
    "attacks.PGD": row(
        **COMMON, steps=COUNT, step_size=(*NUMBER, -1, INF), loss=LOSS, random_start=FLAG, share=(*SHARE, 0, None)
    ),
    "attacks.Foolbox": row(
        right=given(attack="LinfDeepFoolAttack"),
        **COMMON,
        attack=("LinfDepFoolAttack", "", 3, None),
        options=(3, "steps=3", (("no_such", 1),), {"steps": 3}, [3]),
    ),
    "attacks.HopSkipJump": row(**COMMON, steps=COUNT, looks=(*COUNT, 1, None)),
    "attacks.Noise": row(**COMMON),
    "attacks.Square": row(
        **COMMON, queries=COUNT, p_init=(*SHARE, 0, None), rescale_schedule=FLAG, loss=LOSS, trial=(-1, 2.5, True, None)
    ),
    "attacks.SquarePGD": row(**COMMON, queries=COUNT, steps=COUNT, loss=LOSS, share=(*SHARE, 0, None)),
    "attacks.Transfer": row(right=given(surrogate=CLASSIFIER), **COMMON, surrogate=(3, "cnn"),
        attack=(3, "pgd", attacks.PGD)),
    "attacks.create": row(
        right=given(spec="pgd"),
        spec=(*TEXT, "pdg", "", "pgd:steps", "pgd:stepz=3", "pgd:steps=0", "pgd:steps=3,steps=4", "no.such:Attack",
              "pgd:eps=x"),
        norm=NORM,
        eps=EPS,
        stepz=(3,),
    ),
    "bundle.load_bundle": row(right=lambda: {"bundle": saved()}, bundle=(*FOLDER, None, "no-such")),
    "bundle.save_bundle": row(
        right=lambda: {"report": report(), "evaluations": evaluation(), "folder": new_name()},
        report=(None, 3, "report.json"),
        evaluations=(None, 3, [], [3]),
        folder=(*FOLDER, None),
        loads=(3, [3], "cnn", [{}, {}]),
        files=(3, ["a"], {"a": "text"}, {3: b""}),
        archive=FLAG,
    ),
    "bundle.verify": row(
        right=lambda: {"bundle": saved()},
        bundle=(*FOLDER, None, "no-such-folder", ""),
        classifier=(3, "cnn", [3]),
        data=(3, "digits"),
        weights=(3, "no-such-file", [3]),
        batch_size=(*COUNT, None),
    ),
    "checks.checkup": row(
        right=given(classifier=CLASSIFIER, data=(X, Y)), classifier=MODEL, data=DATA[:-1], tuning=(3,),
        batch_size=(*COUNT, None)
    ),
    "checks.examine": row(
        right=given(classifier=CLASSIFIER, x=X, y=Y),
        classifier=MODEL,
        x=(*TENSOR, X[:0], X * NAN, X * 300, X.long(), X[:4]),
        y=(*TENSOR, Y[:4], Y + 90, Y.float() + 0.5),
    ),
    "checks.join_classes": row(
        right=given(classifier=CLASSIFIER, data=(X, Y)),
        classifier=MODEL,
        class_map=(3, ["a"], "by name"),
        selected=("0", 3, ["nine"], [3]),
    ),
    "checks.quality": row(right=given(diagnostics=[]), diagnostics=(None, 3, [3], "fail")),
    "data.Batch": row(
        right=given(x=X, y=Y, ids=IDS),
        x=(*TENSOR, X[:4]),
        y=(*TENSOR, Y[:4], Y.float() + 0.5),
        ids=(*TENSOR, IDS[:4], IDS.float() + 0.5),
        names=(3, ["a"], "abcdef"),
    ),
    "data.Dataset": row(
        right=given(name="mine", source=(X, Y)),
        name=(*TEXT,),
        bounds=BOUNDS,
        class_names=("abc", ["a", "a"], [1, 2], 3),
        split=(3, ["test"]),
        notes=("one", 3, [3]),
    ),
    "data.batches": row(
        lambda **arguments: list(robustkit.data.batches(**arguments)),
        right=given(source=(X, Y), batch_size=4),
        source=[*DATA[:9], DATA[10], DATA[12], DATA[13], *DATA[16:18]],
        batch_size=(*COUNT, None),
        limit=COUNT,
    ),
    "data.from_frame": row(
        right=given(frame=Frame()),
        frame=(3, None, "table.csv", {"a": [1]}, X),
        label_column=(3, "a label", ["label"]),
        bounds=tuple(bounds for bounds in BOUNDS if bounds is not None),
        name=(*TEXT,),
        schema=(3, "schema.toml", {"a": 3}),
    ),
    "data.Layout": row(right=given(parts=(Part("x", (4,), "float"),)), parts=((),), padding=("z",)),
    "data.pack": row(
        right=given(source={"x": X, "label": Y}, attacked="x"),
        source=(None, 3, (X, Y), [], {"x": X}),
        attacked=(*TEXT, "y", "label"),
        passed=(["z"], "z"),
        padding=(3, "z", ["x"]),
        bounds=tuple(bounds for bounds in BOUNDS if bounds is not None),
        name=TEXT,
        class_names=("abc", ["a", "a", "b"], 3),
    ),
    "data.sampled": row(
        right=lambda: {"dataset": Dataset(name="mine", source=(X, Y)), "limit": 3},
        dataset=(None, 3, "digits"),
        limit=COUNT,
        first=(*COUNT, 2),
        seed=SEED,
    ),
    "data.clean": row(
        right=given(train=Batch(X, Y, IDS)),
        train=(None, 3, (X, Y), Batch(X[:0], Y[:0], IDS[:0])),
        test=(3, (X, Y), Batch(X[:, :, :1], Y, IDS)),
        bounds=BOUNDS,
        near=(*AMOUNT, None),
        outlier=(*AMOUNT, None),
        probabilities=(3, P[:4], P[0], "p", P * NAN, P * 7),
        seed=SEED,
    ),
    "defenses.ARD": row(right=given(teacher=Lazy(net)), teacher=MODEL, attack=(3, None, "pgd", attacks.PGD),
        alpha=(*SHARE, None), temperature=(*NUMBER, 0, -1, INF, None)),
    "defenses.AWP": row(objective=(3, None, "trades", defenses.TRADES), gamma=(*AMOUNT, None),
        warmup=(-1, 2.5, True, None)),
    "defenses.FGSMRS": row(norm=NORM, eps=EPS, alpha=(*AMOUNT, None), random_start=FLAG, **SMOOTHING),
    "defenses.FGSMTraining": row(norm=NORM, eps=EPS, clean_weight=(*SHARE, 1, None), **SMOOTHING),
    "defenses.IBP": row(norm=(*NORM, "L2"), eps=EPS, kappa=(*SHARE, None)),
    "defenses.JPEG": row(quality=(0, 101, 2.5, True, "75", NAN, None)),
    "defenses.MART": row(attack=(3, None, "pgd", attacks.PGD), beta=(*AMOUNT, None)),
    "defenses.NFGSM": row(norm=NORM, eps=EPS, spread=(*AMOUNT, None), alpha=(*AMOUNT, None), **SMOOTHING),
    "defenses.RSLAD": row(right=given(teacher=Lazy(net)), teacher=MODEL, attack=(3, None, "pgd", attacks.PGD),
        alpha=(*SHARE, None)),
    "defenses.TRADES": row(attack=(3, None, "pgd", attacks.PGD), beta=(*AMOUNT, None), **SMOOTHING),
    "defenses.AugMixJSD": row(
        objective=(3, None, "trades"), weight=(*AMOUNT, None), severity=(*COUNT, 11, None), width=(*COUNT, None)
    ),
    "defenses.Augmentation": row(
        right=given(steps=()), steps=(3, None, "flip", [3], ("flip",)), bounds=BOUNDS, classes=(-1, 2.5, True, None)
    ),
    "defenses.BitDepth": row(bits=(0, 17, 2.5, True, "4", NAN, None)),
    "defenses.Ensemble": row(
        right=given(members=[CLASSIFIER.make(), CLASSIFIER.make()]),
        members=(None, 3, [], [3], "cnn", [net, None]),
        rule=("mean", None, 3),
        weights=([1], [1, -1], [0, 0], "ab", [NAN, 1], 3, [INF, 1], [True, False]),
    ),
    "defenses.Free": row(m=(*COUNT, None), norm=NORM, eps=EPS, step=(*AMOUNT, None), **SMOOTHING),
    "defenses.GradAlign": row(objective=(3, None, "fgsm-rs"), weight=(*AMOUNT, None)),
    "defenses.Isotonic": row(right=given(model=CLASSIFIER), model=MODEL, no_such=(1,), x=(3,)),
    "defenses.Logits": row(right=given(classifier=CLASSIFIER), classifier=MODEL),
    "defenses.MedianBlur": row(size=(0, 2, -3, 2.5, True, "3", None)),
    "defenses.PGDTraining": row(attack=(3, None, "pgd", attacks.PGD), **SMOOTHING),
    "defenses.Recipe": row(
        epochs=COUNT, batch_size=COUNT, optimizer=("sdg", 3, None), lr=(*AMOUNT, 0, None), momentum=SHARE,
        nesterov=(3, "maybe"),
        weight_decay=AMOUNT, clip=(*AMOUNT, 0), schedule=("cos", None), milestones=("x", 3, [NAN]),
        average=("swaa", None),
        precision=("fp8", None), held_out=(*SHARE, 0.9), patience=COUNT, minutes=AMOUNT, seed=(*INTEGER, -1, None),
    ),
    "defenses.Smoothed": row(
        right=given(model=CLASSIFIER, sigma=0.1), model=MODEL, sigma=(*AMOUNT, 0, None), draws=(*COUNT, None), seed=SEED
    ),
    "defenses.Standard": row(**SMOOTHING),
    "defenses.Temperature": row(
        right=given(model=CLASSIFIER), model=MODEL, temperature=(*AMOUNT, 0, None), no_such=(1,)
    ),
    "defenses.VectorScaling": row(right=given(model=CLASSIFIER), model=MODEL, no_such=(1,), scale=(3, "x", [NAN] * 3)),
    "defenses.calibrate": row(
        right=given(model=CLASSIFIER, x=X, y=Y), **PLACE, method=("temprature", 3, None), batch_size=(*COUNT, None)
    ),
    "defenses.certified_accuracy": row(
        right=lambda: {"certificates": certificates(), "y": Y, "radii": [0.0, 0.1]},
        certificates=(None, 3),
        y=(*TENSOR, Y[:4], Y.float() + 0.5),
        radii=(None, 3, "ab", [NAN], [-1], ["x"], [True]),
    ),
    "defenses.certified_radius": row(
        right=given(votes=90, n=100, sigma=0.5), votes=(-1, 101, 2.5, True, "9", NAN, None), n=(*COUNT, None),
        sigma=(*AMOUNT, 0, None), alpha=(*SHARE, 0, 1, None),
    ),
    "defenses.create": row(
        right=given(spec="trades"), norm=NORM, eps=EPS,
        spec=(*TEXT, "tradez", "", "trades:beta", "trades:betta=3", "trades:beta=-1", "trades+awp", "awp",
              "trades:steps=0"),
    ),
    "defenses.create_augmentation": row(
        right=given(spec="flip"), spec=(*TEXT, "flop", "flip:p=2", "flip:q=1", ""), bounds=BOUNDS,
        classes=(-1, 2.5, True, None)
    ),
    "defenses.fit": row(
        lambda **arguments: defenses.fit(**{"epochs": 1, "held_out": 0.0, "select": "last", **arguments}),
        right=lambda: {"classifier": Classifier(fresh()), "x": X, "y": Y, "objective": defenses.Standard()},
        classifier=(None, 3, "cnn"),
        x=(*TENSOR, X[:0], X * NAN, X * 300, X.long(), X[:4]),
        y=(*TENSOR, Y[:4], Y.float() + 0.5, -Y - 1, Y + 90),
        objective=(None, 3, "trades", defenses.TRADES),
        recipe=(3, "fast", {"epochs": 1}),
        ids=(3, IDS[:4], "ids", IDS * 0, IDS.float() + 0.5),
        attack=(3, "pgd"),
        augment=("flop", 3),
        folder=FOLDER,
        resume=FLAG,
        about=(3, ["a"]),
        progress=FUNCTION,
        epochs=COUNT,
        epocs=(3,),
    ),
    "defenses.fit_weights": row(
        right=given(members=[CLASSIFIER.make(), CLASSIFIER.make()], x=X, y=Y), members=(None, [], 3, [3]), x=PLACE["x"],
        y=PLACE["y"], rule=("mean", None), batch_size=(*COUNT, None),
    ),
    "defenses.fresh_copies": row(
        right=given(model=Lazy(net), count=2), model=(None, 3, "cnn"), count=(*COUNT, None), seed=SEED
    ),
    "defenses.out_of_fold": row(
        right=lambda: {
            "classifier": Classifier(fresh()), "x": X, "y": Y, "folds": 2,
            "recipe": defenses.Recipe(epochs=1, held_out=0.0),
        },
        classifier=MODEL, x=PLACE["x"], y=PLACE["y"], groups=(3, "x", [1, 2], Y[:4].numpy()), folds=(*COUNT, 1, None),
        objective=(3, "trades"), recipe=(3, "fast", {"epochs": 1}), progress=FUNCTION,
    ),
    "defenses.snapshots": row(
        right=given(model=Lazy(net), files=[]), model=(None, 3), files=(None, 3, "w.pt", ["no-such.pt"], [3]),
    ),
    "evaluate_union": row(
        right=given(classifier=CLASSIFIER, data=(X, Y), threats=[("Linf", 0.1), ("L2", 0.1)], attacks="fgsm"),
        classifier=MODEL,
        data=DATA,
        threats=(None, 3, [], "Linf", [("Linf", 0.1)], [("Linf", 0.1), "L2"], [("Linf", 0.1), ("L3", 1)]),
        attacks=(None, 3, [], "autoatack", ["pdg"], [None], {}),
        options=({"until": 0.1}, {"norm": "L2"}),
    ),
    "evaluate": row(
        lambda **arguments: robustkit.evaluate(**{"accelerate": False, **arguments}),
        right=given(classifier=CLASSIFIER, data=(X, Y), attacks=WEAK),
        **EVALUATE,
        expected_clean_accuracy=SHARE,
        until=(*SHARE, 0, 1),
        budget=(*AMOUNT, 0),
        accelerate=FLAG,
        progress=FUNCTION,
        examples=(-1, 2.5, True, "3", None),
        evidence=FLAG,
        shard=((2, 2), (-1, 2), 3, "1/2", (0.5, 2), (0, 0), (0, 1, 2), (True, 2)),
        folder=FOLDER,
        finished=(3, "here", [3]),
        probes=(-1, 2.5, True, "3", None),
        tuning=(3, "cifar10"),
    ),
    "evaluation.merge_evaluations": row(
        right=lambda: {"shards": [evaluation()]}, shards=(None, 3, [], [3], "shards", Lazy(lambda: [evaluation()] * 2))
    ),
    "evaluation.minimal_distances": row(
        right=given(classifier=CLASSIFIER, data=(X, Y), attacks=[attacks.FMN(norm="L2", eps="inf", steps=1)]),
        **{**EVALUATE, "attacks": (None, 3, [], "fmm", [attacks.PGD()], [attacks.FMN], [3])},
        folder=FOLDER,
        finished=(3, "here", [3]),
    ),
    "evaluation.security_curve": row(
        right=given(classifier=CLASSIFIER, data=(X, Y), attacks=WEAK, radii=["1/255"]),
        **{**EVALUATE, "attacks": ATTACKS[:-2]},
        radii=(None, 3, [], "8/255", [NAN], [-1], ["x"], [0.1, 0.1], [True], [None]),
        progress=FUNCTION,
        folder=FOLDER,
        finished=(3, "here", [3]),
    ),
    "loading.load_data": row(
        right=given(spec="digits"), spec=(None, 3, "", "digitz", "no.such:data", ["digits"]), root=(3, ["x"]),
        split=("tset", 3, None), image_size=COUNT,
    ),
    "loading.load_model": row(
        right=given(spec="cnn", input_shape=(1, 8, 8), num_classes=10),
        spec=(None, 3, "", "cnnn", "torchvision:resnet19", "no.such:model", ["cnn"]),
        weights=(3, "no-such.pt", ["w.pt"]),
        input_shape=(3, "188", (1, 0, 8), (1, 2.5, 8), (), (True, 8, 8), ("1", "8", "8")),
        num_classes=(*COUNT, 1),
        trust_checkpoint=FLAG,
        weights_key=(3, ["ema"]),
    ),
    **{
        f"maths.{name}": row(
            right=given(confidence=[0.5, 0.9], correct=[0, 1]),
            confidence=(None, 3, "x", [0.5], [0.5, 1.5], [0.5, NAN], [], [[0.5, 0.9]]),
            correct=(None, 3, "x", [0], [0, 2], [0, NAN], []),
            **({} if name == "aurc" else {"bins": (*COUNT, None)}),
        )
        for name in ("ece", "adaptive_ece", "mce", "aurc")
    },
    **{
        f"maths.{name}": row(
            right=given(probabilities=P, labels=Y.numpy()),
            probabilities=(None, 3, "x", P[:4], P * 2, P * NAN, P[0], [], -P),
            labels=(None, 3, "x", [0], Y.numpy() + 5, Y.numpy() + 0.5, []),
            **({"bins": (*COUNT, None)} if name == "classwise_ece" else {}),
        )
        for name in ("brier", "nll", "classwise_ece")
    },
    "maths.bootstrap": row(
        right=given(statistic=lambda weights: weights.sum(axis=1), n=4, resamples=3), statistic=(None, 3),
        n=(*COUNT, None),
        resamples=(*COUNT, None), seed=(*SEED, -1), level=LEVEL, clusters=(3, [1, 2], "ab", ["a"] * 3),
    ),
    "maths.confidence_sequence": row(
        right=given(k=3, n=4), k=(-1, 5, 2.5, NAN, "3", None, True), n=(-1, 2, 4.5, NAN, "4", None), level=LEVEL
    ),
    "maths.difference_interval": row(
        right=given(b=1, c=2, n=9), b=(-1, 9, 2.5, NAN, "3", None, True), c=(-1, 9, 2.5, None),
        n=(-1, 2, 4.5, NAN, "4", None),
        level=LEVEL,
    ),
    "maths.half_width": row(
        right=given(p=0.5, n=10, method="wilson"), p=(*SHARE, None), n=(*COUNT, None), method=("wald", None, 3),
        level=LEVEL
    ),
    "maths.holm": row(right=given(p_values=[0.1, 0.5]), p_values=(None, 3, "ab", [NAN], [1.5], [-0.1], ["x"], [True])),
    "maths.mcnemar": row(right=given(b=1, c=2), b=(-1, 2.5, NAN, "3", None, True), c=(-1, 2.5, NAN, "3", None)),
    "maths.measure": row(
        right=given(confidence=[0.5, 0.9], correct=[0, 1], nll=[1.0, 0.1], brier=[0.5, 0.1], resamples=3),
        confidence=(None, 3, "x", [0.5], [0.5, 1.5], [0.5, NAN], []),
        correct=(None, "x", [0], [0, 2]),
        nll=(None, "x", [0.1], [-1, 0.1], [NAN, 1]),
        brier=(None, "x", [0.1], [3, 0.1]),
        bins=(*COUNT, None),
        resamples=(*COUNT, None),
        seed=(*SEED, -1),
    ),
    "maths.one_sided": row(right=given(k=3, n=4), k=(-1, 5, 2.5, NAN, "3", None, True), n=(-1, 2, 4.5, None),
        level=(*LEVEL, 0.5)),
    "maths.paired": row(
        right=given(both=3, b=1, c=2, n=9), both=(-1, 9, 2.5, NAN, "3", None, True), b=(-1, 2.5, None),
        c=(-1, 2.5, None),
        n=(-1, 3, 4.5, None), level=LEVEL,
    ),
    "maths.proportion": row(right=given(k=3, n=4), k=(-1, 5, 2.5, NAN, "3", None, True), n=(-1, 2, 4.5, None),
        level=LEVEL),
    "maths.samples_for_half_width": row(
        right=given(half=0.05), half=(*SHARE, 0, 0.5, None), p=(*SHARE, None), method=("wald", None), level=LEVEL
    ),
    "maths.samples_for_mcnemar": row(
        right=given(difference=0.1, discordance=0.2), difference=(*NUMBER, 0, 0.3, INF, None),
        discordance=(*SHARE, 0, None),
        power=(*SHARE, 0, 1, None), level=LEVEL,
    ),
    "maths.samples_to_decide": row(
        right=given(p=0.5, limit=0.3), p=(*SHARE, None), limit=(*SHARE, None), at_least=FLAG, level=(*LEVEL, 0.5)
    ),
    "model.Unpacked": row(
        right=given(model=Lazy(net), layout=Layout((Part("x", (4,), "float"),))), model=MODEL, layout=(None, 3, "x")
    ),
    "model.load_weights": row(
        lambda **arguments: robustkit.model.load_weights(**{"path": weights_file(), **arguments}),
        right=given(module=Lazy(net)), module=(None, 3, "cnn"), path=(3, None, ["w.pt"], "no-such.pt", ""),
        trust_checkpoint=FLAG,
        key=(3, ["ema"], "ema"),
    ),
    "probes.check_attack": row(
        right=given(attack=attacks.FGSM(eps=0.1)), attack=(None, 3, "pgd", attacks.PGD, attacks.FGSM(eps=0)), seed=SEED
    ),
    "report.build_audit": row(
        right=lambda: {"evaluation": evaluation(), "classifier": classifier(), "name": "tiny"},
        evaluation=(None, 3), classifier=(None, 3, "cnn"), name=TEXT, source=(3,), weights=(3, "no-such.pt"),
        defences=("adv", 3, [3]),
        curve=(3,), distances=(3,), members=(3,), groups=(3,), hash_whole=FLAG,
    ),
    "report.build_report": row(
        right=lambda: {"audits": [audit()], "title": "tiny"}, audits=(None, 3, [], [3]), title=TEXT, command=(3,),
        seed=SEED,
        artefacts=(3, [3]), about=(3, "me"),
    ),
    "report.difference": row(
        right=given(clean=X[0].numpy(), adversarial=X[1].numpy(), bounds=(0, 1)),
        clean=(None, "x", X[0, :, :1].numpy()),
        adversarial=(None, "x"), bounds=BOUNDS,
    ),
    "report.from_json": row(
        lambda text, **rest: robustkit.report.from_json(text() if isinstance(text, Lazy) else text, **rest),
        right=lambda: {"text": robustkit.report.to_json(report())}, text=(None, 3, "", "{}", "[]", "no json", "{" * 3),
    ),
    "report.load": row(right=lambda: {"path": saved() + "/report.json"}, path=(None, 3, "no-such.json", "", ["x"])),
    "report.log_report": row(
        logged, right=lambda: {"report": saved() + "/report.json", "tracker": "mlflow"},
        report=(None, 3, "no-such.json", "", ["x"]), tracker=(None, 3, "mlfow"), name=(3, "other"),
    ),
    "report.picture": row(right=given(x=X[0].numpy(), bounds=(0, 1)), x=(None, "x"), bounds=BOUNDS),
    "report.read_about": row(right=lambda: {"path": about_file()}, path=(None, 3, "no-such.toml", "", ["x"])),
    "report.render_html": row(right=given(report=Lazy(report)), report=(None, 3, "report"), own=(3, [3], "s")),
    "report.render_markdown": row(right=given(report=Lazy(report)), report=(None, 3, "report")),
    "report.report_card": row(right=given(report=Lazy(report)), report=(None, 3, "report")),
    "report.result_sha256": row(right=lambda: {"audits": [audit()]}, audits=(None, 3, [3])),
    "report.save": row(right=lambda: {"report": report(), "path": new_name() + ".json"}, report=(None, 3),
        path=(None, 3, "", ["x"])),
    "report.to_json": row(right=given(report=Lazy(report)), report=(None, 3, "report")),
    "shift.corrupt": row(
        right=given(x=X, name="contrast", severity=1, ids=IDS), x=(None, 3, "x", X[0], X * NAN, X * 300, X.long()),
        name=("contrasd", 3, None), severity=(*COUNT, 6, None), ids=(None, 3, IDS[:4], "ids"), seed=SEED,
    ),
    **{
        f"plots.{name}": row(right=given(evaluation=Lazy(searched)), evaluation=(None, 3, "report"), **more)
        for name, more in {
            "reliability": {"ax": AXES, "attacked": (1, "yes")},
            "confusion": {"ax": AXES, "attacked": (1, "yes", None), "class_names": NAMED},
            "per_class": {"ax": AXES, "class_names": NAMED},
            "gallery": {"ax": AXES, "class_names": NAMED},
            "margins": {"ax": AXES},
            "convergence": {"ax": AXES},
            "overview": {"class_names": NAMED},
        }.items()
    },
    "plots.corruptions": row(right=given(shift=Lazy(shift)), shift=(None, 3, "shift"), ax=AXES),
    "plots.distances": row(right=given(found=Lazy(searched)), found=(None, 3, "found"), ax=AXES),
    "plots.robustness_curve": row(right=given(curves=Lazy(curve)), curves=(None, 3, {}, {"a": 3}), ax=AXES),
    "plots.training": row(right=given(found=Lazy(trained)), found=(None, 3, "no-such"), ax=AXES),
    "shift.evaluate_shift": row(
        right=given(classifier=CLASSIFIER, data=(X, Y), corruptions=["contrast"], severities=[1]),
        **{k: v for k, v in EVALUATE.items() if k != "attacks"},
        corruptions=("contrast", ["contrasd"], [], 3, [3]),
        severities=(None, 3, [], [0], [6], [2.5], "12", [True]),
        folder=FOLDER, progress=FUNCTION,
    ),
    "shift.load_corrupted": row(
        right=lambda: {"folder": corrupted_folder(), "corruption": "contrast", "severity": 1},
        folder=(*FOLDER, None, "no-such"),
        corruption=("contrasd", 3, None), severity=(*COUNT, 6, None),
    ),
    "shift.spatial_grid": row(
        right=given(classifier=CLASSIFIER, x=X, y=Y, rotations=3, shifts=1),
        classifier=MODEL, x=PLACE["x"], y=PLACE["y"], max_degrees=(*AMOUNT, 200, None), max_shift=(*AMOUNT, None),
        rotations=(*COUNT, None), shifts=(*COUNT, None), batch_size=(*COUNT, None),
    ),
    "testing.assert_robust": row(
        lambda requirement, **arguments: robustkit.testing.assert_robust(
            arguments.pop("model"), arguments.pop("data"), requirement, **arguments
        ),
        right=given(model=CLASSIFIER, data=(X, Y), requirement="robust_accuracy>=0", attacks=WEAK),
        model=MODEL, data=DATA,
        requirement=(None, 3, "", "robust_acuracy>=0.5", "robust_accuracy", "robust_accuracy>=x"),
        baseline=(*FOLDER, "no-such"),
        eps=EPS, norm=NORM, attacks=ATTACKS[1:], limit=COUNT, batch_size=(*COUNT, None), seed=SEED,
    ),
    "report.About": row(purpose=(3, ["x"]), party=("me", 3), signoff=(3, "me")),
    "report.SignOff": row(name=(3,), date=(3,)),
    "report.Section": row(right=given(title="Mine", rows=lambda report: []), title=TEXT, rows=(None, *FUNCTION)),
    "shift.Baseline": row(
        right=given(name="mine", clean=0.1, errors={"contrast": [0.5] * 5}), name=TEXT, clean=(*SHARE, None),
        errors=(None, 3, ["contrast"], {"contrasd": [0.5] * 5}, {"contrast": 0.5}, {"contrast": [NAN] * 5},
                {"contrast": [50.0] * 5}),
    ),
}  # fmt: skip

# What nobody calls: errors to catch, classes to derive from, and records that robustkit writes and people read.
ERRORS = {"ConfigurationError", "InvalidEvaluation", "RobustkitError", "defenses.Diverged"}
BASES = {"attacks.Attack", "defenses.Objective"}
RECORDS = {
    *("Evaluation", "attacks.Adversarial", "attacks.UniversalPatch", "bundle.Bundle"),
    *("checks.Diagnostic", "data.Cleaning", "data.Feature", "data.Issue", "data.Schema"),
    *("defenses.Epoch", "defenses.Minibatch"),
    *("bundle.Check", "bundle.Mismatch", "bundle.Verification", "probes.Finding", "shift.Shift", "shift.Spatial"),
    *("maths.Calibration", "maths.Paired", "maths.Proportion"),
    *(f"report.{name}" for name in robustkit.report.__all__ if name[0].isupper() and name not in
      ("SCHEMA", "About", "SignOff", "Section", "Diagnostic")),
}  # fmt: skip


def public() -> dict[str, Any]:
    """Returns every public callable by the first of its names."""
    found: dict[int, tuple[str, Any]] = {}
    for name in robustkit.__all__:
        value = getattr(robustkit, name)
        inside = [(f"{name}.{n}", getattr(value, n)) for n in value.__all__] if inspect.ismodule(value) else []
        for known, one in inside or [(name, value)]:
            if callable(one):
                found.setdefault(id(one), (known, one))
    return dict(found.values())


PUBLIC = public()


def test_every_public_callable_has_a_row():
    without = {
        name for name, value in PUBLIC.items() if inspect.isfunction(value) and not inspect.signature(value).parameters
    }
    assert PUBLIC.keys() - without == ROWS.keys() | ERRORS | BASES | RECORDS
    assert all(issubclass(PUBLIC[name], Exception) for name in ERRORS)
    assert all(inspect.isabstract(PUBLIC[name]) for name in BASES)
    assert all(dataclasses.is_dataclass(PUBLIC[name]) for name in RECORDS)


@pytest.mark.parametrize("name", ROWS)
def test_the_right_arguments_are_accepted(name):
    call(name)


@pytest.mark.parametrize("name", ROWS)
def test_every_wrong_argument_ends_in_one_line(name):
    ends = {
        f"{argument}={value!r}": how_it_ends(name, argument, value() if isinstance(value, Lazy) else value)
        for argument, values in ROWS[name].wrong.items()
        for value in values
    }
    form = re.compile(r"[^\n]+?: expected [^\n]+, (got|found) [^\n]+; [^\n]+")
    assert {change: end for change, end in ends.items() if not form.fullmatch(end)} == {}


def how_it_ends(name: str, argument: str, value: Any) -> str:
    try:
        call(name, **{argument: value})
    except RobustkitError as error:
        return str(error)
    except Exception as error:
        return repr(error)
    return "accepted"


def test_there_are_enough_wrong_arguments():
    assert sum(len(values) for one in ROWS.values() for values in one.wrong.values()) > 3000


ACCEPTED: dict[str, tuple[Callable[[], Any], Any]] = {
    "NumPy integer": (lambda: attacks.PGD(steps=np.int64(3)).steps, 3),
    "torch integer": (lambda: attacks.PGD(steps=torch.tensor(3)).settings()["steps"], 3),
    "NumPy number": (lambda: attacks.PGD(share=np.float64(0.5)).share, 0.5),
    "NumPy eps": (lambda: attacks.PGD(eps=np.float64(0.5)).settings()["eps"], 0.5),
    "torch eps": (lambda: attacks.PGD(eps=torch.tensor(0.5)).settings()["eps"], 0.5),
    "NumPy truth value": (lambda: attacks.PGD(random_start=np.bool_(False)).random_start, False),
    "bounds as a list": (lambda: Classifier(net(), bounds=[0, 1]).bounds, (0.0, 1.0)),
    "bounds as an array": (lambda: Classifier(net(), bounds=np.array([0, 255])).bounds, (0.0, 255.0)),
    "NumPy batch size": (lambda: [len(b) for b in robustkit.data.batches((X, Y), np.int64(4))], [4, 2]),
    "sums as counts": (lambda: robustkit.maths.proportion(np.float64(3.0), 4).k, 3),
    "a protocol as text": (lambda: as_protocol("autoattack:eps=1/255", lambda: 3).label, "autoattack (adapted)"),
    "an attack as text": (lambda: str(attempt("noise:restarts=1,eps=1/255").protocol.attacks[0].eps), "1/255"),
    "attacks as texts": (lambda: len(attempt(["noise:eps=1/255", "fgsm:eps=1/255"]).runs), 2),
    "one attack": (lambda: attempt(WEAK[0]).fingerprint == evaluation().fingerprint, True),
    "NumPy arrays": (lambda: same_ledger(attempt(WEAK, data=(X.numpy(), Y.numpy()))), True),
    "ids as a list": (lambda: same_ledger(attempt(WEAK, data=(X, Y, [0, 1, 2, 3, 4, 5]))), True),
    "an attack on arrays": (lambda: same_points(X.numpy(), Y.numpy(), ids=[0, 1, 2, 3, 4, 5]), True),
}  # fmt: skip


@pytest.mark.parametrize("kind", ACCEPTED)
def test_what_is_plain_is_accepted_for_what_it_means(kind):
    make, right = ACCEPTED[kind]
    found = make()
    assert found == right
    assert type(found) is type(right)


def attempt(what: Any, data: Any = None) -> Any:
    return call("evaluate", attacks=what, **({} if data is None else {"data": data}))


def same_ledger(found: Any) -> bool:
    return bool(found.ledger.to_csv() == evaluation().ledger.to_csv())


def same_points(x: Any, y: Any, ids: Any) -> bool:
    attack = attacks.Noise(eps="1/255", restarts=1)
    return torch.equal(attack(classifier(), x, y, ids=ids).x_adv, attack(classifier(), X, Y).x_adv)


def test_one_attack_on_tensors_refuses_what_does_not_fit():
    attack = attacks.Noise(eps="1/255", restarts=1)
    wrong = [{"x": "x"}, {"y": Y[:4]}, {"ids": 3}, {"ids": [0.5] * 6}, {"batch_size": 2.5}, {"seed": "0"}, {"model": 3}]
    for change in wrong:
        with pytest.raises(RobustkitError):
            attack(**{"model": classifier(), "x": X, "y": Y, **change})


def call(name: str, /, **changes: Any) -> Any:
    one = ROWS[name]
    return (one.call or PUBLIC[name])(**{**one.right(), **changes})
