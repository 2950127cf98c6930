"""What an attack must say about itself, and what a type checker and a loss of one's own are told."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from nets import smooth_cnn

from robustkit.attacks import APGD, DDN, FGSM, FMN, MIFGSM, PGD, Attack, Noise, Square, create
from robustkit.attacks.protocols import custom
from robustkit.attacks.rows import Rows
from robustkit.base.errors import ConfigurationError
from robustkit.maths.losses import cross_entropy, margin

ROOT = Path(__file__).parent.parent.parent
X, Y = (
    torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    torch.tensor([0, 1, 2, 0]),
)


def climb(self, problem, rows):
    return rows.having(logits=problem.logits(rows, rows.x_adv), x_adv=(rows.x_adv + 0.01).clamp(rows.lower, rows.upper))


def begin(self, problem, rows):
    return rows.having(x_adv=rows.x)


def attack(**body):
    facts = {"name": "mine", "source": "this test", "start": begin, "__module__": __name__, **body}
    kind = type("Mine", (Attack,), {key: value for key, value in facts.items() if value is not None})
    return dataclass(frozen=True, kw_only=True)(kind)


def test_steps_under_another_name_are_refused_where_the_class_is_defined():
    with pytest.raises(ConfigurationError, match="attack Mine: expected the number of steps beside `step`"):
        attack(step=climb, iterations=5, __annotations__={"iterations": "int"})
    with pytest.raises(ConfigurationError, match="a field `steps: int`"):
        attack(step=climb, steps=5.0, __annotations__={"steps": "float"})


@pytest.mark.parametrize("kind", ["int", int])
def test_a_field_of_steps_is_how_many_are_made(kind):
    mine = attack(step=climb, steps=5, __annotations__={"steps": kind})(steps=3)
    assert mine.steps_per_start == 3
    found = mine(smooth_cnn(), X, smooth_cnn()(X).argmax(1))
    assert found.steps[~found.success].eq(4).all()


def test_a_property_is_as_good_as_a_field():
    assert attack(step=climb, steps_per_start=property(lambda self: 2))().steps_per_start == 2


def test_an_attack_without_step_makes_none_whatever_its_fields_are_called():
    assert attack(steps=5, __annotations__={"steps": "int"})().steps_per_start == 0
    assert Noise().steps_per_start == 0


def test_an_attack_that_adds_to_another_need_not_say_its_steps_again():
    @dataclass(frozen=True, kw_only=True)
    class Longer(PGD):
        name: ClassVar[str] = "longer"

        def step(self, problem, rows):
            return super().step(problem, rows)

    assert Longer(steps=7).steps_per_start == 7


@pytest.mark.parametrize("fact", ["name", "source"])
def test_an_attack_without_name_or_source_is_refused(fact):
    with pytest.raises(ConfigurationError, match=f"attack Mine: expected a {fact}, got none; add `{fact}: ClassVar"):
        attack(**{fact: None})


# --- rows


def test_an_attack_reads_its_own_tensors_by_name():
    rows = Rows(x=X).having(momentum=2 * X)
    assert rows["momentum"].equal(2 * X)
    assert rows["x"] is rows.x
    with pytest.raises(KeyError, match="no tensor called 'momentun'; there are x, momentum"):
        rows["momentun"]


def test_a_misspelt_tensor_is_an_error_of_types(tmp_path):
    pytest.importorskip("mypy", reason="mypy is in the extra dev")
    (tmp_path / "mine.py").write_text(
        "from robustkit.attacks.rows import Rows\n\n"
        "def right(rows: Rows) -> object:\n    return rows.x_adv, rows.ids, rows['momentum']\n\n"
        "def wrong(rows: Rows) -> object:\n    return rows.x_avd\n"
    )
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports = skip\n[mypy-robustkit.attacks.rows]\nfollow_imports = silent\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary", "mine.py"]
    checked = subprocess.run(
        command, cwd=tmp_path, env={"MYPYPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    (error,) = checked.stdout.splitlines()  # how it words its guess depends on its version
    assert error.startswith('mine.py:7: error: "Rows" has no attribute "x_avd"; maybe'), checked.stdout
    assert "x_adv" in error


# --- a loss of one's own


def my_margin(z, y):
    return margin(z, y)


@pytest.mark.parametrize("kind", [APGD, FGSM, MIFGSM, PGD, Square, FMN, DDN])
def test_a_function_is_a_loss_like_the_named_one(kind):
    settings = {"queries": 9} if kind is Square else {} if kind is FGSM else {"steps": 4}
    net = smooth_cnn().eval()
    mine, named = kind(loss=my_margin, **settings)(net, X, Y), kind(loss="margin", **settings)(net, X, Y)
    assert mine.x_adv.equal(named.x_adv)


def test_a_loss_of_ones_own_is_told_by_its_address():
    mine = PGD(loss=my_margin)
    address = f"{my_margin.__module__}:my_margin"
    assert mine.settings()["loss"] == address
    assert f"loss={address}" in repr(mine)
    assert json.loads(json.dumps(mine.settings())) == mine.settings()
    assert APGD(loss=my_margin).label == "apgd-my_margin"
    assert mine == PGD(loss=my_margin) != PGD(loss="margin")
    assert custom([mine]).fingerprint() != custom([PGD(loss="margin")]).fingerprint()


def test_a_loss_can_be_named_by_its_address_in_a_text():
    named = create("pgd:steps=3,loss=robustkit.maths.losses:cross_entropy")
    assert named == PGD(steps=3, loss=cross_entropy)
    with pytest.raises(
        ConfigurationError, match=r"loss 'robustkit.maths.losses:cros_entropy': expected 'cros_entropy'"
    ):
        create("pgd:loss=robustkit.maths.losses:cros_entropy")


def test_an_address_among_recorded_settings_is_a_text_and_loads_nothing():
    with pytest.raises(ConfigurationError, match=r"loss: expected one of ce, margin, dlr, got 'no.such:loss'"):
        PGD(loss="no.such:loss")


def test_a_loss_that_returns_no_direction_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"lonely: expected the loss of every row and its gradient .* got Tensor"
    ):
        PGD(steps=1, loss=lonely)(smooth_cnn(), X, Y)
    with pytest.raises(ConfigurationError, match=r"of shapes \(4,\) and \(4, \d+\), got tuple of"):
        PGD(steps=1, loss=lambda z, y: (z, y))(smooth_cnn(), X, Y)


def lonely(z, y):
    return torch.nn.functional.cross_entropy(z, y, reduction="none")
