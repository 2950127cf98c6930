"""FAB alone: which boundaries each start looks at, what a step costs, and which settings it takes."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from boundary import linear_problem
from nets import generator, images, linear, smooth_cnn
from quick import quick

from robustkit.attacks import FAB, PGD, create
from robustkit.attacks.engine import Engine
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.maths.losses import runner_up_classes
from robustkit.maths.norms import NORMS
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier

N = 48
EPS = {"Linf": 0.08, "L2": 0.4, "L1": 1.5}
NET, X = smooth_cnn().eval(), images(N)
Y = NET(X).argmax(1)
every_norm = pytest.mark.parametrize("norm", NORMS)


def started(attack, classifier, x, goal, restart=0):
    """Returns the problem and what the engine would hand to the first `step` of that restart."""
    problem = Problem(classifier, attack.threat(classifier), Stream(0, attack.name))
    rows = Rows(
        x=x,
        ids=torch.arange(len(x)),
        goal=goal,
        restart=torch.full_like(goal, restart),
        step=torch.zeros_like(goal),
        distance=torch.full((len(x),), torch.inf, dtype=torch.float64),
    )
    return problem, attack.start(problem, rows)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_each_start_looks_at_the_next_likely_class_and_a_second_round_starts_at_random(classes):
    weight = torch.randn(classes, 36, generator=generator(3), dtype=torch.float64)
    classifier = Classifier(linear(weight), num_classes=classes, output="logits")
    y = classifier.logits(X).argmax(1)
    attack = FAB(targets=4, restarts=2)
    assert attack.starts == 8
    likely = runner_up_classes(classifier.logits(X).detach(), y)
    around = min(4, classes - 1)
    for restart in range(attack.starts):
        _, rows = started(attack, classifier, X, y, restart)
        assert rows.aim.equal(likely[:, restart % around])
        assert rows.x_adv.equal(X) is (restart < around)


@pytest.mark.parametrize(("targets", "backwards"), [(0, 3), (2, 1)])
def test_a_step_costs_a_backward_pass_for_each_class_it_looks_at_and_one_forward_pass_more(targets, backwards):
    classifier = Classifier(NET, num_classes=4, output="logits")
    problem, rows = started(FAB(targets=targets), classifier, X, Y)
    before = classifier.tally.forwards
    FAB(targets=targets).step(problem, rows)
    assert classifier.tally.backwards == backwards * N
    assert classifier.tally.forwards - before == (backwards + 1) * N


@every_norm
def test_the_first_step_overshoots_the_boundary_of_a_linear_model_by_eta(norm):
    classifier, x, y, exact = linear_problem(2, (-1.0, 2.0), norm)
    attack = FAB(norm=norm, eps="inf", eta=1.2)
    problem, rows = started(attack, classifier, x, y)
    inside = exact < 0.3  # where the box does not cut the overshoot off
    far = problem.threat.distance(attack.step(problem, rows).x_adv, x)
    assert inside.sum() > 5
    torch.testing.assert_close(far[inside], 1.2 * exact[inside], rtol=1e-6, atol=0)


@every_norm
@pytest.mark.parametrize("classes", [3, 10])
def test_a_goal_among_many_is_reached_as_often_as_by_pgd(norm, classes):
    classifier, x, y, exact = linear_problem(classes, (0, 1), norm)
    eps, goal = 2.0 * float(exact.median()), (y + 1) % classes
    found = FAB(norm=norm, eps=eps, steps=30)(classifier, x, y, target=goal)
    pgd = PGD(norm=norm, eps=eps, steps=30, loss="margin")(classifier, x, y, target=goal)
    assert 0 < int(pgd.success.sum()) < N
    assert found.success.sum() >= pgd.success.sum() - 3


@pytest.mark.parametrize("norm", quick("L2", slow=("Linf", "L1")))
def test_it_breaks_at_least_as_many_rows_as_pgd_on_a_smooth_network(norm):
    eps = EPS[norm] / 3
    pgd = PGD(norm=norm, eps=eps, steps=40, loss="margin")(NET, X, Y).success
    assert 0 < pgd.sum() < N
    for targets in (0, 3):
        assert FAB(norm=norm, eps=eps, steps=40, targets=targets)(NET, X, Y).success.sum() >= pgd.sum()


def test_the_engine_path_stays_finite_and_never_falls():
    classifier = Classifier(NET, num_classes=4, output="logits")
    engine = Engine(FAB(eps=0.01, steps=6, restarts=2), classifier, batch_size=16)
    with classifier.frozen():
        engine.submit(X, torch.arange(N), Y)
        list(engine.run(drain=True))
    path = np.array(engine.loss_path())
    assert np.isfinite(path).all()
    assert (np.diff(path) >= 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "fab: expected steps to be an integer >= 1, got 0"),
        ({"alpha_max": 0}, r"fab: expected alpha_max in \(0, 1\), got 0"),
        ({"alpha_max": 1.1}, r"fab: expected alpha_max in \(0, 1\), got 1.1"),
        ({"eta": 0.9}, r"fab: expected eta in \(1, inf\), got 0.9"),
        ({"eta": float("inf")}, r"fab: expected eta in \(1, inf\), got inf"),
        ({"beta": 0}, r"fab: expected beta in \(0, 1\), got 0"),
        ({"beta": 1}, r"fab: expected beta in \(0, 1\), got 1"),
        ({"targets": -1}, "fab: expected targets to be an integer >= 0, got -1"),
        ({"targets": 1.5}, "fab: expected targets to be an integer >= 0, got 1.5"),
        ({"targets": True}, "fab: expected targets to be an integer >= 0, got True"),
        ({"targets": 2, "target": 1}, "fab: expected either target or targets, got both; drop one"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        FAB(**settings)


def test_goals_and_targets_exclude_each_other():
    with pytest.raises(ConfigurationError, match="fab: expected either a target per sample or targets, got both"):
        FAB(targets=2)(NET, X, Y, target=(Y + 1) % 4)


def test_it_is_found_by_name_and_its_label_says_which_variant_it_is():
    assert create("fab:targets=9,norm=L2") == FAB(targets=9, norm="L2")
    assert create("fab:eps=inf").settings()["eps"] in ("inf", float("inf"))
    assert (FAB().label, FAB(targets=9).label) == ("fab", "fab-t")


@pytest.mark.slow
@pytest.mark.parametrize("targets", [0, 9])
def test_on_an_adversarially_trained_network_it_breaks_as_many_images_as_torchattacks(
    shared_data, pretrained, targets, record_property
):
    torchattacks = pytest.importorskip("torchattacks")
    net = pretrained("mnist_cnn_a_adv").eval()
    with np.load(shared_data / "data" / "mnist" / "test.npz") as test:
        x = torch.from_numpy(test["images"][:100]).unsqueeze(1).float() / 255
        y = torch.from_numpy(test["labels"][:100]).long()
    begin = time.process_time()
    ours = FAB(eps=0.3, steps=50, targets=targets)(net, x, y)
    middle = time.process_time()
    peer = torchattacks.FAB(net, eps=0.3, steps=50, multi_targeted=targets > 0, n_classes=10)
    wrong = net(peer(x, y)).argmax(1) != y
    record_property("robust", (100 - int(ours.success.sum()), 100 - int(wrong.sum())))
    record_property("seconds", (middle - begin, time.process_time() - middle))
    assert ours.success.sum() >= wrong.sum()
