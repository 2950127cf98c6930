"""`robustkit attacks`."""

from __future__ import annotations

from robustkit.attacks import ATTACKS
from robustkit.cli import run


def test_attacks_lists_every_attack(capsys):
    assert run(["attacks"]) == 0
    out = capsys.readouterr().out
    for name in ATTACKS:
        assert f"  {name} " in out
