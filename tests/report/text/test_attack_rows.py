"""What every view says of each attack."""

from __future__ import annotations

import dataclasses

from report_examples import audit

from robustkit.maths.intervals import proportion
from robustkit.report.text.attack_rows import attack_rows, shown_rows


def broken(*counts: int, cascade: bool = True):
    """An audit of 100 initially correct samples, of which the attacks broke so many; written before schema 1.4."""
    one = audit()
    attacks = tuple(
        dataclasses.replace(attack, attack_success=proportion(k, 100))
        for attack, k in zip(one.attacks, counts, strict=False)
    )
    worst = dataclasses.replace(one.worst_case, attack_success=proportion(sum(counts), 100))
    method = dataclasses.replace(one.method, cascade=cascade)
    return dataclasses.replace(one, attacks=attacks, worst_case=worst, method=method)


def test_success_in_an_older_cascade_is_of_the_samples_that_were_left():
    rows = attack_rows(broken(20, 8, 0))
    assert [(row.success.k, row.success.n) for row in rows] == [(20, 100), (8, 80), (0, 72)]
    assert [row.accuracy_name for row in rows] == ["FGSM", "after PGD", "after APGD-CE"]
    assert [row.alone is None for row in rows] == [False, True, True]


def test_in_a_list_every_attack_had_all_samples():
    rows = attack_rows(broken(20, 8, 0, cascade=False))
    assert [(row.success.k, row.success.n) for row in rows] == [(20, 100), (8, 100), (0, 100)]
    assert [row.accuracy_name for row in rows] == [row.name for row in rows] == ["FGSM", "PGD", "APGD-CE"]
    assert all(row.alone == row.result.accuracy for row in rows)


def test_a_short_list_joins_attacks_that_broke_nothing_more():
    rows = shown_rows(broken(20, 0, 0))
    assert [row.accuracy_name for row in rows] == ["FGSM", "after 2 more attacks"]
    assert rows[1].result.seconds == sum(attack.seconds for attack in broken(20, 0, 0).attacks[1:])
    assert (rows[1].success.k, rows[1].success.n) == (0, 80)
    for one in (broken(20, 8, 0), broken(0, 1, 0), broken(20, 0, 0, cascade=False)):
        assert shown_rows(one) == attack_rows(one)


def test_what_the_report_counted_is_taken_over():
    one = broken(20, 8)
    few = dataclasses.replace(one.attacks[1], success_of_attacked=proportion(8, 12))
    rows = attack_rows(dataclasses.replace(one, attacks=(one.attacks[0], few)))
    assert rows[1].success == proportion(8, 12)
