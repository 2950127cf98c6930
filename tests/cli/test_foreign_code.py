"""Exceptions of users' code are theirs, an attempt to leave is an error, and a bug of ours has its own exit code."""

from __future__ import annotations

import sys

import pytest
from complaints import complaint

from robustkit.base.errors import ConfigurationError
from robustkit.base.exit_codes import ExitCode
from robustkit.base.foreign_code import foreign, raised_by
from robustkit.base.registry import load
from robustkit.cli import run

MODELS = """
import torch
from torch import nn

class Raises(nn.Module):
    def __init__(self, error, after=0):
        super().__init__()
        self.layer, self.error, self.left = nn.Linear(64, 10), error, after

    def forward(self, x):
        self.left -= len(x)
        if self.left < 0:
            raise self.error
        return self.layer(x.flatten(1))

def leaves(): return Raises(SystemExit(0))
def divides(): return Raises(ZeroDivisionError("oops"))
def later(): return Raises(FileNotFoundError("no such table"), after=100)
def lazy(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
def table():
    for i in range(70):
        if i == 65:
            raise KeyError("row 65")
        yield torch.rand(1, 8, 8), 0
"""


@pytest.fixture
def models(case):
    (case / "raising.py").write_text(MODELS)
    yield case
    sys.modules.pop("raising", None)


AUDIT = ["--data", "digits.npz", "--eps", "0.1", "--attack", "fgsm", "--probes", "0"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("leaves", "the model: expected a result, but it raised SystemExit: 0 to leave the process"),
        ("divides", "the model raised ZeroDivisionError: oops; repair it (--debug shows where)"),
        ("later", "the model raised FileNotFoundError: no such table; repair it (--debug shows where)"),
    ],
)
def test_what_a_model_raises_is_one_line_that_says_so(models, capsys, model, message):
    assert message in complaint(capsys, ["audit", f"raising:{model}", *AUDIT, "--batch-size", "20"], ExitCode.USAGE)


def test_debug_shows_the_traceback_of_the_model_wherever_it_stands(models, capsys):
    for words in (["--debug", "audit", "raising:divides", *AUDIT], ["audit", "raising:divides", *AUDIT, "--debug"]):
        assert run(words) == ExitCode.USAGE
        err = capsys.readouterr().err
        assert "raising.py" in err
        assert "raise self.error" in err
        assert err.splitlines()[-1].startswith("robustkit: the model raised ZeroDivisionError: oops")


def test_what_the_data_raise_is_theirs(models, capsys):
    words = ["doctor", "nets_of_mine:cnn", "--data", "raising:table"]
    assert "the data raised KeyError: 'row 65'; repair it" in complaint(capsys, words, ExitCode.USAGE)


PLUG_INS = """
from dataclasses import dataclass
from typing import ClassVar

from robustkit.attacks import PGD
from robustkit.defenses import Objective

def loss(logits, goal):
    return {}[len(goal)]

@dataclass(frozen=True, kw_only=True)
class Broken(PGD):
    name: ClassVar[str] = "broken"
    source: ClassVar[str] = "this test"

    def step(self, problem, rows):
        return rows.having(x_adv=self.nothing)

@dataclass(frozen=True, kw_only=True)
class Lost(Objective):
    name: ClassVar[str] = "lost"
    source: ClassVar[str] = "this test"

    def loss(self, classifier, batch, x_adv):
        return [][0]
"""


MEANT = ["--expected-clean-accuracy", "0.1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["audit", "--attack", "{}:Broken", *MEANT], "raised AttributeError: 'Broken' object has no"),
        (["audit", "--attack", "pgd:steps=2,loss={}:loss", *MEANT], "raised KeyError: "),
        (["train", "--objective", "{}:Lost", "--epochs", "1"], "raised IndexError: list index out of range"),
    ],
)
def test_what_a_plug_in_raises_is_theirs(models, capsys, words, message):
    module = f"plug_ins_{len(words[2])}"
    (models / f"{module}.py").write_text(PLUG_INS)
    command, *more = (word.format(module) for word in words)
    words = [command, "nets_of_mine:cnn", "--data", "digits.npz", "--eps", "0.1", *more]
    err = complaint(capsys, words, ExitCode.USAGE)
    assert f"robustkit: {module} {message}" in err
    assert "repair it (--debug shows where)" in err


def test_lazy_layers_get_their_parameters_from_the_first_sample(models, capsys):
    assert run(["audit", "raising:lazy", *AUDIT, "--limit", "8"]) == 0


def test_code_that_is_called_cannot_leave_and_is_remembered_otherwise():
    with pytest.raises(ConfigurationError, match=r"^it: expected a result, but it raised SystemExit: 3"), foreign("it"):
        raise SystemExit(3)
    with pytest.raises(ZeroDivisionError) as caught, foreign("outer"), foreign("inner"):
        raise ZeroDivisionError
    assert raised_by(caught.value) == "inner"
    with pytest.raises(KeyboardInterrupt), foreign("it"):
        raise KeyboardInterrupt
    assert raised_by(ZeroDivisionError()) is None


def test_a_module_of_ours_stays_ours_though_a_user_named_it():
    assert load("robustkit.maths.losses:lead", "loss")
    with pytest.raises(AttributeError) as caught:
        load("robustkit.maths.losses:lead", "loss")(None, None)
    assert raised_by(caught.value) is None


DATA = """
import torch, rows
from torch.utils.data import DataLoader, Dataset

class Rows(Dataset):
    def __len__(self): return 8
    def __getitem__(self, i): return torch.full((1, 8, 8), i / 8), rows.label(i)

def plain(): return Rows()
def loader(): return DataLoader(Rows(), 4, num_workers=1)
class Listed(Rows):
    @property
    def targets(self): return rows.label(7)
def listed(): return Listed()
"""


@pytest.mark.parametrize("source", ["plain", "loader", "listed"])
def test_a_data_set_that_raises_is_named_with_type_and_message_in_one_line(models, capsys, source):
    (models / "mydata.py").write_text(DATA)
    late = "i % 2 if i < 6 else 1 // 0"
    (models / "rows.py").write_text(f"def label(i): return {late}")
    words = ["audit", "mlp", "--data", f"mydata:{source}", *AUDIT[2:], "--limit", "4"]
    try:
        line = complaint(capsys, words, ExitCode.USAGE)
    finally:
        for name in ("mydata", "rows"):
            sys.modules.pop(name, None)
    assert "raised ZeroDivisionError: integer division or modulo by zero; repair it" in line
    assert "this is a bug" not in line


FULL = """
import torch
class Full(torch.nn.Module):
    def __init__(self, after):
        super().__init__()
        self.left, self.layer = after, torch.nn.Linear(64, 10)
    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.layer(x.flatten(1))
def full(): return Full(0)
def soon(): return Full(5)
"""


@pytest.mark.parametrize(
    "words", [["audit", "fills:full", *AUDIT], ["audit", "fills:soon", *AUDIT], ["train", "fills:soon", *AUDIT[:4]]]
)
def test_a_full_device_is_one_line_with_the_batch_size(models, capsys, words):
    (models / "fills.py").write_text(FULL)
    try:
        line = complaint(capsys, [*words, "--batch-size", "20"], ExitCode.USAGE)
    finally:
        sys.modules.pop("fills", None)
    assert "memory: expected room for batches of 20, got OutOfMemoryError: CUDA out of memory" in line
    assert "use --batch-size 5" in line
