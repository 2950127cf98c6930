"""Plug-ins and addresses: found, checked, and never in the way of anything else."""

import subprocess
import sys

import pytest
import torch
from plugins import install

from robustkit import attacks, defenses
from robustkit.attacks import PGD, create
from robustkit.attacks.protocols import get_protocol
from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.defenses import create_augmentation
from robustkit.loading.data import load_data
from robustkit.loading.model import load_model
from robustkit.shift.corruptions import corrupt

MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import torch
from torchvision.transforms import v2

from robustkit.attacks import FGSM, PGD, Attack
from robustkit.defenses import Objective
from robustkit.defenses.augment.steps import Step
from robustkit.model.small_models import create


@dataclass(frozen=True, kw_only=True)
class Up(Attack):
    """Moves every value up."""

    share: float = 1.0
    name: ClassVar[str] = "up"
    source: ClassVar[str] = "this test"

    def start(self, problem, rows):
        return rows.having(x_adv=rows.x.lerp(rows.upper, self.share))


@dataclass(frozen=True, kw_only=True)
class Impostor(PGD):
    """PGD under the name of PGD."""


@dataclass(frozen=True, kw_only=True)
class Clean(Objective):
    """Cross entropy."""

    weight: float = 1.0
    name: ClassVar[str] = "clean"
    source: ClassVar[str] = "this test"

    def loss(self, classifier, batch, x_adv):
        return self.weight * torch.nn.functional.cross_entropy(classifier.logits(x_adv), batch.y)


@dataclass(frozen=True, kw_only=True)
class Blur(Step):
    """Blurs."""

    size: int = 3
    name: ClassVar[str] = "blur"

    def transform(self, size, classes):
        return v2.GaussianBlur(self.size)


def darker(x, severity, draws):
    return x * (1 - severity / 10)


def protocol(norm, eps, classes):
    return [FGSM(norm=norm, eps=eps), Up(norm=norm, eps=eps)], []


def nothing(norm, eps, classes):
    return [], []


def net(hidden=8):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, hidden), torch.nn.Linear(hidden, 10))


def samples(count=20):
    from robustkit.loading.data import load_data

    x, y = zip(*(load_data("digits").source[i] for i in range(count)))
    return torch.stack(x), torch.stack(y)


def digits():
    model = net(64)
    x, y = samples(20)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()
'''


@pytest.fixture
def mine(in_folder, monkeypatch):
    """A module in the current directory, and everything in it as plug-ins of a distribution in `site`."""
    (in_folder / "things_of_mine.py").write_text(MODULE)
    names = {
        "attacks": {"up": "Up"},
        "objectives": {"clean": "Clean"},
        "augmentations": {"blur": "Blur"},
        "corruptions": {"darker": "darker"},
        "protocols": {"mine": "protocol"},
        "models": {"my-net": "net"},
        "datasets": {"few-digits": "samples"},
    }
    points = {group: {k: f"things_of_mine:{v}" for k, v in some.items()} for group, some in names.items()}
    install(in_folder / "site", "my-plugins", **points)
    monkeypatch.syspath_prepend(in_folder / "site")
    monkeypatch.syspath_prepend(in_folder)
    known = (attacks.KNOWN, defenses.KNOWN)
    for registry in known:
        monkeypatch.setattr(registry, "_loaded", {})
    yield in_folder
    sys.modules.pop("things_of_mine", None)


@pytest.mark.parametrize("up", ["up", "things_of_mine:Up"])
def test_an_attack_is_found_by_name_and_by_address(mine, up):
    attack = create(f"{up}:share=0.5", norm="Linf", eps=0.1)
    assert (attack.name, attack.share, attack.eps) == ("up", 0.5, 0.1)
    assert create(up) == type(attack)()


@pytest.mark.parametrize("where", ["{}", "things_of_mine:{}"])
def test_so_is_everything_else(mine, where):
    def named(plugin, address):
        return plugin if where == "{}" else where.format(address)

    assert defenses.create(f"{named('clean', 'Clean')}:weight=2").weight == 2
    assert defenses.create(f"awp+{named('clean', 'Clean')}").objective.name == "clean"
    assert create_augmentation(f"flip+{named('blur', 'Blur')}:size=5").steps[1].size == 5
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(corrupt(x, named("darker", "darker"), 5, torch.arange(3)), x / 2)
    name = named("mine", "protocol")
    protocol = get_protocol(name, norm="L2", eps=0.5, classes=10)
    assert [attack.name for attack in protocol.attacks] == ["fgsm", "up"]
    assert protocol.name == name
    assert load_model(f"{named('my-net', 'net')}:hidden=5")[1].out_features == 5
    assert len(load_data(f"{named('few-digits', 'samples')}:count=7").source[0]) == 7


def test_an_attack_of_ones_own_runs_from_the_command_line(mine, capsys):
    words = [
        "--data",
        "few-digits",
        "--protocol",
        "mine",
        "--quiet",
        "--probes",
        "0",
        "--classes",
        "10",
        "--no-evidence",
    ]
    assert run(["audit", "things_of_mine:digits", *words]) in (0, 3)
    audited = capsys.readouterr()
    assert "up" in audited.out
    assert "expected" not in audited.err
    assert run(["attacks"]) == 0
    shown = capsys.readouterr()
    assert "Moves every value up." in shown.out
    assert shown.err == ""


def test_names_of_ours_are_found_without_looking_for_plug_ins(monkeypatch):
    monkeypatch.setattr("robustkit.base.registry.entry_points", lambda **_: pytest.fail("looked"))
    assert create("pgd:steps=3").steps == 3
    assert defenses.create("trades").name == "trades"


def test_a_plug_in_never_takes_the_name_of_ours_and_the_list_says_so(in_folder, monkeypatch, capsys):
    (in_folder / "pgd_of_theirs.py").write_text("raise RuntimeError('loaded')\n")
    install(in_folder, "their-pgd", attacks={"pgd": "pgd_of_theirs:PGD"})
    monkeypatch.syspath_prepend(in_folder)
    assert type(create("pgd")) is PGD
    assert run(["attacks"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("robustkit: attack 'pgd' of their-pgd: expected a name of its own")
    assert "use pgd_of_theirs:PGD" in line


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "import no_such_module",
            "expected a plug-in that loads, got ModuleNotFoundError: No module named 'no_such_modu",
        ),
        ("raise SystemExit(1)", "expected a plug-in that loads, got SystemExit: 1; repair or uninstall it"),
        ("x = 1", "expected a plug-in that loads, got AttributeError"),
        ("Mine = 3", "expected a subclass of robustkit.attacks.Attack that has a start, got a int"),
        (
            "class Mine: name = 'mine'",
            "expected a subclass of robustkit.attacks.Attack that has a start, got the class Mine",
        ),
    ],
)
def test_a_broken_plug_in_is_told_in_a_line_and_breaks_nothing_else(in_folder, monkeypatch, capsys, body, message):
    (in_folder / "broken_of_theirs.py").write_text(body + "\n")
    install(in_folder, "their-attacks", attacks={"theirs": "broken_of_theirs:Mine"})
    monkeypatch.syspath_prepend(in_folder)
    with pytest.raises(ConfigurationError) as caught:
        create("theirs:steps=3")
    assert str(caught.value).startswith(f"attack 'theirs' of their-attacks: {message}")
    assert run(["attacks"]) == 0
    shown = capsys.readouterr()
    assert "Projected" in shown.out or "pgd" in shown.out
    assert len(shown.err.splitlines()) == 1
    assert create("pgd").name == "pgd"
    with pytest.raises(ConfigurationError, match="did you mean 'theirs'"):
        create("their")
    sys.modules.pop("broken_of_theirs", None)


def test_two_plug_ins_of_one_name_are_told_apart_by_address(in_folder, monkeypatch):
    install(in_folder, "first", attacks={"twice": "a:A"})
    install(in_folder, "second", attacks={"twice": "b:B"})
    monkeypatch.syspath_prepend(in_folder)
    with pytest.raises(ConfigurationError, match=r"attack 'twice' of .* and .*: expected one of that name, got 2; use"):
        create("twice")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("things_of_mine:Impostor", "expected a name of its own, got 'pgd'; rename it"),
        ("things_of_mine:Clean", "expected a subclass of robustkit.attacks.Attack"),
        ("things_of_mine:net", "got a function"),
        ("things_of_mine:Upp", "did you mean 'Up'"),
        ("things_of_mne:Up", "did you mean 'things_of_mine'"),
        ("things_of_mine:Up:sharp=1", "expected settings name=value, got 'sharp=1'; did you mean 'share'"),
    ],
)
def test_what_is_at_an_address_must_be_an_attack(mine, spec, message):
    with pytest.raises(ConfigurationError, match=message):
        create(spec)


def test_a_protocol_without_attacks_is_refused(mine):
    with pytest.raises(ConfigurationError, match="protocol 'things_of_mine:nothing': expected attacks, one or more"):
        get_protocol("things_of_mine:nothing", norm="Linf", eps=0.1, classes=10)


def test_our_own_classes_can_be_named_by_their_address():
    assert create("robustkit.attacks.pgd:PGD:steps=3") == PGD(steps=3)


def test_the_registry_needs_no_torch():
    code = "import sys, robustkit.base.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
