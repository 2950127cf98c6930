"""The driver of all attacks: no success gets lost, no row depends on its company, and nothing is computed twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from nets import generator, images, labels, linear, smooth_cnn
from quick import quick
from torch import nn

from robustkit import evaluate
from robustkit.attacks import FGSM, PGD, Noise
from robustkit.attacks.all_steps import craft
from robustkit.attacks.base import Attack
from robustkit.attacks.engine import WAVE, Engine
from robustkit.attacks.fit_memory import Splitter
from robustkit.attacks.rows import Rows
from robustkit.base.errors import ConfigurationError
from robustkit.maths.losses import margin
from robustkit.model.classifier import Classifier

N = 40
X, NET = images(N), smooth_cnn().eval()
Y = NET(X).argmax(1)
ATTACKS = {
    "fgsm": FGSM(eps=0.04),
    "noise": Noise(eps=0.2, restarts=4),
    "pgd": PGD(eps=0.04, steps=6, restarts=2),
    "pgd L2": PGD(norm="L2", eps=0.2, steps=6, restarts=2),
    "pgd L1": PGD(norm="L1", eps=0.7, steps=6, restarts=2),
}


@dataclass(frozen=True, kw_only=True)
class Walk(Attack):
    """Walks up from the clean input in steps of 0.1, whatever the model says; each restart begins 0.01 higher."""

    steps: int = 4

    name: ClassVar[str] = "walk"
    source: ClassVar[str] = "this test"

    @property
    def steps_per_start(self):
        return self.steps

    def start(self, problem, rows):
        return rows.having(x_adv=rows.x + 0.01 * rows.restart.unsqueeze(1))

    def step(self, problem, rows):
        return rows.having(logits=problem.classifier.logits(rows.x_adv), x_adv=rows.x_adv + 0.1)


class Counting(nn.Module):
    """A model that remembers how many rows it saw in each call and can run out of memory."""

    def __init__(self, net, room=10**9):
        super().__init__()
        self.net, self.room, self.calls = net, room, []

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.calls.append(len(x))
        return self.net(x)


def scores(function):
    """Returns a classifier of single numbers v with logits (0, function(v))."""
    return Classifier(lambda v: torch.cat([0 * v, function(v)], 1), output="logits", num_classes=2)


def column(*values):
    return torch.tensor(values).unsqueeze(1)


def zeros(n):
    return torch.zeros(n, dtype=torch.int64)


def known(net, classes=4):
    return Classifier(net, output="logits", num_classes=classes)


def robust_net():
    """Returns a linear model that always says class 0, by far."""
    return linear(torch.randn(4, 36, generator=generator(), dtype=torch.float64), torch.tensor([1e3, 0.0, 0.0, 0.0]))


def same(first, second, tolerance=0.0):
    assert first.success.equal(second.success)
    assert first.steps.equal(second.steps)
    torch.testing.assert_close(first.x_adv, second.x_adv, rtol=0, atol=tolerance)
    torch.testing.assert_close(first.margin, second.margin, rtol=1e-9, atol=1e-9)


# --- what is kept


def test_the_iterate_that_was_adversarial_is_kept_though_the_last_is_not():
    window = scores(lambda v: 0.06 - (v - 0.3).abs())
    found = Walk(eps=0.9)(window, column(0.0), zeros(1))
    assert found.success.tolist() == [True]
    assert found.x_adv.item() == pytest.approx(0.3)
    assert found.margin.item() == pytest.approx(0.06, abs=1e-6)
    assert found.steps.item() == 4


def test_the_first_success_is_kept_not_a_later_larger_one():
    rising = scores(lambda v: v - 0.15)
    assert Walk(eps=0.9)(rising, column(0.0), zeros(1)).x_adv.item() == pytest.approx(0.2)


def test_without_success_the_nearest_iterate_is_kept():
    hill = scores(lambda v: -0.5 - (v - 0.21).abs())
    found = Walk(eps=0.9)(hill, column(0.0), zeros(1))
    assert found.success.tolist() == [False]
    assert found.x_adv.item() == pytest.approx(0.2)
    assert found.margin.item() == pytest.approx(-0.51)


def test_the_last_proposal_is_looked_at_too():
    late = scores(lambda v: v - 0.35)
    found = Walk(eps=0.9)(late, column(0.0), zeros(1))
    assert found.success.tolist() == [True]
    assert found.x_adv.item() == pytest.approx(0.4)


def test_the_best_iterate_is_kept_across_restarts():
    narrow = scores(lambda v: 0.004 - (v - 0.22).abs())
    assert Walk(eps=0.9, restarts=2)(narrow, column(0.0), zeros(1)).success.tolist() == [False]
    found = Walk(eps=0.9, restarts=3)(narrow, column(0.0), zeros(1))
    assert found.success.tolist() == [True]
    assert found.x_adv.item() == pytest.approx(0.22)
    early = scores(lambda v: -0.5 - v)
    assert Walk(eps=0.9, restarts=3)(early, column(0.0), zeros(1)).x_adv.item() == 0


def test_targeted_success_is_reaching_the_goal_and_nothing_else():
    three = Classifier(lambda v: torch.cat([0.15 - v, 0 * v, v - 0.35], 1), output="logits", num_classes=3)
    untargeted = Walk(eps=0.9)(three, column(0.0), zeros(1))
    assert untargeted.x_adv.item() == pytest.approx(0.2)
    for found in (
        Walk(eps=0.9)(three, column(0.0), zeros(1), target=torch.tensor([2])),
        Walk(eps=0.9, target=2)(three, column(0.0), zeros(1)),
    ):
        assert found.success.tolist() == [True]
        assert found.x_adv.item() == pytest.approx(0.4)
    missed = Walk(eps=0.9, target=2, steps=2)(three, column(0.0), zeros(1))
    assert missed.success.tolist() == [False]
    assert missed.margin.item() == pytest.approx(-0.15)


def test_scores_that_are_not_numbers_count_as_wrong_but_reach_no_target():
    broken = scores(lambda v: torch.where(v > 0.15, torch.nan, -1.0))
    assert Walk(eps=0.9)(broken, column(0.0), zeros(1)).success.tolist() == [True]
    found = Walk(eps=0.9, target=1)(broken, column(0.0), zeros(1))
    assert found.success.tolist() == [False]
    assert found.margin.item() == -1


@pytest.mark.parametrize("name", ATTACKS)
def test_success_and_margin_are_those_of_a_fresh_pass_over_the_points_returned(name):
    found = ATTACKS[name](NET, X, Y)
    logits = NET(found.x_adv).detach()
    assert found.success.any()
    assert not found.success.all()
    assert found.success.equal(logits.argmax(1) != Y)
    torch.testing.assert_close(found.margin, margin(logits, Y)[0])


# --- company


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("batch_size", quick(7, slow=(1, 64)))
def test_batch_size_does_not_matter(name, batch_size):
    same(ATTACKS[name](NET, X, Y, batch_size=batch_size), ATTACKS[name](NET, X, Y), 1e-12)


@pytest.mark.parametrize("name", ATTACKS)
def test_order_and_company_do_not_matter(name):
    whole = ATTACKS[name](NET, X, Y)
    order = torch.randperm(N, generator=generator())[:25]
    part = ATTACKS[name](NET, X[order], Y[order], ids=order, batch_size=6)
    assert part.success.equal(whole.success[order])
    torch.testing.assert_close(part.x_adv, whole.x_adv[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["noise", "pgd", "pgd L2", "pgd L1"])
def test_random_numbers_follow_ids_and_seed(name):
    first = ATTACKS[name](NET, X, Y)
    same(ATTACKS[name](NET, X, Y, seed=0, ids=torch.arange(N)), first)
    for other in (ATTACKS[name](NET, X, Y, seed=1), ATTACKS[name](NET, X, Y, ids=torch.arange(N) + 7)):
        assert not other.x_adv.equal(first.x_adv)


@pytest.mark.parametrize("name", ["pgd", "pgd L2"])
def test_looking_at_the_rows_only_now_and_then_changes_nothing(name):
    found = []
    for look_every in (1, 8):
        classifier = known(NET)
        with classifier.frozen():
            engine = Engine(ATTACKS[name], classifier, batch_size=9)
            engine.look_every = look_every
            engine.submit(X, torch.arange(N), Y)
            rows = Rows.join(list(engine.run(drain=True)))
        found.append((rows.take(rows.position.argsort()), engine.loss_path()))
    (often, path), (seldom, other) = found
    for key in vars(often):
        torch.testing.assert_close(getattr(often, key), getattr(seldom, key), rtol=0, atol=1e-12)
    assert path == pytest.approx(other, abs=1e-12)


def test_restarts_only_help():
    few, many = (PGD(eps=0.05, steps=2, step_size=0.01, restarts=r)(NET, X, Y) for r in (1, 8))
    assert not (few.success & ~many.success).any()
    assert (many.margin >= few.margin)[~few.success].all()
    assert many.success.sum() > few.success.sum()


# --- economy


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (FGSM(), 2, 1),
        (Noise(restarts=10), 10, 0),
        (PGD(steps=7), 8, 7),
        (PGD(steps=7, restarts=3, norm="L2"), 24, 21),
        (PGD(steps=1, random_start=False), 2, 1),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_robust_row_costs_exactly_what_the_attack_says(attack, forwards, backwards, batch_size):
    classifier = known(robust_net())
    found = attack(classifier, X, zeros(N), batch_size=batch_size)
    assert not found.success.any()
    assert (classifier.tally.forwards, classifier.tally.backwards) == (N * forwards, N * backwards)
    assert found.steps.unique().numel() == 1


def test_queries_of_each_row_are_its_own():
    classifier = known(NET)
    with classifier.frozen():
        engine = Engine(PGD(eps=0.04, steps=6, restarts=2), classifier, batch_size=16)
        engine.submit(X, torch.arange(N), Y)
        rows = Rows.join(list(engine.run(drain=True)))
    assert rows.queries.equal(rows.steps)
    assert (rows.queries[~rows.broken] == 2 * 7).all()
    assert (rows.queries[rows.broken] <= 2 * 7).all()
    assert int(rows.queries.sum()) <= classifier.tally.forwards < N * 2 * 7


@pytest.mark.parametrize("look_every", [1, 8])
@pytest.mark.parametrize("attack", [PGD(eps=0.04, steps=6, restarts=11), PGD(eps=0.04, steps=12)])
def test_only_close_samples_are_begun(attack, look_every):
    clean, rival = torch.full((N,), -1.0), torch.linspace(-0.3, -0.01, N)
    rows = []
    for close, known_before in ((None, (clean, rival)), (0.1, (clean, rival)), (0.1, ())):
        classifier = known(robust_net())
        with classifier.frozen():
            engine = Engine(replace(attack, close=close), classifier, batch_size=9)
            engine.look_every = look_every
            engine.submit(X, torch.arange(N), zeros(N), *known_before)
            done = Rows.join(list(engine.run(drain=True)))
        rows.append(done.take(done.position.argsort()))
    all_of_them, some, unknown = rows
    close = rival >= -0.1
    for name in ("x_adv", "broken", "margin", "steps", "queries"):
        whole = getattr(all_of_them, name)
        assert getattr(some, name)[close].equal(whole[close])
        assert getattr(unknown, name).equal(whole)
    assert some.x_adv[~close].equal(X[~close])
    assert (some.margin[~close] == -1).all()
    assert not some.steps[~close].any()
    assert not some.queries[~close].any()
    assert not some.broken.any()


def test_the_nearest_point_is_looked_for_in_every_sample():
    classifier = known(NET)
    found = []
    for close in (None, 0.1):
        with classifier.frozen():
            engine = Engine(replace(ATTACKS["pgd"], close=close), classifier, nearest=True)
            engine.submit(X, torch.arange(N), Y, torch.full((N,), -1.0), torch.full((N,), -0.9))
            found.append(Rows.join(list(engine.run(drain=True))))
    for name in ("x_adv", "broken", "steps"):
        assert getattr(found[0], name).equal(getattr(found[1], name))
    assert found[0].broken.any()


def test_a_share_that_is_none_a_target_and_the_first_place_are_refused():
    for close in (0, 1, -0.1, float("nan")):
        with pytest.raises(ConfigurationError, match=r"expected close in \(0, 1\)"):
            PGD(close=close)
    with pytest.raises(ConfigurationError, match="either target or close"):
        PGD(target=1, close=0.1)
    with pytest.raises(ConfigurationError, match="expected an attack before pgd"):
        evaluate(NET, (X, Y), [PGD(close=0.1)])


def test_broken_rows_cost_one_look_and_waiting_rows_take_their_places():
    net = Counting(NET)
    x, y = X.repeat(8, 1, 1, 1), Y.repeat(8)
    broken = torch.arange(len(x)) % 2 == 0
    found = PGD(eps=1e-6, steps=10, random_start=False)(
        known(net), x, torch.where(broken, (y + 1) % 4, y), batch_size=32
    )
    assert found.success.equal(broken)
    assert (found.steps[broken] == 1).all()
    assert sum(net.calls) == 160 * 11 + 160
    assert len(net.calls) < 0.85 * len(x) / 32 * 11


def test_a_broken_row_is_not_evaluated_again_and_again():
    net = Counting(smooth_cnn().eval())
    PGD(eps=0.1, steps=50)(known(net), X, (Y + 1) % 4, batch_size=N)
    assert sum(net.calls) <= N * 1.5


def test_a_model_is_never_given_more_rows_than_the_batch_size():
    net = Counting(smooth_cnn().eval())
    PGD(eps=0.1, steps=5, restarts=3)(known(net), X, Y, batch_size=7)
    assert max(net.calls) == 7


# --- memory


@pytest.mark.parametrize("room", quick(5, slow=(1, 9)))
@pytest.mark.parametrize("name", ATTACKS)
def test_running_out_of_memory_halves_the_batch_and_changes_no_result(name, room):
    plain = ATTACKS[name](known(NET), X, Y)
    net = Counting(NET, room)
    found = ATTACKS[name](known(net), X, Y)
    same(found, plain, 1e-12)
    assert max(net.calls) <= room
    assert max(net.calls) > room // 2


def test_a_single_row_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        PGD(steps=2)(known(Counting(NET, 0)), X, Y)


def test_any_other_error_of_the_model_is_passed_on_and_leaves_it_as_it_was():
    class Faulty(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.left = NET, 5

        def forward(self, x):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("shape mismatch")
            return self.net(x)

    model = Faulty().train()
    model.net.eval()
    with pytest.raises(RuntimeError, match="shape mismatch"):
        PGD(steps=20)(model, X, Y)
    assert model.training
    assert not model.net.training


def test_the_splitter_joins_its_parts_in_order_and_remembers_the_size_that_fitted():
    sizes = []

    def double(rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError
        sizes.append(len(rows))
        return Rows(x=2 * rows.x)

    split = Splitter(16)
    assert split(double, Rows(x=torch.arange(10))).x.tolist() == [2 * i for i in range(10)]
    assert sizes == [2, 2, 2, 2, 2]
    assert split.size == 2


# --- the loss path


@pytest.mark.parametrize(
    "attack", [PGD(eps=0.05, steps=6, restarts=3), PGD(norm="L2", eps=0.4, steps=6), Noise(eps=0.2)]
)
@pytest.mark.parametrize("targeted", [False, True])
def test_the_loss_path_never_falls_and_ends_at_the_mean_margin(attack, targeted):
    classifier = known(NET)
    goal = (Y + 1) % 4 if targeted else Y
    with classifier.frozen():
        engine = Engine(attack, classifier, batch_size=9, targeted=targeted)
        engine.submit(X, torch.arange(N), goal)
        rows = Rows.join(list(engine.run(drain=True)))
    path = torch.tensor(engine.loss_path(), dtype=torch.float64)
    waves = 1 + -(-(attack.restarts - 1) // WAVE)  # the first start alone, the others side by side
    assert len(path) == waves * (attack.steps_per_start + 1)
    assert (path.diff() >= -1e-12).all()
    assert path[-1].item() == pytest.approx(rows.margin.mean().item())
    assert rows.broken.any()


def test_the_loss_path_starts_at_the_clean_margin_without_a_random_start():
    classifier = known(NET)
    with classifier.frozen():
        engine = Engine(PGD(eps=0.1, steps=3, random_start=False), classifier)
        engine.submit(X, torch.arange(N), Y)
        list(engine.run(drain=True))
    assert engine.loss_path()[0] == pytest.approx(margin(NET(X), Y)[0].mean().item())


# --- streaming


def test_rows_submitted_in_portions_come_out_once_each_with_the_same_results():
    whole = ATTACKS["pgd"](NET, X, Y)
    classifier = known(NET)
    out = []
    with classifier.frozen():
        engine = Engine(ATTACKS["pgd"], classifier, batch_size=8)
        for start in range(0, N, 5):
            part = slice(start, start + 5)
            engine.submit(X[part], torch.arange(N)[part], Y[part])
            out += list(engine.run())
            assert len(engine.age) + sum(map(len, engine.waiting)) < 8
        assert len(Rows.join(out)) < N
        out += list(engine.run(drain=True))
        assert list(engine.run(drain=True)) == []
    rows = Rows.join(out)
    assert rows.position.sort().values.tolist() == list(range(N))
    rows = rows.take(rows.position.argsort())
    assert rows.broken.equal(whole.success)
    torch.testing.assert_close(rows.x_adv, whole.x_adv, rtol=0, atol=1e-12)
    assert rows.x.equal(X)


# --- the inner attack of training


def test_craft_makes_all_steps_on_every_row_and_returns_the_last_point():
    rising = scores(lambda v: v - 0.15)
    with rising.frozen():
        found = craft(Walk(eps=0.9), rising, column(0.0, 0.3), zeros(2), torch.arange(2), 0)
    assert found.flatten().tolist() == pytest.approx([0.4, 0.7])


def test_craft_equals_projected_gradient_steps_written_out():
    classifier, attack = known(NET), PGD(eps=0.1, steps=4, random_start=False)
    with classifier.frozen():
        found = craft(attack, classifier, X, Y, torch.arange(N), 0)
    x = X
    for _ in range(4):
        leaf = x.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(NET(leaf), Y, reduction="sum")
        x = x + 0.0625 * torch.autograd.grad(loss, leaf)[0].sign()
        x = torch.minimum(torch.maximum(x, X - 0.1), X + 0.1).clamp(0, 1)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)
    assert not found.requires_grad


def test_craft_starts_differ_with_seed_and_id_only():
    classifier, attack = known(NET), PGD(eps=0.1, steps=1)

    def at(seed, ids=0):
        with classifier.frozen():
            return craft(attack, classifier, X, Y, torch.arange(N) + ids, seed)

    assert at(0).equal(at(0))
    assert not at(0).equal(at(1))
    assert not at(0).equal(at(0, ids=N))


# --- rows


def test_rows_are_never_changed_in_place_and_name_what_is_missing():
    rows = Rows(x=torch.arange(3), y=torch.ones(3))
    more = rows.having(z=torch.zeros(3))
    assert len(more) == 3
    assert set(vars(rows)) == {"x", "y"}
    assert set(vars(more.without("x"))) == {"y", "z"}
    assert set(vars(more.keep("x"))) == {"x"}
    assert more.take(torch.tensor([2, 0])).x.tolist() == [2, 0]
    assert more.take(slice(1)).x.tolist() == [0]
    assert Rows.join([rows, rows.take(slice(1))]).x.tolist() == [0, 1, 2, 0]
    with pytest.raises(AttributeError, match="no tensor called 'xadv'; there are x, y"):
        _ = rows.xadv


@pytest.mark.parametrize(
    "change",
    [{"y": Y[:5]}, {"ids": torch.arange(3)}, {"target": Y[:1]}],
)
def test_labels_targets_and_ids_must_match_the_inputs(change):
    with pytest.raises(ValueError, match=r"expected (as many labels, targets and ids as inputs|one id per sample), "):
        PGD(steps=1)(NET, **{"x": X, "y": Y, **change})


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_below_one_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"pgd: expected batch_size to be an integer >= 1, got {batch_size}"):
        PGD(steps=1)(NET, X, Y, batch_size=batch_size)


def test_labels_helper_covers_all_classes():
    assert set(labels(N).tolist()) == {0, 1, 2, 3}
