"""The random numbers: the published generator, and a pure function of what names them."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.maths import random_numbers as rng
from robustkit.maths.random_numbers import Stream, philox

WORD = st.integers(0, 2**32 - 1)


def plain_philox(counter, key):
    """Philox-4x32-10 in unbounded Python integers, as in Salmon et al. 2011, section 3.3."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k[0], second % 2**32, (first >> 32) ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def words(counter, key):
    return [int(word) for word in philox(tuple(torch.tensor(c) for c in counter), key)]


def rows(n, restart=0, step=0):
    """Returns ids 0..n-1, the restart and the step of n rows."""
    return torch.arange(n), torch.full((n,), restart), torch.full((n,), step)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    assert words(counter, key) == list(answer) == plain_philox(counter, key)


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_philox_equals_the_definition_in_plain_integers(counter, key):
    assert words(counter, key) == plain_philox(counter, key)


def test_the_uniforms_of_a_row_are_philox_of_its_id_restart_step_and_draw():
    stream, id, restart, step, draw = Stream(7, "pgd"), 5 * 2**32 + 3, 2, 9, 1
    found = stream.uniform((6,), torch.tensor([id]), torch.tensor([restart]), torch.tensor([step]), draw)[0]
    key = (stream.number >> 32, stream.number % 2**32)
    blocks = [plain_philox((block, id % 2**32, id >> 32, restart * 2**20 + step), key) for block in (2, 3)]
    expected = [(word + 0.5) / 2**32 for block in blocks for word in block][:6]
    assert found.tolist() == expected


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_a_row_gets_the_same_numbers_in_any_company_and_order(kind):
    draw = getattr(Stream(0, "pgd"), kind)
    ids, restart, step = torch.randint(10**12, (50,)), torch.randint(9, (50,)), torch.randint(99, (50,))
    whole = draw((3, 4), ids, restart, step)
    order = torch.randperm(50)
    assert draw((3, 4), ids[order], restart[order], step[order]).equal(whole[order])
    alone = [draw((3, 4), ids[i : i + 1], restart[i : i + 1], step[i : i + 1]) for i in range(50)]
    assert torch.cat(alone).equal(whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_float64_whatever_the_default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = Stream(0, "a").uniform((5,), *rows(2)), Stream(0, "a").normal((5,), *rows(2))
    finally:
        torch.set_default_dtype(before)
    assert [f.dtype for f in found] == [torch.float64] * 2
    assert found[0].equal(Stream(0, "a").uniform((5,), *rows(2)))


def test_even_the_extreme_words_give_numbers_strictly_inside_0_and_1(monkeypatch):
    extremes = torch.tensor([[0, 2**32 - 1]]).T
    monkeypatch.setattr(rng, "philox", lambda counter, key: (extremes,) * 4)
    found = Stream(0, "a").uniform((4,), *rows(2))
    assert found.min() > 0
    assert found.max() < 1
    assert Stream(0, "a").normal((4,), *rows(2)).isfinite().all()


def test_uniforms_are_uniform_and_normals_are_normal():
    stream = Stream(3, "pgd")
    assert scipy.stats.kstest(stream.uniform((50,), *rows(1000)).flatten().numpy(), "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(stream.normal((50,), *rows(1000)).flatten().numpy(), "norm").pvalue > 1e-3


def test_numbers_are_not_correlated_within_or_between_rows_steps_restarts_and_draws():
    stream = Stream(3, "pgd")
    base = stream.uniform((50,), *rows(1000))
    others = {
        "next number": base.roll(1, 1),
        "next row": base.roll(1, 0),
        "next step": stream.uniform((50,), *rows(1000, step=1)),
        "next restart": stream.uniform((50,), *rows(1000, restart=1)),
        "next draw": stream.uniform((50,), *rows(1000), draw=1),
    }
    for name, other in others.items():
        correlation = torch.corrcoef(torch.stack([base.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 4 / 50_000**0.5, name


def test_every_seed_attack_id_restart_step_and_draw_has_numbers_of_its_own():
    def first(seed=0, name="a", id=1, restart=1, step=1, draw=1):
        where = [torch.tensor([v]) for v in (id, restart, step)]
        return tuple(Stream(seed, name).uniform((5,), *where, draw).flatten().tolist())

    found = [
        first(),
        *(first(seed=s) for s in (1, 2, -1, 2**70)),
        *(first(name=n) for n in ("b", "1")),
        *(first(id=i) for i in (0, 2, 2**32 + 1, 2**62)),
        *(first(restart=r) for r in (0, 2, 4095)),
        *(first(step=s) for s in (0, 2, 2**20 - 1)),
        *(first(draw=d) for d in (0, 2)),
    ]
    assert len({number for numbers in found for number in numbers}) == 5 * len(found)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8, 784])
def test_draws_never_share_a_number(size):
    numbers = torch.stack([Stream(0, "a").uniform((size,), *rows(3), draw) for draw in range(4)])
    assert len(numbers.unique()) == numbers.numel()


def test_restart_and_step_do_not_run_into_each_other():
    def at(restart, step):
        return Stream(0, "a").uniform((2,), *rows(1, restart, step))

    assert not at(0, 2**20 - 1).equal(at(1, 0))
    assert not at(1, 5).equal(at(0, 5))


def test_global_random_state_is_neither_read_nor_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Stream(0, "a").normal((9,), *rows(4))
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert Stream(0, "a").normal((9,), *rows(4)).equal(first)


def test_number_is_a_seed_of_64_bits_that_differs_between_streams():
    numbers = {Stream(seed, name).number for seed in range(50) for name in ("a", "b")}
    assert len(numbers) == 100
    assert all(0 <= number < 2**64 for number in numbers)
