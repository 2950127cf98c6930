"""What every attack promises, and exact answers where there are any."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from attack_rows import ROWS
from nets import digits, digits_cnn, generator, images, labels, robust_accuracy, smooth_cnn
from quick import one_norm_each, quick
from torch.nn.functional import cross_entropy

from robustkit.attacks import APGD, ATTACKS, FGSM, MIFGSM, PGD, Foolbox, Noise, create
from robustkit.attacks.apgd import checkpoints, windows
from robustkit.attacks.threat import parse_eps
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.model.classifier import Classifier
from robustkit.probes.closed_form import check_attack

NET = smooth_cnn().eval()
X, Y = images(12), labels(12)
every = pytest.mark.parametrize("attack", ROWS, ids=lambda a: f"{a.label}-{a.norm}")
every_kind = pytest.mark.parametrize("attack", one_norm_each(ROWS), ids=lambda a: f"{a.label}-{a.norm}")


def targetable(attack):
    return not getattr(attack, "targets", 0)


def test_every_attack_has_a_row():
    assert {row.name for row in ROWS} == set(ATTACKS)
    for name, kind in ATTACKS.items():
        norms = {row.norm for row in ROWS if row.name == name}
        assert norms == set(kind.norms) or kind is Foolbox


@every
@pytest.mark.parametrize("dtype", quick(torch.float32, slow=(torch.float64,)))
def test_results_lie_inside_the_threat_exactly(attack, dtype):
    found = attack(smooth_cnn(dtype=dtype).eval(), X.to(dtype), Y)
    assert attack.threat(Classifier(NET)).contains(found.x_adv, X.to(dtype)).all()
    assert (found.x_adv.dtype, found.x_adv.requires_grad) == (dtype, False)
    assert (found.distance <= parse_eps(attack.eps)).all()


@every
def test_a_radius_of_zero_returns_the_input_bit_for_bit(attack):
    found = dataclasses.replace(attack, eps=0)(NET, X, Y)
    assert found.x_adv.equal(X)


@every
def test_success_is_what_the_model_says(attack):
    found = attack(NET, X, Y)
    assert found.success.equal(NET(found.x_adv).argmax(1) != Y)
    assert found.success.any()


@every_kind
def test_results_do_not_depend_on_batch_size_or_order(attack):
    found = attack(NET, X, Y)
    order = torch.randperm(len(X), generator=generator())
    for size, rows in ((1, order[:4]), (7, order), (64, order)):
        other = attack(NET, X[rows], Y[rows], ids=rows, batch_size=size)
        assert other.success.equal(found.success[rows])
        torch.testing.assert_close(other.x_adv, found.x_adv[rows], atol=1e-6, rtol=0)


@every_kind
def test_the_seed_decides_and_global_generators_stay(attack):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (attack(NET, X, Y, seed=seed) for seed in (5, 5, 6))
    assert first.x_adv.equal(again.x_adv)
    if not attack.minimal:  # those start at the clean input, and what later starts find need not be nearer
        draws = not isinstance(attack, (FGSM, MIFGSM)) and attack.label != "foolbox:LinfDeepFoolAttack"
        assert first.x_adv.equal(other.x_adv) != draws
    assert torch.get_rng_state().equal(state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


@every_kind
def test_the_model_is_left_as_it_was(attack):
    net = smooth_cnn().train()
    net[1].eval()
    net[3].weight.requires_grad_(False)
    net[0].weight.grad = grad = torch.ones_like(net[0].weight)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            attack(net, X, Y)
    assert [m.training for m in net.modules()] == [m is not net[1] for m in net.modules()]
    assert [p.requires_grad for p in net.parameters()] == [p is not net[3].weight for p in net.parameters()]
    assert net[0].weight.grad is grad
    assert grad.eq(1).all()
    assert all(v.equal(before[k]) for k, v in net.state_dict().items())


@every
def test_targeted_success_means_the_target(attack):
    if not targetable(attack):
        return
    goal = (Y + 1) % 4
    found = attack(NET, X, Y, target=goal)
    assert found.success.equal(NET(found.x_adv).argmax(1) == goal)


@every
def test_settings_are_complete_and_ready_for_json(attack):
    settings = json.loads(json.dumps(attack.settings()))
    assert {"norm", "eps", "restarts"} <= set(settings)
    assert type(attack).__name__ in repr(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.eps = 1


@pytest.mark.parametrize("norm", quick("Linf", slow=("L2", "L1")))
def test_linear_models_break_just_outside_the_exact_distance_and_never_inside(norm):
    attacks = [FGSM(norm=norm)]
    attacks += [PGD(norm=norm, steps=200, step_size=0.05 * 0.03, eps=0.03, loss=loss) for loss in ("ce", "margin")]
    attacks += [APGD(norm=norm, steps=50, loss=loss) for loss in ("ce", "margin", "dlr")]
    for attack in attacks:
        found = check_attack(attack)
        assert (found.outside.k, found.inside.k, found.reach) == (found.outside.n, 0, 1.02), attack


def reference_fgsm(net, x, y, eps):
    """FGSM in ten lines, on float64 arrays."""
    point = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(net(point), y, reduction="sum"), point)
    clean, sign = x.numpy(), np.sign(grad.numpy())
    moved = clean + eps * sign
    moved = np.where(np.abs(moved - clean) > eps, np.nextafter(moved, clean), moved)
    return torch.from_numpy(np.where(sign == 0, clean, moved).clip(0, 1))


def test_fgsm_equals_the_reference_bit_for_bit():
    for seed in range(5):
        net, x, y = smooth_cnn(seed=seed).eval(), images(40, seed=seed), labels(40, seed=seed)
        assert FGSM(eps="8/255")(net, x, y).x_adv.equal(reference_fgsm(net, x, y, 8 / 255))


def test_attacks_order_as_their_strength():
    x, y = digits(200)
    orders = [Noise(eps=0.1), FGSM(eps=0.1), PGD(eps=0.1, steps=20), APGD(eps=0.1, steps=50)]
    accuracies = [robust_accuracy(attack, digits_cnn(), x, y) for attack in orders]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[1] + 0.1 > accuracies[2] + 0.1


def test_a_larger_radius_and_more_restarts_never_help_the_defender():
    x, y = digits(200)
    found = [robust_accuracy(PGD(eps=eps, steps=10), digits_cnn(), x, y) for eps in (0.02, 0.05, 0.1, 0.2)]
    assert found == sorted(found, reverse=True)
    once, more = (PGD(eps=0.1, steps=3, restarts=r)(digits_cnn(), x, y).success for r in (1, 4))
    assert (more | ~once).all()


def test_apgd_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert windows(100)[22] == 22
    assert windows(100)[41] == 19
    assert windows(100)[21] == 0


def test_apgd_halves_its_step_and_returns_to_the_best_point():
    """On a one-dimensional hat the first step of 2 eps overshoots, so progress must stall and the step shrink."""
    peak = torch.tensor([0.6], dtype=torch.float64)

    class Hat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.peak = torch.nn.Parameter(peak)

        def forward(self, x):
            rise = -(x - self.peak).abs().sum(1, keepdim=True)
            return torch.cat([torch.zeros_like(rise) + 1, rise, rise - 9], dim=1)

    found = APGD(eps=0.3, steps=60, loss="margin")(
        Hat(), torch.full((4, 1), 0.5, dtype=torch.float64), torch.zeros(4).long()
    )
    assert (found.x_adv - 0.6).abs().max() < 5e-3
    assert not found.success.any()


def test_pgd_agrees_with_torchattacks_and_foolbox_within_a_point():
    torchattacks = pytest.importorskip("torchattacks")
    x, y = digits(300)
    net, eps = digits_cnn(), 0.1
    right = net(x).argmax(1) == y
    ours = robust_accuracy(PGD(eps=eps, steps=40, step_size=0.01), net, x, y)
    torch.manual_seed(0)  # torchattacks draws its start from the global generator, which other tests move
    peer = torchattacks.PGD(net, eps=eps, alpha=0.01, steps=40)(x, y)
    theirs = float((right & (net(peer).argmax(1) == y)).double().mean())
    foolbox = Foolbox(attack="LinfPGD", eps=eps, options=(("abs_stepsize", 0.01), ("steps", 40)))
    third = robust_accuracy(foolbox, net, x[:60], y[:60])
    assert abs(ours - theirs) <= 0.01 + 1e-9
    assert abs(robust_accuracy(PGD(eps=eps, steps=40, step_size=0.01), net, x[:60], y[:60]) - third) <= 1.5 / 60


def test_specs_become_attacks():
    assert create("pgd:steps=7,loss=margin,eps=4/255", norm="L2", eps=1.0) == PGD(
        norm="L2", eps="4/255", steps=7, loss="margin"
    )
    assert create("foolbox:LinfDeepFoolAttack,steps=9", eps=0.1).settings()["steps"] == 9
    assert create("pgd:random_start=false,step_size=none") == PGD(random_start=False)


@pytest.mark.parametrize(("spec", "text"), [
    ("pdg", "did you mean 'pgd'"),
    ("pgd:step=3", "did you mean 'steps'"),
    ("pgd:steps=-1", "integer >= 1, got -1"),
    ("pgd:steps=2.5", "integer >= 1, got 2.5"),
    ("pgd:loss=cee", "did you mean 'ce'"),
    ("pgd:share=0", "share in"),
    ("pgd:eps=8//255", "8//255"),
    ("pgd:norm=L3", "got 'L3'"),
    ("apgd:targets=3", "say loss=dlr"),
    ("apgd:norm=L0", "expected a norm among Linf, L2, L1"),
    ("foolbox:L2DeepFoolAttack", "norm"),
    ("foolbox:LinfDeepFolAttack", "did you mean 'LinfDeepFoolAttack'"),
])  # fmt: skip
def test_wrong_specs_are_refused_in_one_line(spec, text):
    with pytest.raises(ConfigurationError, match=text) as raised:
        create(spec)
    assert "\n" not in str(raised.value)


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(InvalidEvaluation, match="labels: expected"):
        PGD(steps=1)(NET, X, Y + 4)


README = {  # share of the first n images that survive a plain PGD-20, as measured by others
    "mnist_trades": ("0.3", 0.945, 200),
    "mnist_convex_eps01": ("0.1", 0.965, 200),
    "mnist_cnn_a_adv": ("0.3", 0.79, 200),
    "mnist_fmn_standard": ("0.1", 0.66, 200),
    "mnist_autoattack_tf": ("0.3", 0.955, 200),
    "cifar10_resnet2b": ("2/255", 0.63, 100),
    "cifar10_akamaster_resnet20": ("8/255", 0.0, 200),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", README)
def test_pgd_is_as_strong_as_it_was_elsewhere_on_foreign_networks(name, pretrained, shared_data):
    eps, most, n = README[name]
    file = "mnist/test.npz" if name.startswith("mnist") else "cifar10_lossless/test406.npz"
    with np.load(shared_data / "data" / file) as stored:
        x, y = torch.from_numpy(stored["images"][:n]).float() / 255, torch.from_numpy(stored["labels"][:n]).long()
    x = x.permute(0, 3, 1, 2) if x.ndim == 4 and x.shape[-1] == 3 else x.reshape(n, 1, 28, 28)
    attack = PGD(eps=eps, steps=20, step_size=parse_eps(eps) / 4, random_start=False)
    assert robust_accuracy(attack, pretrained(name), x.contiguous(), y) <= most
