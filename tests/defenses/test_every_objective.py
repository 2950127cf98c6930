"""Training objectives: limit cases, exact values, and what every one of them promises."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from nets import generator, images, labels, linear, smooth_cnn
from objective_rows import EVERY, SMALL, TEACHER
from torch.nn.functional import cross_entropy

from robustkit.attacks import FGSM, PGD
from robustkit.attacks.threat import parse_eps
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.defenses import (
    ARD,
    AWP,
    FGSMRS,
    IBP,
    MART,
    NFGSM,
    OBJECTIVES,
    RSLAD,
    TRADES,
    FGSMTraining,
    Free,
    GradAlign,
    Minibatch,
    PGDTraining,
    Standard,
    create,
    fit,
)
from robustkit.maths.losses import divergence
from robustkit.model.classifier import Classifier
from robustkit.model.small_models import create as small_model

every = pytest.mark.parametrize("objective", EVERY.values(), ids=EVERY.keys())
adversarial = pytest.mark.parametrize("objective", [o for n, o in EVERY.items() if n not in ("standard", "ibp")])


def batch(n=6, dtype=torch.float64, **changes):
    return Minibatch(images(n, dtype), labels(n), torch.arange(n), **changes)


def gradient(objective, net, minibatch):
    """Returns the loss, the gradient of every weight and the buffers after one backward pass from scratch."""
    torch.manual_seed(0)
    net.zero_grad()
    loss = objective.backward(Classifier(net), minibatch)
    grads = [p.grad.clone() if p.grad is not None else None for p in net.parameters()]
    return loss, grads, {name: buffer.clone() for name, buffer in net.named_buffers()}


def same(first, second):
    return all(a.equal(b) for a, b in zip(first, second, strict=True))


def test_every_objective_is_tested_here():
    assert EVERY.keys() == OBJECTIVES.keys()
    assert all(name == objective.name for name, objective in EVERY.items())


@every
def test_the_inner_attack_leaves_buffers_modes_gradients_and_the_random_state_untouched(objective):
    net = smooth_cnn().train()
    net[3].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    net[4].bias = None
    net[6].weight.requires_grad_(False)
    buffers, modes = {n: b.clone() for n, b in net.named_buffers()}, [m.training for m in net.modules()]
    wanted, state = [p.requires_grad for p in net.parameters()], torch.get_rng_state()
    classifier, samples = Classifier(net), batch()
    x = samples.x.clone()
    crafted = objective.crafted(classifier, samples)
    assert all(b.equal(buffers[n]) for n, b in net.named_buffers())
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == wanted
    assert [p.grad is not None for p in net.parameters()] == [True] + [False] * (len(wanted) - 1)
    assert net[0].weight.grad.eq(1).all()
    assert torch.get_rng_state().equal(state)
    assert samples.x.equal(x)
    assert crafted.shape == x.shape


@adversarial
def test_what_it_trains_on_lies_within_its_own_threat(objective):
    if objective.name == "n-fgsm":
        pytest.skip("by design outside the ball; see below")
    net, samples = smooth_cnn(), batch()
    classifier = Classifier(net)
    for _ in range(3):  # Free moves away from the clean input with every batch only
        crafted = objective.crafted(classifier, samples)
        objective.backward(classifier, samples)
    assert not crafted.equal(samples.x)
    assert objective.inner.threat(classifier).contains(crafted.detach(), samples.x).all()


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("spec", ["pgd-at:steps=2", "fgsm-rs", "free:m=2", "trades:steps=2", "mart:steps=2"])
def test_every_norm_is_a_setting(spec, norm):
    objective = create(spec, norm=norm, eps={"Linf": 0.1, "L2": 0.5, "L1": 2.0}[norm])
    net, samples = smooth_cnn(), batch()
    classifier = Classifier(net)
    for _ in range(3):
        loss = objective.backward(classifier, samples)
        crafted = objective.crafted(classifier, samples).detach()
    threat = objective.inner.threat(classifier)
    assert threat.norm == norm
    assert threat.contains(crafted, samples.x).all()
    assert (threat.distance(crafted, samples.x) > 0.3 * threat.radius).all() or spec in ("trades:steps=2", "free:m=2")
    assert loss.isfinite()


@every
def test_what_it_trains_on_depends_on_seed_and_ids_not_on_company_or_order(objective):
    classifier = Classifier(smooth_cnn())
    samples = batch(8)
    turn = torch.randperm(8, generator=generator(3))
    turned = Minibatch(samples.x[turn], samples.y[turn], samples.ids[turn])
    alone = Minibatch(samples.x[2:3], samples.y[2:3], samples.ids[2:3])
    crafted = objective.crafted(classifier, samples)
    torch.testing.assert_close(objective.crafted(classifier, turned), crafted[turn], rtol=0, atol=1e-12)
    torch.testing.assert_close(objective.crafted(classifier, alone), crafted[2:3], rtol=0, atol=1e-12)
    draws = objective.name in ("pgd-at", "fgsm-rs", "n-fgsm", "trades", "mart", "awp", "augmix", "ard", "rslad")
    assert objective.crafted(classifier, dataclasses.replace(samples, seed=1)).equal(crafted) != draws


@pytest.mark.parametrize(
    "objective",
    [
        PGDTraining(attack=PGD(eps=0, steps=3)),
        PGDTraining(attack=PGD(eps=0, norm="L2", steps=3)),
        PGDTraining(attack=FGSM(eps=0, norm="L1")),
        FGSMTraining(eps=0),
        FGSMRS(eps=0),
        NFGSM(eps=0),
        Free(m=1, eps=0),
        TRADES(attack=SMALL, beta=0),
        GradAlign(objective=FGSMRS(eps=0), weight=0),
        ARD(teacher=TEACHER, alpha=0),
        IBP(kappa=1),
        AWP(objective=Standard(), warmup=1),
    ],
    ids=repr,
)
def test_its_limit_case_is_cross_entropy_training_bit_for_bit(objective):
    samples, plain = batch(dtype=torch.float32), Standard()
    loss, grads, buffers = gradient(objective, smooth_cnn(dtype=torch.float32), samples)
    expected, plain_grads, plain_buffers = gradient(plain, smooth_cnn(dtype=torch.float32), samples)
    assert loss.equal(expected)
    assert same(grads, plain_grads)
    assert same(buffers.values(), plain_buffers.values())


def test_the_whole_second_term_of_trades_vanishes_with_its_weight():
    # beta 0 takes a short cut; this weight is 0 only once it meets the float32 loss.
    samples = batch(dtype=torch.float32)
    loss, grads, _ = gradient(TRADES(attack=SMALL, beta=1e-300), smooth_cnn(dtype=torch.float32), samples)
    expected, plain, _ = gradient(Standard(), smooth_cnn(dtype=torch.float32), samples)
    assert loss.equal(expected)
    assert same(grads, plain)


def test_weights_moved_by_nothing_give_the_gradient_of_the_objective_itself():
    samples, net, other = batch(), smooth_cnn(), smooth_cnn()
    loss, grads, buffers = gradient(AWP(objective=PGDTraining(attack=SMALL), gamma=0), net, samples)
    expected, plain, plain_buffers = gradient(PGDTraining(attack=SMALL), other, samples)
    assert loss.equal(expected)
    assert same(grads, plain)
    assert same(buffers.values(), plain_buffers.values())


def test_awp_takes_the_gradient_at_weights_moved_uphill_and_puts_them_back():
    net, samples = smooth_cnn(), batch()
    before = [p.detach().clone() for p in net.parameters()]
    _, plain, _ = gradient(Standard(), net, samples)
    loss, grads, _ = gradient(AWP(objective=Standard(), gamma=0.02), net, samples)
    assert same(net.parameters(), before)
    moved = smooth_cnn()
    with torch.no_grad():
        for weight, grad in zip(moved.parameters(), plain, strict=True):
            if weight.ndim > 1:
                weight += 0.02 * weight.norm() / grad.norm() * grad
    there, expected, _ = gradient(Standard(), moved, samples)
    torch.testing.assert_close(loss, there)
    torch.testing.assert_close(grads, expected)
    assert loss > gradient(Standard(), smooth_cnn(), samples)[0]


def test_awp_puts_weights_back_when_the_loss_raises():
    class Fails(Standard):
        calls = 0

        def loss(self, classifier, batch, x_adv):
            Fails.calls += 1
            if Fails.calls == 2:
                raise RuntimeError("no memory")
            return super().loss(classifier, batch, x_adv)

    net = smooth_cnn()
    before = [p.detach().clone() for p in net.parameters()]
    with pytest.raises(RuntimeError, match="no memory"):
        AWP(objective=Fails()).backward(Classifier(net), batch())
    assert same(net.parameters(), before)


def test_trades_on_a_linear_model_is_its_formula():
    weight = torch.randn(3, 4, generator=generator(5), dtype=torch.float64)
    model, x, y = linear(weight), torch.rand(5, 4, generator=generator(6), dtype=torch.float64), labels(5, 3)
    samples = Minibatch(x, y, torch.arange(5))
    objective = TRADES(attack=PGD(eps=0.05, steps=5), beta=2.5)
    classifier = Classifier(model)
    x_adv = objective.crafted(classifier, samples)
    p, q = (x @ weight.T).softmax(1), (x_adv @ weight.T).softmax(1)
    expected = cross_entropy(x @ weight.T, y) + 2.5 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(objective.loss(classifier, samples, x_adv), expected)
    # On a linear model a further step can only raise the divergence: the attack ends on the faces of the cube.
    assert ((x_adv - x).abs() > 0.049).double().mean() > 0.5


def test_trades_asks_for_the_clean_probabilities_once_per_craft():
    classifier, samples = Classifier(smooth_cnn()), batch()
    TRADES(attack=SMALL).crafted(classifier, samples)
    assert classifier.tally.forwards == (1 + SMALL.steps) * len(samples.x)


def test_mart_is_its_formula():
    weight = torch.randn(3, 4, generator=generator(5), dtype=torch.float64)
    x, y = torch.rand(5, 4, generator=generator(6), dtype=torch.float64), labels(5, 3)
    samples, objective = Minibatch(x, y, torch.arange(5)), MART(attack=PGD(eps=0.05, steps=3), beta=4.0)
    classifier = Classifier(linear(weight))
    x_adv = objective.crafted(classifier, samples)
    p, q = (x @ weight.T).softmax(1), (x_adv @ weight.T).softmax(1)
    total = 0.0
    for i, label in enumerate(y.tolist()):
        wrong = max(float(q[i, k]) for k in range(3) if k != label)
        boosted = -math.log(q[i, label]) - math.log(1.0001 - wrong + 1e-12)
        apart = sum(float(p[i, k] * (p[i, k] / q[i, k]).log()) for k in range(3))
        total += boosted + 4.0 * apart * (1 - float(p[i, label]))
    assert float(objective.loss(classifier, samples, x_adv).detach()) == pytest.approx(total / 5, rel=1e-9)


def distilled(objective, student, teacher):
    """Returns clean logits of student and teacher, the student's under attack, the labels and the loss."""
    x, y = torch.rand(5, 4, generator=generator(6), dtype=torch.float64), labels(5, 3)
    samples, classifier = Minibatch(x, y, torch.arange(5)), Classifier(linear(student))
    x_adv = objective.crafted(classifier, samples)
    loss = float(objective.loss(classifier, samples, x_adv).detach())
    return x @ student.T, x @ teacher.T, x_adv @ student.T, y, loss


def divergence_by_hand(goal, logits, temperature=1.0):
    p, q = (goal / temperature).softmax(1), (logits / temperature).softmax(1)
    return float((p * (p / q).log()).sum() / len(p))


def test_ard_and_rslad_are_their_formulas():
    student, teacher = torch.randn(2, 3, 4, generator=generator(5), dtype=torch.float64)
    ard = ARD(teacher=linear(teacher), attack=PGD(eps=0.05, steps=3), alpha=0.6, temperature=4.0)
    clean, answers, attacked, y, loss = distilled(ard, student, teacher)
    expected = 0.4 * float(cross_entropy(clean, y)) + 0.6 * 16 * divergence_by_hand(answers, attacked, 4.0)
    assert loss == pytest.approx(expected, rel=1e-9)
    rslad = RSLAD(teacher=linear(teacher), attack=PGD(eps=0.05, steps=3))
    clean, answers, attacked, y, loss = distilled(rslad, student, teacher)
    apart = divergence_by_hand(answers, attacked)
    assert loss == pytest.approx(apart * 5 / 6 + divergence_by_hand(answers, clean) / 6, rel=1e-9)
    assert apart > divergence_by_hand(answers, clean)  # the attack climbs it


def test_a_teacher_answers_in_eval_mode_and_learns_nothing():
    teacher, samples = smooth_cnn(seed=5).train(), batch()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    ARD(teacher=teacher, attack=SMALL).backward(Classifier(smooth_cnn()), samples)
    assert teacher.training
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    first, again, other = (RSLAD(teacher=net) for net in (teacher, smooth_cnn(seed=5), smooth_cnn(seed=6)))
    assert repr(first) == repr(again)  # which a resumed run compares
    assert repr(first) != repr(other)
    assert repr(first.scaled(0.5).teacher) == repr(first.teacher)


def test_what_cannot_teach_is_refused():
    net, x, y = smooth_cnn(), images(6), labels(6)
    with pytest.raises(ConfigurationError, match="ard: expected a trained teacher, got the model that is being"):
        ARD(teacher=net).loss(net, x, y)
    with pytest.raises(ConfigurationError, match=r"with the bounds of the model, \(0.0, 1.0\), got \(0.0, 255.0\)"):
        RSLAD(teacher=Classifier(smooth_cnn(seed=1), bounds=(0, 255))).loss(net, x, y)
    with pytest.raises(ConfigurationError, match="teacher of 4 classes, as the model has, got 3"):
        ARD(teacher=smooth_cnn(3)).loss(Classifier(net, num_classes=4), x, y)


def test_ibp_is_its_formula_and_certifies_what_no_attack_breaks():
    first, second = torch.randn(2, 4, 4, generator=generator(5), dtype=torch.float64)
    net = torch.nn.Sequential(*linear(first), torch.nn.ReLU(), linear(second[:3])[1])
    x, y = torch.rand(50, 4, generator=generator(6), dtype=torch.float64), labels(50, 3)
    samples, objective = Minibatch(x, y, torch.arange(50)), IBP(eps=0.1, kappa=0.3)
    low, high = (x - 0.1).clamp(0, 1), (x + 0.1).clamp(0, 1)
    middle, radius = (low + high) / 2 @ first.T, (high - low) / 2 @ first.abs().T
    least, most = (middle - radius).relu(), (middle + radius).relu()
    worst = torch.zeros(50, 3, dtype=torch.float64)
    for i, label in enumerate(y.tolist()):
        for k in range(3):
            row = second[k] - second[label]  # each hidden unit at the end that is worse
            worst[i, k] = torch.where(row > 0, row * most[i], row * least[i]).sum()
    expected = 0.3 * cross_entropy((x @ first.T).relu() @ second[:3].T, y) + 0.7 * cross_entropy(worst, y)
    torch.testing.assert_close(objective.loss(Classifier(net), samples, x), expected)
    found = objective.worst(Classifier(net), samples).detach()
    torch.testing.assert_close(found, worst)
    certified = found.scatter(1, y.unsqueeze(1), -1).amax(1) < 0
    broken = PGD(eps=0.1, steps=20)(Classifier(net), x, y).success
    assert certified.any()
    assert not (certified & broken).any()


def test_ibp_sees_the_normalisation_and_warms_up_eps_and_kappa_together():
    net, x, y = smooth_cnn().eval(), images(6), labels(6)
    samples = Minibatch(x, y, torch.arange(6))
    shifted = Classifier(torch.nn.Sequential(*net), mean=0.2, std=0.5)
    logits = shifted.logits(x).detach()
    found = IBP(eps=0).worst(shifted, samples).detach()
    torch.testing.assert_close(found, logits - logits.gather(1, y.unsqueeze(1)))
    half = IBP(eps=0.2, kappa=0.5).scaled(0.5)
    assert (half.eps, half.kappa) == (0.1, 0.75)
    assert IBP(eps=0.2, kappa=0.5).scaled(1.0) == IBP(eps=0.2, kappa=0.5)
    with pytest.raises(ConfigurationError, match="ibp: expected a model that returns logits as a tensor, got out"):
        IBP().loss(Classifier(torch.nn.Sequential(*net, torch.nn.Softmax(dim=1))), x, y)
    with pytest.raises(ConfigurationError, match="ibp: expected norm Linf, got L2; use pgd-at or trades"):
        create("ibp", norm="L2")


def test_the_divergence_is_kl_and_its_direction_the_gradient_up_to_a_positive_factor():
    z = torch.randn(4, 5, generator=generator(1), dtype=torch.float64, requires_grad=True)
    goal = torch.randn(4, 5, generator=generator(2), dtype=torch.float64).softmax(1)
    value, direction = divergence(z.detach(), goal)
    kl = (goal * (goal.log() - z.log_softmax(1))).sum(1)
    (grad,) = torch.autograd.grad(kl.sum(), z)
    torch.testing.assert_close(value, kl.detach())
    torch.testing.assert_close(direction, grad / grad.abs().amax(1, keepdim=True))
    assert divergence(z.detach(), z.detach().softmax(1))[1].abs().max() <= 1  # no gradient, no division by zero


def test_one_step_training_makes_the_step_of_the_paper():
    model, samples = smooth_cnn(), batch()
    classifier = Classifier(model)
    step = FGSMRS(eps=0.1, alpha=1.0, random_start=False).crafted(classifier, samples)
    plain = FGSM(eps=0.1)
    assert step.equal(PGDTraining(attack=plain).crafted(classifier, samples))
    assert step.equal(FGSMTraining(eps=0.1).crafted(classifier, samples))


def test_fgsm_training_on_a_linear_model_is_its_formula():
    weight = torch.randn(3, 4, generator=generator(5), dtype=torch.float64)
    x, y = 0.2 + 0.6 * torch.rand(5, 4, generator=generator(6), dtype=torch.float64), labels(5, 3)
    samples, objective = Minibatch(x, y, torch.arange(5)), FGSMTraining(eps=0.1, clean_weight=0.3)
    total = 0.0
    for point, label in zip(x, y, strict=True):
        slope = ((weight @ point).softmax(0) - torch.eye(3, dtype=torch.float64)[label]) @ weight
        total += 0.3 * float(cross_entropy(weight @ point, label))
        total += 0.7 * float(cross_entropy(weight @ (point + 0.1 * slope.sign()), label))
    assert float(objective.backward(Classifier(linear(weight)), samples)) == pytest.approx(total / 5, rel=1e-12)


def test_noise_fgsm_leaves_the_ball_but_not_the_box_and_moves_by_noise_plus_step():
    classifier, samples = Classifier(smooth_cnn()), batch(40)
    far = (NFGSM(eps=0.1).crafted(classifier, samples) - samples.x).abs()
    assert 0.2 < far.max() <= 0.3
    noise = NFGSM(eps=0.1, alpha=0).crafted(classifier, samples)
    assert 0.19 < (noise - samples.x).abs().max() <= 0.2
    assert noise.min() >= 0
    assert noise.max() <= 1


def test_noise_fgsm_clips_the_noise_before_the_step_so_that_the_step_is_felt_at_the_ends_of_the_range():
    weight = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])  # the loss of class 1 falls with either coordinate
    x = torch.ones(50, 2)
    samples = Minibatch(x, torch.ones(50, dtype=torch.int64), torch.arange(50))
    crafted = NFGSM(eps=0.1).crafted(Classifier(linear(weight)), samples)
    # Noise of up to 0.2 points outwards half of the time: cut off first, it leaves the step its whole length.
    assert crafted.max() <= 0.9 + 1e-6
    assert crafted.isclose(torch.tensor(0.9)).double().mean() > 0.3


def test_free_keeps_its_perturbation_from_batch_to_batch():
    classifier, memory = Classifier(smooth_cnn()), {}
    objective = Free(eps=0.1, m=3)
    first, second = batch(6, memory=memory), Minibatch(images(4, seed=9), labels(4), torch.arange(4), memory=memory)
    assert objective.crafted(classifier, first).equal(first.x)
    objective.backward(classifier, first)
    delta = memory["delta"].clone()
    assert delta.abs().max() == pytest.approx(0.1)
    crafted = objective.crafted(classifier, second).detach()
    torch.testing.assert_close(crafted, (second.x + delta[:4]).clamp(0, 1), rtol=0, atol=1e-15)
    objective.backward(classifier, second)
    assert memory["delta"][4:].equal(delta[4:])
    assert objective.replays == 3
    assert AWP(objective=objective).replays == 3


def test_free_does_not_move_where_the_box_cuts_the_perturbation_off():
    weight = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # the loss of class 1 grows with either coordinate
    classifier, y, ids = Classifier(linear(weight)), torch.tensor([0]), torch.arange(1)
    memory = {"delta": torch.tensor([[-0.1, -0.1]])}
    Free(eps=0.2, m=1, step=0.25).backward(classifier, Minibatch(torch.tensor([[0.0, 0.5]]), y, ids, memory=memory))
    torch.testing.assert_close(memory["delta"], torch.tensor([[-0.1, -0.15]]))


def test_a_linear_model_is_aligned_and_a_bent_one_is_not():
    samples = batch()
    halves = Minibatch(samples.x, samples.y % 2, samples.ids)
    two = linear(torch.randn(2, 36, generator=generator(3), dtype=torch.float64))
    # With two classes the gradient of a linear model points the same way everywhere.
    assert float(GradAlign().misalignment(Classifier(two), halves).detach()) == pytest.approx(0, abs=1e-9)
    bent = EVERY["gradalign"]
    net = smooth_cnn()
    assert 0.001 < float(bent.misalignment(Classifier(net), samples).detach()) < 2
    plain = gradient(bent.objective, smooth_cnn(), samples)
    aligned = gradient(bent, smooth_cnn(), samples)
    assert aligned[0] > plain[0]
    assert not same(aligned[1], plain[1])


def test_alignment_reaches_the_weights_of_a_model_with_attention():
    samples = Minibatch(torch.rand(3, 1, 8, 8, generator=generator(1)), labels(3), torch.arange(3))
    model = small_model("vit:layers=1,width=8", (1, 8, 8), 4)
    aligned = GradAlign(objective=FGSMRS(eps=0.1)).misalignment(Classifier(model), samples)
    aligned.backward()
    assert 0 < float(aligned.detach()) < 2
    assert all(p.grad.any() for name, p in model.named_parameters() if "in_proj_weight" in name)


@every
def test_in_anybodys_own_loop_its_loss_leaves_the_gradient_of_its_backward_pass(objective):
    samples = batch(dtype=torch.float32, epoch=objective.idle_epochs + 1, seed=5)
    torch.manual_seed(0)
    loss, grads, buffers = gradient(objective, smooth_cnn(dtype=torch.float32), samples)
    model = smooth_cnn(dtype=torch.float32)
    model[0].weight.grad = torch.ones_like(model[0].weight)  # of an earlier step: gradients add up
    options = {"memory": {}} if objective.keeps_memory else {}
    here = objective.loss_on(model, samples.x, samples.y, seed=5, **options)
    assert model[0].weight.grad.eq(1).all()
    here.backward()
    model[0].weight.grad -= 1
    torch.testing.assert_close(here.detach(), loss, rtol=1e-6, atol=1e-7)
    for weight, expected in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-6)
    assert all(value.equal(buffers[name]) for name, value in model.named_buffers())
    assert model.training


@adversarial
def test_two_lines_of_a_plain_loop_train_a_bare_module(objective):
    model, x, y = smooth_cnn(dtype=torch.float32), images(6, torch.float32), labels(6)
    torch.manual_seed(0)
    optimizer, memory = torch.optim.Adam(model.parameters(), 3e-3), {}
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = objective.loss_on(model, x, y, memory=memory) if objective.keeps_memory else objective.loss(model, x, y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not objective.keeps_memory or memory["delta"].any()


def test_a_loop_of_ones_own_is_told_what_it_forgot():
    model, x, y = smooth_cnn(dtype=torch.float32), images(6, torch.float32), labels(6)
    with pytest.raises(ConfigurationError, match=r"free: expected memory, .* memory=memory\) 8 times in a row"):
        Free().loss(model, x, y)
    with pytest.raises(InvalidEvaluation, match="they look normalised"):
        PGDTraining().loss(model, x * 4 - 2, y)
    with pytest.raises(InvalidEvaluation, match="labels: expected"):
        MART().loss(model, x, y.float())


def test_label_smoothing_is_torchs_own():
    net, samples = smooth_cnn().eval(), batch()
    expected = cross_entropy(net(samples.x), samples.y, label_smoothing=0.3)
    for kind in (Standard, PGDTraining, FGSMTraining, FGSMRS, NFGSM, Free, TRADES):
        budget = {"attack": PGD(eps=0, steps=1)} if kind in (PGDTraining, TRADES) else {"eps": 0}
        objective = kind(label_smoothing=0.3, **({} if kind is Standard else budget))
        torch.testing.assert_close(objective.backward(Classifier(net), samples), expected.detach())


@adversarial
def test_scaling_scales_the_budget_and_every_step(objective):
    half = objective.scaled(0.5)
    assert parse_eps(half.inner.eps) == pytest.approx(parse_eps(objective.inner.eps) / 2)
    assert half.inner.step_length == pytest.approx(objective.inner.step_length / 2)
    assert half.scaled(2.0).inner.step_length == pytest.approx(objective.inner.step_length)


@adversarial
def test_the_gentler_objective_makes_smaller_steps_against_the_same_budget(objective):
    gentler = objective.gentler()
    assert gentler.inner.step_length == pytest.approx(objective.inner.step_length / 2)
    assert (gentler.inner.norm, gentler.inner.eps) == (objective.inner.norm, objective.inner.eps)


def test_texts_name_objectives_and_settings_of_their_inner_attack():
    assert create("standard") == Standard()
    assert create("trades:beta=2,steps=7", eps="0.3") == TRADES(attack=PGD(eps="0.3", steps=7), beta=2)
    assert create("pgd-at").inner.step_length == pytest.approx(2 / 255)
    nested = create("awp:gamma=0.005 + gradalign:weight=0.1 + fgsm-rs:alpha=1,random_start=false", "L2", 0.5)
    core = FGSMRS(norm="L2", eps=0.5, alpha=1, random_start=False)
    assert nested == AWP(objective=GradAlign(objective=core, weight=0.1), gamma=0.005)
    assert create("awp+standard") == AWP(objective=Standard())


def test_wrappers_spelled_as_a_text_have_the_settings_of_their_papers_unless_others_are_typed():
    assert (create("awp+trades").gamma, create("awp+trades").warmup) == (0.005, 10)
    assert (create("awp+pgd-at").gamma, create("awp+pgd-at").warmup) == (0.01, 0)
    assert create("awp:warmup=2+trades").warmup == 2
    core = create("gradalign+fgsm-rs").objective
    assert core == GradAlign().objective
    assert create("awp+gradalign+fgsm-rs").objective.objective == core
    assert create("gradalign+fgsm-rs:alpha=1.25,random_start=true").objective == FGSMRS()
    assert create("fgsm-rs") == FGSMRS()


def test_a_run_that_would_end_before_its_objective_begins_is_refused():
    classifier = Classifier(smooth_cnn(dtype=torch.float32))
    with pytest.raises(ConfigurationError, match="more epochs than the 10 after which awp begins, got 10; train"):
        fit(classifier, images(8, torch.float32), labels(8), create("awp+trades"), epochs=10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create("trade"), "did you mean 'trades'"),
        (lambda: create("trades:betta=1"), "did you mean 'beta'"),
        (lambda: create("trades:beta"), "name=value, got 'beta'"),
        (lambda: create("awp"), "expected one to wrap"),
        (lambda: create("trades+pgd-at"), "expected a wrapper .gradalign|awp"),
        (lambda: create("rslad"), r"expected teacher, which a text cannot hold; make it in Python: .*RSLAD.teacher="),
        (lambda: create("awp+ard:teacher=a.pt"), r"expected teacher to be a Classifier or .* got 'a.pt'; give"),
        (lambda: create("pgd-at:steps=0"), "steps to be an integer >= 1"),
        (lambda: TRADES(beta=-1), r"trades: expected beta in \[0, inf\), got -1"),
        (lambda: FGSMRS(alpha="1"), r"expected alpha to be a finite number, got '1'"),
        (lambda: Free(m=0), "expected m to be an integer >= 1, got 0"),
        (lambda: Standard(label_smoothing=2), r"label_smoothing in \[0, 1\], got 2"),
        (lambda: GradAlign(objective=Standard()), "objective with an eps, got 'standard'"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
