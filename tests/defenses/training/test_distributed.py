"""Training by two processes."""

from __future__ import annotations

import pair as script
import pytest
import torch
from pair import CASES, WITH_BATCH_NORM, torchrun, train

from robustkit.base.errors import ConfigurationError
from robustkit.base.processes import Ranks
from robustkit.defenses.base import Minibatch
from robustkit.defenses.training.distributed import Workers
from robustkit.model.classifier import Classifier

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


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_to_the_weights_of_one(pair, name):
    alone, result = train(name)
    torch.testing.assert_close(pair[0][name], alone, **LIKE)
    losses = torch.tensor([epoch.loss for epoch in result.epochs], dtype=torch.float64)
    torch.testing.assert_close(pair[0][f"{name} losses"], losses, **LIKE)


@pytest.mark.slow
def test_both_processes_end_with_the_same_bits_with_batch_norm_too(pair):
    (first, _), (second, _) = pair[1]
    assert first == second
    assert len(first) == len(CASES) + len(WITH_BATCH_NORM)


@pytest.mark.slow
def test_another_number_of_processes_goes_on_from_a_checkpoint(pair):
    straight, _ = train("free")
    torch.testing.assert_close(pair[0]["resumed by two"], straight, **LIKE)
    resumed, _ = train("free", folder=pair[2] / "half", resume=True)
    torch.testing.assert_close(resumed, straight, **LIKE)


@pytest.mark.slow
def test_all_stop_when_the_clock_of_the_first_says_so(pair):
    assert [stopped for _, stopped in pair[1]] == ["0 minutes are over"] * 2


def worker(rank, count):
    made = Workers(Classifier(torch.nn.Linear(2, 2)))
    made.ranks = Ranks(rank, count)
    return made


def batch(rows):
    return Minibatch(
        torch.arange(rows).view(-1, 1).float(), torch.arange(rows), torch.arange(rows), memory={"m": torch.ones(1)}
    )


@pytest.mark.parametrize(
    ("rows", "count", "owned", "shares"),
    [
        (8, 2, [[0, 2, 4, 6], [1, 3, 5, 7]], [0.5, 0.5]),
        (7, 2, [[0, 2, 4, 6], [1, 3, 5]], [4 / 7, 3 / 7]),
        (
            3,
            2,
            [[0, 1, 2], [0, 1]],
            [1.0, 0.0],
        ),  # BatchNorm needs two rows: the second process lends a hand for nothing
        (4, 4, [[0, 2], [1, 3], [0, 1], [0, 1]], [0.5, 0.5, 0.0, 0.0]),
        (2, 3, [[0, 1], [0, 1], [0, 1]], [1.0, 0.0, 0.0]),
    ],
)
def test_every_row_counts_for_one_process_and_each_has_two(rows, count, owned, shares):
    found, weights = [], []
    for rank in range(count):
        workers = worker(rank, count)
        own = workers.own_rows(batch(rows))
        found.append(own.ids.tolist())
        weights.append(workers.weight.share)
        assert workers.rows == rows
        assert bool(own.memory) == (weights[-1] > 0)
        assert own.x.flatten().tolist() == own.y.tolist() == own.ids.tolist()
    assert found == owned
    assert weights == pytest.approx(shares)


def test_one_process_keeps_the_batch_as_it_is():
    alone, given = worker(0, 1), batch(5)
    assert alone.own_rows(given) is given
    assert alone.rows == 5
    assert alone.mean_loss(torch.tensor(3.0)) == 3
    assert alone.gather_memory(given.memory) is given.memory


def test_a_process_without_rows_of_its_own_adds_nothing_to_the_loss_not_even_nan():
    class Alone(Ranks):
        def added(self, tensor):
            return tensor

    workers = worker(1, 2)
    workers.ranks = Alone(1, 2)
    workers.own_rows(batch(8))
    assert workers.mean_loss(torch.tensor(3.0)) == 1.5
    workers.own_rows(batch(3))
    assert workers.mean_loss(torch.tensor(float("nan"))) == 0


def test_memory_is_gathered_in_the_order_of_the_batch_and_split_again():
    whole = {"memory.delta": torch.arange(7.0), "model.weight": torch.arange(3.0)}
    parts = [worker(rank, 2).own_memory(whole, "memory") for rank in range(2)]
    assert [part["memory.delta"].tolist() for part in parts] == [[0, 2, 4, 6], [1, 3, 5]]
    assert all(part["model.weight"].equal(whole["model.weight"]) for part in parts)

    class Together(Ranks):
        def gathered(self, own):
            return [{"delta": part["memory.delta"]} for part in parts] + [{}]

    workers = worker(0, 3)
    workers.ranks = Together(0, 3)
    assert workers.gather_memory({})["delta"].equal(whole["memory.delta"])


def test_parameters_without_a_part_in_the_loss_are_named_and_other_errors_pass():
    workers = worker(0, 1)
    for text, kind in (
        ("Expected to have finished reduction in the prior iteration", ConfigurationError),
        ("x", RuntimeError),
    ):
        with pytest.raises(kind, match="freeze them" if kind is ConfigurationError else "^x$"), workers.backward_pass():
            raise RuntimeError(text)
