"""The 15 common corruptions: each sample its own numbers, more damage with severity, exact answers where there are."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import poisson as scipy_poisson

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.shift.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from robustkit.shift.corruptions.filters import disc, gaussian, smear, zoom
from robustkit.shift.corruptions.noise import poisson
from robustkit.shift.corruptions.random_draws import Draws

NAMES = list(CORRUPTIONS)
RANDOM = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"),
    "elastic_transform",
}
SMOOTH = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate", "contrast")


def scenes(n: int = 4, channels: int = 3, size: tuple[int, int] = (32, 32), dtype=torch.float32) -> torch.Tensor:
    """Returns coloured landscapes, whose spectrum is about that of photographs."""
    draws = Draws(0, "scenes", torch.arange(n), torch.zeros((), dtype=dtype))
    return torch.cat([draws.landscape(size, 1.9, channel) for channel in range(channels)], dim=1)


@pytest.fixture(scope="module")
def photos(shared_data):
    with np.load(shared_data / "data" / "cifar10_lossless" / "test406.npz") as file:
        x = torch.from_numpy(file["images"]).movedim(-1, 1).float() / 255
        return x, torch.from_numpy(file["labels"])


def test_there_are_fifteen_under_their_published_names():
    assert len(NAMES) == 15
    assert {"gaussian_noise", "glass_blur", "snow", "elastic_transform", "jpeg_compression"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("channels", "size", "dtype"),
    [
        (1, (28, 28), torch.float32),
        (3, (32, 32), torch.float64),
        (1, (8, 8), torch.float64),
        (3, (65, 80), torch.float32),
    ],
)
def test_images_keep_shape_and_dtype_and_stay_within_bounds(name, channels, size, dtype):
    x = scenes(2, channels, size, dtype)
    x[0, :, 0] = 0
    x[1, :, -1] = 1
    kept = x.clone()
    for severity in (1, 5):
        z = corrupt(x, name, severity, torch.arange(2))
        assert (z.shape, z.dtype) == (x.shape, x.dtype)
        assert z.amin() >= 0
        assert z.amax() <= 1
        assert not z.equal(x)
    assert x.equal(kept)


@pytest.mark.parametrize("name", NAMES)
def test_batch_and_order_do_not_matter(name):
    x, ids = scenes(5), torch.tensor([7, 3, 2**40, 0, 11])
    whole = corrupt(x, name, 3, ids)
    alone = torch.cat([corrupt(x[i : i + 1], name, 3, ids[i : i + 1]) for i in range(5)])
    turned = corrupt(x.flip(0), name, 3, ids.flip(0)).flip(0)
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(turned, whole, rtol=0, atol=1e-6)
    assert corrupt(x, name, 3, ids).equal(whole)


def test_large_batches_are_worked_off_in_parts(monkeypatch):
    x, ids = scenes(5), torch.arange(5)
    whole = corrupt(x, "frost", 2, ids)
    monkeypatch.setattr("robustkit.shift.corruptions._VALUES", 2 * x[0].numel())
    torch.testing.assert_close(corrupt(x, "frost", 2, ids), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_seed_and_id_matter_exactly_where_there_is_chance(name):
    x = scenes(1)
    first = corrupt(x, name, 3, torch.tensor([0]))
    assert corrupt(x, name, 3, torch.tensor([0]), seed=1).equal(first) == (name not in RANDOM)
    assert corrupt(x, name, 3, torch.tensor([1])).equal(first) == (name not in RANDOM)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "frost"])
def test_severity_never_lessens_the_change(name):
    x = scenes(24)
    change = [float((corrupt(x, name, s, torch.arange(24)) - x).square().mean()) for s in SEVERITIES]
    assert change[0] > 0
    assert change == sorted(change)
    assert change[4] > 1.5 * change[0]


def test_severity_of_frost_hides_ever_more_of_the_image():
    # It darkens the image and lightens it with ice, so its squared change is no measure: they cancel.
    x = scenes(24)
    likeness = [
        np.corrcoef(corrupt(x, "frost", s, torch.arange(24)).flatten().numpy(), x.flatten().numpy())[0, 1]
        for s in SEVERITIES
    ]
    assert likeness == sorted(likeness, reverse=True)
    assert likeness[0] - likeness[4] > 0.05


@pytest.mark.parametrize("name", ["gaussian_noise", "defocus_blur", "fog", "contrast", "pixelate", "jpeg_compression"])
def test_large_images_have_the_constants_of_imagenet_c(name):
    small, large = scenes(1, size=(63, 63)), scenes(1, size=(64, 64))
    one, other = (corrupt(x, name, 1, torch.tensor([0])) for x in (small, large))
    stronger = float((other - large).square().mean() / (one - small).square().mean())
    assert not 0.8 < stronger < 1.25


@pytest.mark.parametrize("name", SMOOTH)
def test_what_moves_or_averages_pixels_leaves_an_even_image_alone(name):
    x = torch.full((2, 3, 32, 32), 0.3, dtype=torch.float64)
    torch.testing.assert_close(corrupt(x, name, 5, torch.arange(2)), x)


def test_contrast_keeps_the_mean_and_scales_the_rest():
    x = scenes(2, dtype=torch.float64)
    z = corrupt(x, "contrast", 5, torch.arange(2))
    mean = x.mean((2, 3), keepdim=True)
    torch.testing.assert_close(z - mean, 0.15 * (x - mean))


def test_brightness_keeps_the_ratio_of_the_channels():
    x = torch.tensor([[0.4, 0.2, 0.1], [0.0, 0.0, 0.0], [0.9, 0.3, 0.0]]).view(3, 3, 1, 1)
    z = corrupt(x, "brightness", 3, torch.arange(3)).flatten(1)
    expected = torch.tensor([[0.55, 0.275, 0.1375], [0.15, 0.15, 0.15], [1.0, 1 / 3, 0.0]])
    torch.testing.assert_close(z, expected)


def test_gaussian_noise_has_the_published_scale():
    x = torch.full((4, 3, 32, 32), 0.5)
    for size, scale in ((32, 0.10), (64, 0.38)):
        noise = Draws(0, "gaussian_noise", torch.arange(4), x)
        raw = CORRUPTIONS["gaussian_noise"](torch.full((4, 3, size, size), 0.5), 5, noise) - 0.5
        assert float(raw.std()) == pytest.approx(scale, rel=0.03)
        assert abs(float(raw.mean())) < 0.01


def test_impulse_noise_sets_a_share_to_black_and_white_and_severities_are_nested():
    x, ids = torch.full((20, 3, 32, 32), 0.5), torch.arange(20)
    weak, strong = (corrupt(x, "impulse_noise", s, ids) for s in (2, 5))
    assert float((strong == 0).float().mean()) == pytest.approx(0.035, rel=0.1)
    assert float((strong == 1).float().mean()) == pytest.approx(0.035, rel=0.1)
    hit = weak != 0.5
    assert weak[hit].equal(strong[hit])


def test_poisson_counts_are_the_quantiles_of_scipy():
    mean = torch.tensor([0.0, 1e-9, 0.01, 0.5, 3.0, 20.0, 60.0, 500.0], dtype=torch.float64).view(-1, 1)
    uniform = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    uniform[:4] = torch.tensor([2.0**-33, 1 - 2.0**-33, 1e-6, 0.5], dtype=torch.float64)
    wide, spread = torch.broadcast_tensors(mean, uniform)
    found = poisson(wide.contiguous(), spread.contiguous())
    expected = np.maximum(scipy_poisson.ppf(uniform.numpy(), mean.numpy().clip(1e-300)), 0)
    assert np.array_equal(found.numpy(), expected)


def test_shot_noise_leaves_black_black():
    assert not corrupt(torch.zeros(1, 1, 28, 28), "shot_noise", 5, torch.tensor([0])).any()


def test_filters_of_a_point_are_the_kernels():
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[..., 10, 10] = 1
    blurred = gaussian(point, 2.0)
    assert float(blurred.sum()) == pytest.approx(1)
    assert float(blurred[0, 0, 10, 12] / blurred[0, 0, 10, 10]) == pytest.approx(np.exp(-0.5))
    round_ = disc(point, 3)[0, 0]
    assert round_[10, 13] == round_[13, 10] == round_[10, 10] / 2
    assert round_[10, 14] == round_[13, 13] == 0
    trace = smear(point, 3, 2, torch.tensor([0.0], dtype=torch.float64))[0, 0]
    weights = np.exp(-0.5 * (np.arange(7) / 2) ** 2)
    np.testing.assert_allclose(trace[10, 4:11].flip(0), weights / weights.sum(), atol=1e-12)
    assert trace[9].abs().sum() < 1e-12


def test_zoom_shows_the_centre():
    x = scenes(1, size=(32, 32), dtype=torch.float64)
    torch.testing.assert_close(zoom(x, 1.0), x)
    inner = torch.nn.functional.interpolate(x[:, :, 8:24, 8:24], scale_factor=2, mode="bilinear")
    torch.testing.assert_close(zoom(x, 2.0)[:, :, 1:-1, 1:-1], inner[:, :, 1:-1, 1:-1])


def test_pixelate_is_the_box_filter_of_pillow():
    grey = (scenes(1, 1) * 255).round() / 255
    picture = Image.fromarray((grey[0, 0] * 255).byte().numpy())
    for severity, share in ((1, 0.95), (3, 0.85), (5, 0.65)):
        few = picture.resize((int(32 * share),) * 2, Image.Resampling.BOX)
        expected = np.array(few.resize((32, 32), Image.Resampling.BOX)) / 255
        z = corrupt(grey, "pixelate", severity, torch.tensor([0]))[0, 0]
        assert np.abs(z.numpy() - expected).max() <= 1.01 / 255


def test_jpeg_is_that_of_pillow():
    x = (scenes(1) * 255).round() / 255
    file = io.BytesIO()
    Image.fromarray((x[0] * 255).round().byte().movedim(0, -1).numpy()).save(file, "JPEG", quality=40)
    z = corrupt(x, "jpeg_compression", 5, torch.tensor([0]))[0]
    assert np.array_equal((z * 255).round().byte().movedim(0, -1).numpy(), np.array(Image.open(file)))


def test_landscapes_span_zero_to_one_and_are_rougher_with_less_decay():
    draws = Draws(0, "any", torch.arange(3), torch.zeros(()))
    rough, smooth = draws.landscape((40, 30), 1.2), draws.landscape((40, 30), 4)
    for heights in (rough, smooth):
        assert heights.shape == (3, 1, 40, 30)
        assert heights.amin((1, 2, 3)).eq(0).all()
        assert heights.amax((1, 2, 3)).eq(1).all()
    assert rough.diff().square().mean() > 4 * smooth.diff().square().mean()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"name": "gausian_noise"}, ConfigurationError, "did you mean 'gaussian_noise'"),
        ({"severity": 0}, ConfigurationError, "severity to be an integer in 1..5, got 0"),
        ({"ids": torch.arange(3)}, ConfigurationError, "expected 2 ids"),
        ({"x": torch.rand(2, 4, 8, 8)}, InvalidEvaluation, "images (N, 1 or 3, H, W)"),
        ({"x": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, InvalidEvaluation, "torch.uint8"),
        ({"x": torch.full((2, 3, 8, 8), 255.0)}, InvalidEvaluation, "in 0..1, got 255..255"),
        ({"x": torch.full((2, 3, 8, 8), torch.nan)}, InvalidEvaluation, "in 0..1"),
    ],
)
def test_mistakes_are_named_in_one_line(change, kind, words):
    arguments = {"x": scenes(2), "name": "fog", "severity": 1, "ids": torch.arange(2), **change}
    with pytest.raises(kind) as caught:
        corrupt(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_accuracy_of_a_pretrained_network_falls_with_severity(name, pretrained, photos):
    x, y = photos
    net = pretrained("cifar10_akamaster_resnet20")
    with torch.no_grad():
        right = [
            float((net(corrupt(x, name, s, torch.arange(len(x)))).argmax(1) == y).double().mean()) for s in SEVERITIES
        ]
    # Snow is as published: at severity 2 as hard as at 3. Two of 406 samples, elsewhere, are noise.
    slack = 0.03 if name == "snow" else 0.0075
    assert all(weak >= strong - slack for weak, strong in itertools.pairwise(right)), right
    assert right[0] - right[4] > 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_makes_the_same_images(name):
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    for x in (scenes(3), scenes(2, 1, (96, 96), torch.float64)):
        ids = torch.arange(len(x))
        here, there = corrupt(x, name, 4, ids), corrupt(x.to(device), name, 4, ids)
        assert there.device == device
        assert there.dtype == x.dtype
        # A count of photons or a grey level may fall on the other side of a rounding, rarely.
        assert ((here - there.cpu()).abs() > 1e-4).double().mean() < 0.01
