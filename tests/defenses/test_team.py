"""Training by two processes."""

from __future__ import annotations

import pair as script
import pytest
import torch
from pair import CASES, WITH_BATCH_NORM, torchrun, train

# Sums are taken in another order, which moves float64 weights by 4e-15 at most in these ten to twenty updates; a row
# that counts wrongly moves them by 1e-3 and more. There is room for other machines in between.
LIKE = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What two processes found, what each of them says about it, and their folder."""
    folder = tmp_path_factory.mktemp("pair")
    train("free", folder=folder / "begun by one", stop_after=1)
    run = torchrun(script.__file__, folder, cwd=folder)
    assert run.returncode == 0, run.stderr
    found, everybody = torch.load(folder / "found.pt", weights_only=True)
    return found, everybody, folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_to_the_weights_of_one(pair, name):
    alone, result = train(name)
    torch.testing.assert_close(pair[0][name], alone, **LIKE)
    losses = torch.tensor([epoch.loss for epoch in result.epochs], dtype=torch.float64)
    torch.testing.assert_close(pair[0][f"{name} losses"], losses, **LIKE)


def test_both_processes_end_with_the_same_bits_with_batch_norm_too(pair):
    (first, _), (second, _) = pair[1]
    assert first == second
    assert len(first) == len(CASES) + len(WITH_BATCH_NORM)


def test_another_number_of_processes_goes_on_from_a_checkpoint(pair):
    straight, _ = train("free")
    torch.testing.assert_close(pair[0]["resumed by two"], straight, **LIKE)
    resumed, _ = train("free", folder=pair[2] / "half", resume=True)
    torch.testing.assert_close(resumed, straight, **LIKE)


def test_all_stop_when_the_clock_of_the_first_says_so(pair):
    assert [stopped for _, stopped in pair[1]] == ["0 minutes are over"] * 2
