"""Every way to wrap a model gives the same attack, and what cannot be wrapped is refused in one clear line."""

from __future__ import annotations

from collections import OrderedDict
from inspect import signature
from types import SimpleNamespace

import pytest
import torch
from nets import digits, digits_cnn, generator, images, labels, linear, robust_accuracy, smooth_cnn
from torch import nn

import robustkit
from robustkit.attacks import FGSM, PGD
from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.maths.losses import cross_entropy
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.small_models import create

X, Y = images(12), labels(12)
NET = smooth_cnn().eval()
PGD5 = PGD(steps=5, eps=0.1)


class Through(nn.Module):
    """A model followed by a function."""

    def __init__(self, net, function):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x):
        return self.function(self.net(x))


class Before(nn.Module):
    """A function followed by a model."""

    def __init__(self, net, function):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x):
        return self.net(self.function(x))


def attacked(classifier, attack=PGD5):
    return attack(classifier, X, Y).x_adv


def clean_logits(classifier, x):
    with classifier.frozen():
        return classifier.logits(classifier.accept(x))


@pytest.mark.parametrize(
    ("wrap", "select"),
    [
        (lambda z: (z, "features"), None),
        (lambda z: [z, z * 0], None),
        (lambda z: {"logits": z, "loss": 0}, None),
        (lambda z: OrderedDict(logits=z), None),
        (lambda z: SimpleNamespace(logits=z), None),
        (lambda z: SimpleNamespace(scores=z, logits=z * 0), "scores"),
        (lambda z: {"a": z * 0, "scores": z}, "scores"),
        (lambda z: (z * 0, z), 1),
        (lambda z: (z * 0, z), -1),
        (lambda z: {"out": {"deep": z}}, lambda out: out["out"]["deep"]),
    ],
)
def test_class_scores_are_found_inside_composite_outputs(wrap, select):
    assert attacked(Classifier(Through(NET, wrap), select=select)).equal(attacked(NET))


@pytest.mark.parametrize(
    ("wrap", "select"),
    [
        (lambda z: {"scores": z}, None),
        (lambda z: {"scores": z}, "score"),
        (lambda z: {"scores": z}, 0),
        (lambda z: SimpleNamespace(scores=z), "score"),
        (lambda z: SimpleNamespace(scores=z), None),
        (lambda z: (z,), 3),
        (lambda z: (), None),
        (lambda z: "abc", lambda out: out),
        (lambda z: None, None),
    ],
)
def test_an_output_without_scores_is_refused_in_one_line(wrap, select):
    with pytest.raises(
        ConfigurationError, match=r"expected a tensor, tuple, dict or object with \.logits, got .*select="
    ):
        attacked(Classifier(Through(NET, wrap), select=select))


def test_scores_of_more_than_two_axes_are_refused():
    with pytest.raises(ConfigurationError, match=r"scores of shape \(N, K\), got \(\d+, 4, 1\)"):
        attacked(Through(NET, lambda z: z.unsqueeze(2)))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (0.3, 0.2),
        ([0.3], (0.2,)),
        (torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64)),
        (torch.full((1, 6, 6), 0.3, dtype=torch.float64), torch.full((6, 6), 0.2, dtype=torch.float64)),
    ],
)
def test_mean_and_std_equal_a_model_that_normalises_itself(mean, std):
    assert attacked(Classifier(NET, mean=mean, std=std)).equal(attacked(Before(NET, lambda x: (x - 0.3) / 0.2)))


def test_mean_and_std_per_channel_go_along_axis_one():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    x = torch.rand(4, 3, 2, 2, dtype=torch.float64)
    mean, std = [0.1, 0.2, 0.3], [1, 2, 4]
    scaled = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    assert Classifier(net, mean=mean, std=std).raw(x).equal(net(scaled))


def test_mean_without_std_and_std_without_mean_work():
    for arguments, function in (({"mean": 0.5}, lambda x: x - 0.5), ({"std": 0.5}, lambda x: x / 0.5)):
        assert Classifier(NET, **arguments).raw(X).equal(NET(function(X)))


def test_mean_of_the_wrong_length_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"one number per channel of inputs \(12, 3, 6, 6\), got shape \(2, 1, 1\)"
    ):
        Classifier(NET, mean=[0.1, 0.2]).raw(X.expand(12, 3, 6, 6))


@pytest.mark.parametrize("std", [0, -1.0, [0.1, 0.0]])
def test_a_std_of_zero_is_refused(std):
    with pytest.raises(ConfigurationError, match="expected std > 0"):
        Classifier(NET, std=std)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (lambda z: z.softmax(1), "probabilities"),
        (lambda z: z.log_softmax(1), "log_probabilities"),
        (lambda z: z, "logits"),
    ],
)
@pytest.mark.parametrize("said", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_head_does_not_change_robust_accuracy_by_more_than_a_point(head, kind, said):
    x, y = digits(200)
    attack = PGD(steps=10, eps=0.1)
    plain = robust_accuracy(attack, digits_cnn(), x, y)
    assert 0.2 < plain < 0.8
    classifier = Classifier(Through(digits_cnn(), head), output=kind if said else "auto")
    assert abs(robust_accuracy(attack, classifier, x, y) - plain) <= 0.01
    assert classifier.output == kind


@pytest.mark.parametrize("twin", [lambda z: z * 1e4, lambda z: z + 1e6, lambda z: z * 1e-4])
@pytest.mark.parametrize("loss", ["margin", pytest.param("dlr", marks=pytest.mark.slow)])
def test_rescaling_or_shifting_the_logits_gains_a_model_less_than_two_points(twin, loss):
    x, y = digits(150)
    attack = PGD(steps=10, eps=0.1, loss=loss)
    plain = robust_accuracy(attack, digits_cnn(), x, y)
    assert abs(robust_accuracy(attack, Through(digits_cnn(), twin), x, y) - plain) < 0.02


def test_cross_entropy_is_indifferent_to_a_shift_and_no_weaker_than_the_margin_at_a_huge_scale():
    x, y = digits(150)
    plain = robust_accuracy(PGD(steps=10, eps=0.1), digits_cnn(), x, y)
    shifted = robust_accuracy(PGD(steps=10, eps=0.1), Through(digits_cnn(), lambda z: z + 1e6), x, y)
    scaled = robust_accuracy(PGD(steps=10, eps=0.1), Through(digits_cnn(), lambda z: z * 1e4), x, y)
    assert abs(shifted - plain) < 0.02
    assert scaled <= robust_accuracy(PGD(steps=10, eps=0.1, loss="margin"), digits_cnn(), x, y) + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_weights_of_any_precision_are_attacked_about_as_well(dtype):
    x, y = digits(100)
    attack = PGD(steps=10, eps=0.1)
    net = create("cnn", (1, 8, 8), 10)
    net.load_state_dict(digits_cnn().state_dict())
    classifier = Classifier(net.to(dtype))
    working = torch.float64 if dtype == torch.float64 else torch.float32
    assert classifier.dtype == attack(classifier, x[:2], y[:2]).x_adv.dtype == working
    tolerance = 0.0 if dtype == torch.float32 else 0.05
    assert robust_accuracy(attack, classifier, x, y) == pytest.approx(
        robust_accuracy(attack, digits_cnn(), x, y), abs=tolerance
    )
    assert int(classifier.tally.zero_gradients) == 0


def test_probabilities_are_read_as_their_logarithm():
    classifier = Classifier(Through(NET, lambda z: z.softmax(1)))
    found = clean_logits(classifier, X)
    torch.testing.assert_close(found.softmax(1), NET(X).softmax(1))
    assert classifier.output == "probabilities"


def test_a_probability_of_zero_stays_finite():
    head = nn.Module()
    head.forward = lambda x: torch.tensor([[0.0, 1.0, 0.0]]).expand(len(x), 3) + 0 * x.sum()
    assert clean_logits(Classifier(head), X).isfinite().all()


def test_one_logit_is_the_logit_of_class_one_of_two():
    one = linear(torch.randn(1, 36, generator=generator(), dtype=torch.float64))
    two = Through(one, lambda z: torch.cat([torch.zeros_like(z), z], 1))
    y = labels(12, 2)
    for kind in ("auto", "binary_logit"):
        for flat in (False, True):
            classifier = Classifier(Through(one, lambda z: z[:, 0]) if flat else one, output=kind)
            assert PGD5(classifier, X, y).x_adv.equal(PGD5(two, X, y).x_adv)
            assert (classifier.output, classifier.num_classes) == ("binary_logit", 2)


def test_one_probability_is_that_of_class_one_of_two():
    one = linear(torch.randn(1, 36, generator=generator(), dtype=torch.float64))
    classifier = Classifier(Through(one, torch.sigmoid), output="probabilities")
    torch.testing.assert_close(clean_logits(classifier, X).softmax(1)[:, 1:], one(X).sigmoid())


def test_one_column_between_zero_and_one_must_be_named():
    one = linear(torch.randn(1, 36, generator=generator(), dtype=torch.float64))
    with pytest.raises(ConfigurationError, match=r"output='probabilities' or output='binary_logit'"):
        PGD5(Through(one, torch.sigmoid), X, labels(12, 2))


def test_a_binary_logit_of_two_columns_is_refused():
    with pytest.raises(ConfigurationError, match="'binary_logit' expects one column, got 4"):
        attacked(Classifier(NET, output="binary_logit"))


@pytest.mark.parametrize("classes", [2, 3, 7, 100])
def test_any_number_of_classes_works(classes):
    net, y = smooth_cnn(classes), labels(12, classes)
    classifier = Classifier(net, num_classes=classes)
    found = PGD(steps=3, eps=0.5)(classifier, X, y)
    assert classifier.classes(X) == classes
    assert found.success.equal(clean_logits(classifier, found.x_adv).argmax(1) != y)
    assert found.success.any()


def test_a_single_class_is_refused():
    with pytest.raises(ConfigurationError, match="expected 2 class scores a row, got 1"):
        attacked(Classifier(smooth_cnn(1), output="logits"))


@pytest.mark.parametrize(("said", "is_"), [(10, 4), (3, 4)])
def test_a_wrong_number_of_classes_is_refused(said, is_):
    with pytest.raises(ConfigurationError, match=f"expected {said} class scores a row, got {is_}; correct num_classes"):
        attacked(Classifier(NET, num_classes=said))


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(InvalidEvaluation, match=r"expected 0\.\.3 for 4 classes, got 0\.\.4"):
        PGD5(NET, X[:2], torch.tensor([0, 4]))


def test_tables_and_sequences_are_attacked_like_images():
    for name, shape in (("mlp", (7,)), ("lstm", (5, 3))):
        net = create(name, shape, 3)
        x = torch.rand(10, *shape, generator=generator())
        y = net(x).argmax(1)
        found = PGD(norm="L2", eps=3.0, steps=20)(Classifier(net, bounds=(-9, 9)), x, y)
        assert found.x_adv.shape == x.shape
        assert found.success.any(), name
        assert (found.margin > clean_margin(net, x, y)).all()


def clean_margin(net, x, y):
    z = net(x).detach().double()
    return z.scatter(1, y[:, None], -torch.inf).amax(1) - z.gather(1, y[:, None])[:, 0]


def test_table_columns_may_have_scales_of_their_own():
    net = create("mlp", (3,), 2)
    x = torch.rand(5, 3, generator=generator())
    mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 3.0]
    assert Classifier(net, mean=mean, std=std).raw(x).equal(net((x - torch.tensor(mean)) / torch.tensor(std)))


def test_grey_levels_in_0_to_255_give_the_attack_of_0_to_1():
    grey = Classifier(lambda x: NET(x / 255), bounds=(0, 255))
    grey.dtype = grey.model_dtype = torch.float64
    found = PGD(eps=8, steps=5)(grey, X * 255, Y)
    expected = PGD(eps=8 / 255, steps=5)(NET, X, Y)
    torch.testing.assert_close(found.x_adv / 255, expected.x_adv)
    assert found.success.equal(expected.success)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ((X - 0.45) / 0.22, r"within 0\.\.1, got -2\.045\.\.2\.5; they look normalised: .*mean= and std="),
        (X * 255, r"within 0\.\.1, got 0\.\.255; they look like grey levels: divide by 255, or set bounds=\(0, 255\)"),
        (X * 1e6, r"got 0\.\.1e\+06; rescale the inputs or correct bounds="),
        (X.masked_fill(torch.arange(12).view(-1, 1, 1, 1) == 7, torch.nan), "got NaN or infinity in row 7"),
        (X.masked_fill(torch.arange(12).view(-1, 1, 1, 1) == 3, torch.inf), "got NaN or infinity in row 3"),
        ((X * 255).byte(), r"floating-point inputs in \(0\.0, 1\.0\), got torch\.uint8; .*x\.float\(\) / 255"),
        (X[:0], "at least one input, got none"),
    ],
)
def test_inputs_that_cannot_be_meant_are_refused_naming_what_was_found(x, message):
    with pytest.raises(InvalidEvaluation, match=message) as caught:
        PGD5(NET, x, Y)
    assert "\n" not in str(caught.value)


def test_rounding_noise_at_the_bounds_is_clipped_off():
    x = X.clone()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = -1e-7, 1 + 1e-7
    found = Classifier(NET).accept(x)
    assert (found.min().item(), found.max().item()) == (0, 1)
    assert x.min() < 0


def test_accepted_inputs_are_a_fresh_copy_without_graph():
    x = X.clone().requires_grad_()
    found = Classifier(NET).accept(x)
    assert not found.requires_grad
    found.zero_()
    assert x.detach().equal(X)


def test_a_model_that_works_in_place_on_its_input_is_harmless():
    in_place = Before(NET, lambda x: x.sub_(0.5))
    x = X.clone()
    assert attacked(in_place).equal(attacked(Before(NET, lambda x: x - 0.5)))
    PGD5(in_place, x, Y)
    assert x.equal(X)


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: torch.from_numpy(x.detach().numpy())])
@pytest.mark.parametrize("wrap", ["module", "function"])
def test_a_graph_cut_off_from_the_input_is_refused_in_one_clear_line(cut, wrap):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = NET

        def forward(self, x):
            return self.net(cut(x))

    trainable = smooth_cnn().eval()
    model = Cut() if wrap == "module" else lambda x: trainable(cut(x).double())
    for attack in (PGD5, FGSM()):
        with pytest.raises(InvalidEvaluation, match="differentiated, got one cut off from the input") as caught:
            attack(model, X, Y)
        assert "\n" not in str(caught.value)


def test_gradient_is_that_of_the_summed_loss_for_each_row_alone():
    classifier = Classifier(NET)
    with classifier.frozen():
        found = classifier.gradient(X, Y, cross_entropy)
        alone = [classifier.gradient(X[i : i + 1], Y[i : i + 1], cross_entropy).grad for i in range(12)]
    x = X.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(NET(x), Y, reduction="none")
    (grad,) = torch.autograd.grad(loss.sum(), x)
    torch.testing.assert_close(torch.cat(alone), found.grad, rtol=1e-9, atol=1e-12)
    wrongness = 1 - NET(X).softmax(1).gather(1, Y[:, None]).detach()
    torch.testing.assert_close(found.grad * wrongness.view(-1, 1, 1, 1), grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.loss, loss.detach())


def test_tally_counts_rows_forward_and_backward_and_bad_gradients():
    flat = linear(torch.zeros(3, 36, dtype=torch.float64))
    steep = Through(linear(torch.eye(3, 36, dtype=torch.float64)), lambda z: (z - z.detach()).sqrt())
    y = labels(12, 3)
    for net, zero, bad in ((NET, 0, 0), (flat, 12, 0), (steep, 0, 12)):
        classifier = Classifier(net, output="logits", num_classes=4 if net is NET else 3)
        with classifier.frozen():
            grad = classifier.gradient(X, y, cross_entropy).grad
            classifier.logits(X[:5])
        tally = classifier.tally
        assert grad.isfinite().all()
        assert (tally.forwards, tally.backwards) == (17, 12)
        assert (int(tally.zero_gradients), int(tally.nonfinite_gradients)) == (zero, bad)


def test_a_model_may_be_a_function_and_a_classifier_stays_itself():
    classifier = Classifier(NET)
    assert as_classifier(classifier) is classifier
    assert as_classifier(NET).model is NET
    assert attacked(lambda x: NET(x.double())).dtype == torch.float32
    assert Classifier(lambda x: x, device="meta").device.type == "meta"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "logit"}, "expected output among auto, logits, .* got 'logit'; did you mean 'logits'"),
        ({"bounds": (1, 0)}, r"expected bounds \(low, high\) with low < high, got \(1, 0\)"),
        ({"model": 3}, "expected a module or a function, got int"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Classifier(**{"model": NET, **arguments})


class TestReplace:
    SETTINGS = ("bounds", "output", "select", "num_classes", "class_names", "draws", "device", "dtype", "model_dtype")

    def classifier(self, **changes) -> Classifier:
        said = {
            "output": "log_probabilities",
            "select": "z",
            "num_classes": 3,
            "class_names": ("a", "b", "c"),
            "draws": 4,
        }
        return Classifier(NET, **{"bounds": (-1, 2), "mean": [0.5], "std": [0.25], **said, **changes})

    def test_everything_stays_but_what_is_changed(self):
        one = self.classifier()
        other = one.replace(draws=2)
        assert other.draws == 2
        assert one.draws == 4
        assert (other.model, other.module) == (one.model, one.module)
        assert {name: getattr(other, name) for name in self.SETTINGS} == {
            **{name: getattr(one, name) for name in self.SETTINGS},
            "draws": 2,
        }
        assert torch.equal(other.mean, one.mean)
        assert torch.equal(other.std, one.std)

    def test_no_argument_of_a_classifier_is_left_out_above(self):
        assert signature(Classifier).parameters.keys() - {*self.SETTINGS} == {"model", "mean", "std"}

    def test_what_was_found_out_is_known_to_the_copy(self):
        one = Classifier(NET)
        classes = one.classes(X)
        assert (one.replace().output, one.replace().num_classes) == ("logits", classes)
        assert one.replace(output="auto", num_classes=None).num_classes is None

    def test_passes_are_counted_apart_unless_the_tally_is_shared(self):
        one = Classifier(NET)
        apart, together = one.replace(), one.replace(tally=one.tally)
        apart.logits(X)
        assert (one.tally.forwards, apart.tally.forwards) == (0, len(X))
        together.logits(X)
        assert one.tally.forwards == len(X)

    def test_a_new_module_brings_its_precision_and_mean_and_std_follow(self):
        other = self.classifier().replace(model=smooth_cnn().double())
        assert other.dtype == other.model_dtype == other.mean.dtype == other.std.dtype == torch.float64
        assert other.module is other.model
        assert self.classifier().replace(model=smooth_cnn().half()).dtype == torch.float32

    def test_constants_can_be_taken_away(self):
        bare = self.classifier().replace(mean=None, std=None)
        assert bare.mean is None
        assert bare.std is None

    @pytest.mark.parametrize(
        ("changes", "error"),
        [({"draws": 0}, ConfigurationError), ({"std": 0.0}, ConfigurationError), ({"eps": 1}, TypeError)],
    )
    def test_what_a_classifier_refuses_is_refused(self, changes, error):
        with pytest.raises(error):
            self.classifier().replace(**changes)

    def test_a_subclass_stays_one(self):
        class Mine(Classifier):
            pass

        assert type(Mine(NET).replace(draws=2)) is Mine


class Sigmoids(nn.Module):
    """A digits network that answers for each class by itself."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.net, self.scale = digits_cnn(), scale

    def forward(self, x):
        return (self.scale * self.net(x)).sigmoid()


def test_sigmoids_keep_their_own_confidence_in_an_evaluation():
    x, y = digits(60)
    found = robustkit.evaluate(Classifier(Sigmoids(), output="sigmoid"), (x, y), [FGSM(eps=0.1)])
    own = Sigmoids()(x)
    assert torch.allclose(torch.tensor(found.ledger["clean_confidence"]).float(), own.amax(1), atol=1e-5)
    assert found.ledger["clean_prediction"].tolist() == own.argmax(1).tolist()
    shares = own / own.sum(1, keepdim=True)
    nll = -shares[torch.arange(60), y].log()
    assert torch.allclose(torch.tensor(found.ledger["clean_nll"]).float(), nll, atol=1e-3)
    same = robustkit.evaluate(digits_cnn(), (x, y), [FGSM(eps=0.1)])
    assert abs(found.robust_accuracy.k - same.robust_accuracy.k) <= 1  # the same function of the same classes


def test_an_output_that_changes_its_kind_after_the_first_batch_is_refused():
    class Late(nn.Module):
        """Answers like probabilities for dark inputs only."""

        def forward(self, x):
            z = digits_cnn()(x)
            dark = (x.flatten(1).mean(1, keepdim=True) < 0.5).float()
            return dark * z.softmax(1) + (1 - dark) * z.sigmoid()

    x, y = digits(64)
    bright = digits_cnn()(0.7 + 0.3 * x).argmax(1)
    both = torch.cat([x] * 4 + [0.7 + 0.3 * x]), torch.cat([y] * 4 + [bright])
    with pytest.raises(ConfigurationError, match="output 'probabilities' expects rows that add up to 1"):
        robustkit.evaluate(Late(), both, [FGSM(eps=0.1)], batch_size=64)


@pytest.mark.parametrize(("after", "said", "likely"), [
    (lambda z: z.softmax(1), "logits", "probabilities"),
    (lambda z: z, "probabilities", "logits"),
    (lambda z: z, "log_probabilities", "logits"),
    (lambda z: z, "sigmoid", "logits"),
])  # fmt: skip
def test_a_declared_output_is_checked_before_any_attack(after, said, likely):
    model = Classifier(Through(digits_cnn(), after), output=said)
    with pytest.raises(ConfigurationError, match=f"say output='{likely}'"):
        robustkit.evaluate(model, digits(64), [FGSM(eps=0.1)])


def test_sigmoids_are_asked_about_even_where_the_first_samples_were_too_few_to_tell():
    model, x = Classifier(Sigmoids()), digits(64)[0]
    model.logits(x[:1])
    with model.checked(), pytest.raises(ConfigurationError, match="say output='sigmoid' or output='logits'"):
        model.logits(x)


def test_sigmoids_are_not_averaged_as_if_they_were_one_choice():
    with pytest.raises(ConfigurationError, match="expected draws=1 with output='sigmoid'"):
        Classifier(Sigmoids(), output="sigmoid", draws=4)


def test_one_column_of_sigmoids_is_the_probability_of_the_second_class():
    model = Classifier(lambda x: x.flatten(1)[:, :1].sigmoid(), output="sigmoid")
    x = torch.rand(5, 1, 2, 2)
    assert torch.allclose(model.probabilities(model.logits(x))[:, 1], x.flatten(1)[:, 0].sigmoid(), atol=1e-6)


def test_one_column_fewer_than_classes_is_called_ordinal():
    model = Classifier(Through(digits_cnn(), lambda z: z[:, :9]), num_classes=10)
    with pytest.raises(ConfigurationError, match="CORAL"):
        model.logits(digits(4)[0])
