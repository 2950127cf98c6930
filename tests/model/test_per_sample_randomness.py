"""Random numbers inside a model belong to the sample, not to its company."""

from __future__ import annotations

import math
import warnings

import pytest
import scipy.stats
import torch
from nets import generator, images, smooth_cnn
from torch import nn
from torch.distributions import Bernoulli, Categorical, Exponential, Normal, Uniform
from torch.nn import functional

from robustkit.base.errors import ConfigurationError
from robustkit.maths.losses import get_loss
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.model.per_sample_randomness import chance

IDS = torch.tensor([5, 0, 17, 2**40, 3, 8, 11])
RESTART, STEP = torch.tensor([0, 1, 0, 2, 0, 0, 4]), torch.tensor([3, 0, 1, 0, 9, 2, 2])
X = images(7)


class Noisy(nn.Module):
    """A model that draws more than once, and twice by the same operation."""

    def forward(self, x):
        x = x + 0.1 * torch.randn_like(x)
        return functional.dropout(functional.dropout(x, 0.2, training=True), 0.3, training=True)


def noise_and_dropout(x: torch.Tensor):
    return functional.dropout(x + torch.randn_like(x), 0.5, training=True)


BY_ROW = {
    "noise": Noisy(),
    "randn": lambda x: x + torch.randn(x.shape),
    "rand for every sample": lambda x: x * torch.rand(len(x), 1, 1, 1),
    "rand_like": lambda x: x * torch.rand_like(x),
    "uniform_": lambda x: x + torch.empty_like(x).uniform_(-3, 5),
    "normal_": lambda x: x + torch.empty_like(x).normal_(2, 3),
    "normal around tensors": lambda x: torch.normal(x, 1 + x) + torch.normal(x, 2.0) + torch.normal(1.0, 1 + x),
    "normal of a size": lambda x: x + torch.normal(1.0, 2.0, x.shape, dtype=x.dtype),
    "bernoulli of probabilities": torch.bernoulli,
    "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(0.3) + torch.empty_like(x).bernoulli_(x),
    "dropout in place": lambda x: functional.dropout(x * 1, 0.4, training=True, inplace=True),
    "dropout of channels": lambda x: functional.dropout2d(x.expand(-1, 8, -1, -1), 0.4, training=True),
    "alpha dropout": lambda x: functional.alpha_dropout(x, 0.4, training=True),
    "fused dropout": lambda x: torch.native_dropout(x, 0.4, True)[0],
    "a member for every sample": lambda x: torch.stack([x, 2 * x, 3 * x])[torch.randint(3, (len(x),)), range(len(x))],
    "randint_like": lambda x: torch.randint_like(x, 2, 9) + torch.randint_like(x, 4),
    "gumbel": lambda x: functional.gumbel_softmax(x.flatten(1)),
    "attention": lambda x: functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
    "Normal": lambda x: Normal(x, 1 + x).sample() + Normal(x, 1 + x).rsample(),
    "Bernoulli": lambda x: Bernoulli(probs=x).sample(),
    "Uniform": lambda x: Uniform(x, x + 1).rsample(),
    "Exponential": lambda x: Exponential(1 + x).rsample(),
    "own generator": lambda x: x + torch.randn(x.shape, generator=generator()),
    "out": lambda x: torch.randn(x.shape, out=torch.empty(x.shape)),
}
FOR_ALL = {
    "rand": lambda x: x * torch.rand(()),
    "rand of two": lambda x: x * torch.rand(2).sum(),
    "randint": lambda x: x.roll(int(torch.randint(1000, ())), -1) + int(torch.randint(10**6, ())),
    "a repeated batch": lambda x: (x.repeat(3, 1, 1, 1) + torch.randn(3 * len(x), 1, 6, 6)).view(3, *x.shape).mean(0),
    "complex": lambda x: x * torch.randn(len(x), 1, 1, 1, dtype=torch.complex128).abs(),
    "permutation": lambda x: x[..., torch.randperm(6)] * torch.randperm(10**6)[0],
    "Categorical": lambda x: x * Categorical(torch.ones(1000)).sample(),
    "poisson": lambda x: torch.poisson(1000 * x),
    "rrelu": lambda x: functional.rrelu(x - 0.5, training=True),
}
by_row = pytest.mark.parametrize("model", BY_ROW.values(), ids=BY_ROW)
for_all = pytest.mark.parametrize("model", FOR_ALL.values(), ids=FOR_ALL)


def run(model, rows=None, seed=0, name="pgd", draw=0, restart=RESTART, step=STEP, ids=IDS, x=X):
    """Returns what the model says of the rows of X at the positions `rows`, in this order, and what was shared."""
    rows = torch.arange(len(x)) if rows is None else torch.tensor(rows, dtype=torch.int64)
    with chance(Stream(seed, name), ids[rows], restart[rows], step[rows], draw) as shared:
        return model(x[rows]), shared


def rows_of(n):
    return torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)


def drawn(draw, n=2000):
    """Returns what `draw` draws for n samples."""
    with chance(Stream(0, "pgd"), *rows_of(n)):
        return draw(n)


@by_row
def test_a_row_says_the_same_in_any_company_and_order(model):
    whole, shared = run(model)
    assert not shared
    for order in ([6, 2, 0, 4, 5, 3, 1], [1, 3, 5], [4, 2]):
        assert run(model, order)[0].equal(whole[order])
    assert torch.cat([run(model, [row])[0] for row in range(7)]).equal(whole)


@by_row
@pytest.mark.parametrize("other", [{"seed": 1}, {"name": "fgsm"}, {"draw": 1}, {"ids": IDS + 1}, {"step": STEP + 1}])
def test_every_sample_step_draw_and_attack_has_numbers_of_its_own(model, other):
    whole = run(model)[0]
    assert not run(model, **other)[0].equal(whole)


def test_every_restart_has_numbers_of_its_own():
    changed = (run(Noisy(), restart=RESTART + 1)[0] != run(Noisy())[0]).flatten(1).any(1)
    assert changed.all()


@for_all
def test_what_is_drawn_for_the_whole_batch_is_reproducible_and_named(model):
    found, shared = run(model)
    assert len(shared) > 0
    torch.rand(3)
    assert run(model)[0].equal(found)
    for other in ({"seed": 1}, {"name": "fgsm"}, {"draw": 1}):
        assert not run(model, **other)[0].equal(found)


def test_a_number_for_the_whole_batch_is_the_same_in_every_batch():
    def scale(x):
        return x * torch.rand(()) + torch.randint(9, (2,)).sum()

    whole = run(scale)[0]
    assert run(scale, [6, 2, 0])[0].equal(whole[[6, 2, 0]])
    assert run(scale, ids=IDS + 1, step=STEP + 1)[0].equal(whole)
    assert run(scale)[1] == {"rand", "randint"}


@pytest.mark.parametrize("model", [*BY_ROW.values(), *FOR_ALL.values()], ids=[*BY_ROW, *FOR_ALL])
def test_global_random_state_is_neither_read_nor_moved(model):
    torch.manual_seed(1)
    before, found = torch.get_rng_state(), run(model)[0]
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert run(model)[0].equal(found)


def test_a_generator_of_the_model_is_not_moved():
    own = generator(3)
    run(lambda x: x + torch.randn(x.shape, generator=own) + torch.poisson(x, own))
    assert own.get_state().equal(generator(3).get_state())


def test_the_numbers_are_those_of_the_stream():
    found = run(lambda x: (torch.randn_like(x), torch.rand(7, 3), torch.rand(7, 3), torch.rand(2)), draw=4)[0]
    where = IDS, RESTART, STEP
    assert found[0].equal(Stream(0, "pgd/model/4/randn_like/0").normal((1, 6, 6), *where))
    assert found[1].double().allclose(Stream(0, "pgd/model/4/rand/0").uniform((3,), *where), atol=2**-23)
    assert found[2].double().allclose(Stream(0, "pgd/model/4/rand/1").uniform((3,), *where), atol=2**-23)
    zero = torch.zeros(1, dtype=torch.int64)
    expected = Stream(0, "pgd/model/4/rand/2").uniform((2,), zero, zero, zero)[0]
    assert found[3].double().allclose(expected, atol=2**-23)


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda n: torch.randn(n, 9), scipy.stats.norm()),
        (lambda n: torch.randn_like(torch.empty(n, 9, dtype=torch.float64)), scipy.stats.norm()),
        (lambda n: torch.normal(3.0, 2.0, (n, 9)), scipy.stats.norm(3, 2)),
        (lambda n: torch.normal(torch.full((n, 9), -1.0), torch.full((n, 9), 0.5)), scipy.stats.norm(-1, 0.5)),
        (lambda n: torch.normal(torch.full((n, 9), -1.0), 0.5), scipy.stats.norm(-1, 0.5)),
        (lambda n: torch.empty(n, 9).normal_(1, 4), scipy.stats.norm(1, 4)),
        (lambda n: torch.rand(n, 9), scipy.stats.uniform()),
        (lambda n: torch.rand_like(torch.empty(n, 9)), scipy.stats.uniform()),
        (lambda n: torch.empty(n, 9).uniform_(-3, 5), scipy.stats.uniform(-3, 8)),
        (lambda n: torch.empty(n, 9).exponential_(2), scipy.stats.expon(scale=0.5)),
        (lambda n: Normal(torch.full((n, 9), 2.0), 3.0).rsample(), scipy.stats.norm(2, 3)),
        (lambda n: torch.rand(3 * n, 3), scipy.stats.uniform()),  # for the whole batch
    ],
)
def test_continuous_numbers_have_the_distribution_asked_for(draw, distribution):
    assert scipy.stats.kstest(drawn(draw).flatten().double().numpy(), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("draw", "shares"),
    [
        (lambda n: torch.bernoulli(torch.full((n, 9), 0.2)), [0.8, 0.2]),
        (lambda n: torch.bernoulli(torch.empty(n, 9), 0.7), [0.3, 0.7]),
        (lambda n: torch.empty(n, 9).bernoulli_(0.9), [0.1, 0.9]),
        (lambda n: torch.empty(n, 9).bernoulli_(torch.tensor(0.4)), [0.6, 0.4]),
        (lambda n: torch.randint(4, (n, 9)), [0.25] * 4),
        (lambda n: torch.randint(-1, 4, (n, 9)) + 1, [0.2] * 5),
        (lambda n: torch.randint_like(torch.empty(n, 9), 1, 3), [0, 0.5, 0.5]),
        (lambda n: functional.dropout(torch.ones(n, 9), 0.3, training=True) * 0.7, [0.3, 0.7]),
        (lambda n: torch.native_dropout(torch.ones(n, 9), 0.3, None)[0] * 0.7, [0.3, 0.7]),
    ],
)
def test_discrete_numbers_have_the_shares_asked_for(draw, shares):
    found = torch.bincount(drawn(draw).round().long().flatten(), minlength=len(shares)).double() / 18_000
    assert len(found) == len(shares)
    for share, expected in zip(found.tolist(), shares, strict=True):
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 18_000))


def test_numbers_of_one_pass_are_independent_of_each_other():
    first, second, other = drawn(lambda n: [torch.randn(n, 9), torch.randn(n, 9), torch.randn(n, 9).roll(1, 0)])
    for one, two in ((first, second), (second, other), (first, first.roll(1, 0)), (first, first.roll(1, 1))):
        assert abs(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]) < 4 / 18_000**0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_even_the_extreme_numbers_stay_in_their_range_in_every_dtype(dtype, monkeypatch):
    extremes = torch.tensor([2.0**-33, 1 - 2.0**-33], dtype=torch.float64)
    monkeypatch.setattr(Stream, "uniform", lambda self, shape, ids, *rest: extremes.expand(len(ids), *shape))
    rand, waiting, normal = drawn(
        lambda n: [
            f(torch.empty(n, 2, dtype=dtype))[0] for f in (torch.rand_like, torch.Tensor.exponential_, torch.randn_like)
        ]
    )
    assert 0 <= rand.min() <= rand.max() < 1
    assert waiting.min() > 0
    assert normal.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_outputs_have_the_dtype_and_layout_asked_for(dtype):
    like = torch.empty(7, 3, 4, 4, dtype=dtype).to(memory_format=torch.channels_last)
    for found in run(lambda x: [torch.randn_like(like), functional.dropout(like, training=True), like.normal_()])[0]:
        assert (found.dtype, found.stride()) == (dtype, like.stride())
    half, counts, flag = run(
        lambda x: (torch.rand(7, 2, dtype=dtype), torch.randint(3, (7,)), torch.empty(7, dtype=torch.bool).bernoulli_())
    )[0]
    assert (half.dtype, counts.dtype, flag.dtype) == (dtype, torch.int64, torch.bool)


def test_drawing_in_place_changes_and_returns_the_tensor_itself():
    kept = torch.zeros(7, 4)
    view = kept[:, ::2]
    found = run(lambda x: view.normal_())[0]
    assert found is view
    assert (kept[:, ::2] != 0).all()
    assert (kept[:, 1::2] == 0).all()


def test_gradients_flow_through_noise_and_dropout():
    x = X.clone().requires_grad_()
    found = run(lambda x: functional.dropout(x + torch.randn_like(x), 0.25, training=True), x=x)[0]
    (grad,) = torch.autograd.grad(found.sum(), x)
    assert grad.equal((found != 0).double() / 0.75)
    assert 0 < grad.count_nonzero() < grad.numel()


def test_the_fused_dropout_is_that_of_the_composite_one_with_its_gradient():
    x = X.clone().requires_grad_()
    fused = run(lambda x: torch.native_dropout(x, 0.4, True)[0], x=x)[0]
    plain = run(lambda x: functional.dropout(x, 0.4, training=True), x=x)[0]
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(*(torch.autograd.grad((out**2).sum(), x)[0] for out in (fused, plain)))


@pytest.mark.parametrize(("p", "train"), [(0.0, True), (1.0, True), (0.5, False)])
def test_dropout_of_nothing_and_of_everything(p, train):
    found, keep = run(lambda x: torch.native_dropout(x, p, train))[0]
    assert found.equal(torch.zeros_like(X) if p == 1 else X)
    assert keep.equal(torch.full_like(X, p != 1, dtype=torch.bool))


def test_reparameterised_samples_have_the_noise_as_gradient_of_the_scale():
    scale = torch.ones(7, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    found = run(lambda x: Normal(x, scale).rsample())[0]
    (grad,) = torch.autograd.grad(found.sum(), scale)
    torch.testing.assert_close(grad, found.detach() - X)


def test_the_input_gradient_of_a_random_classifier_is_the_same_in_any_company():
    classifier = Classifier(nn.Sequential(Noisy(), smooth_cnn()))

    def gradient(rows):
        y = torch.zeros(len(rows), dtype=torch.int64)
        with chance(Stream(0, "pgd"), IDS[rows], RESTART[rows], STEP[rows]):
            return classifier.gradient(X[rows], y, get_loss("ce")).grad

    with classifier.frozen():
        whole = gradient(torch.arange(7))
        assert (whole != 0).any()
        for rows in (torch.tensor([3]), torch.tensor([6, 0, 3])):
            torch.testing.assert_close(gradient(rows), whole[rows], rtol=1e-9, atol=1e-12)


def test_a_deterministic_model_says_the_same_bit_for_bit():
    net = smooth_cnn().eval()
    x = X.clone().requires_grad_()
    plain = net(x)
    found, shared = run(net, x=x)
    assert found.equal(plain)
    assert torch.autograd.grad(found.sum(), x)[0].equal(torch.autograd.grad(plain.sum(), x)[0])
    assert not shared


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_a_graph_change_nothing(mode):
    def model(x):
        return functional.dropout2d(Noisy()(x), 0.5, training=True), functional.alpha_dropout(x, 0.1, training=True)

    expected, _ = run(model)
    with mode():
        found, shared = run(model)
    assert all(one.equal(two) for one, two in zip(found, expected, strict=True))
    assert not shared


@pytest.mark.parametrize("kind", [Noisy(), lambda x: torch.poisson(9 * x)])
def test_the_innermost_context_decides_and_the_outer_one_goes_on_as_if_alone(kind):
    def nested(x):
        before = kind(x)
        with chance(Stream(9, "inner"), IDS, RESTART, STEP):
            inside = kind(x)
        return before, inside, kind(x)

    before, inside, after = run(nested)[0]
    alone = run(lambda x: (kind(x), kind(x)))[0]
    assert before.equal(alone[0])
    assert after.equal(alone[1])
    assert inside.equal(run(kind, seed=9, name="inner")[0])


def test_outside_the_context_torch_draws_as_ever_also_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        run(lambda x: 1 / 0)
    found = torch.rand(3)
    torch.set_rng_state(state)
    assert torch.rand(3).equal(found)


@pytest.mark.slow
def test_scripted_vectorised_and_compiled_models_draw_the_same():
    expected = run(noise_and_dropout)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, yet such models are about
        scripted = torch.jit.script(noise_and_dropout)
        compiled = torch.compile(noise_and_dropout, backend="eager")
        compiled(X)
    vectorised = torch.func.vmap(lambda row: row + torch.randn_like(row), randomness="different")
    for _ in range(3):  # a scripted function is optimised once it has run
        assert run(scripted)[0].equal(expected)
    assert run(compiled)[0].equal(expected)
    assert run(vectorised)[0].equal(run(lambda x: x + torch.randn_like(x))[0])


def test_an_empty_batch_and_an_empty_output_are_no_trouble():
    found, shared = run(lambda x: (x + torch.randn_like(x), torch.rand(0), torch.rand(3, 0)), rows=[])
    assert [part.numel() for part in found] == [0, 0, 0]
    assert not shared


def test_one_id_restart_and_step_per_row_is_demanded():
    with (
        pytest.raises(ConfigurationError, match=r"chance: expected ids, restart and step of one shape \(N,\), got"),
        chance(Stream(0, "pgd"), IDS, RESTART[:3], STEP),
    ):
        pass


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", [Noisy(), lambda x: x * torch.rand(2, device=x.device).sum()])
def test_a_gpu_draws_what_a_cpu_draws_and_its_generator_stays(model):
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    before = torch.cuda.get_rng_state(device)
    with chance(Stream(0, "pgd"), *(part.to(device) for part in (IDS, RESTART, STEP))):
        found, other = model(X.to(device)), torch.poisson(X.to(device))
    with chance(Stream(0, "pgd"), *(part.to(device) for part in (IDS, RESTART, STEP))):
        model(X.to(device))
        assert torch.poisson(X.to(device)).equal(other)
    torch.testing.assert_close(found.cpu(), run(model)[0])
    assert torch.cuda.get_rng_state(device).equal(before)
