"""One printed patch for all images: it has to work wherever it is put, at any scale and rotation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.base.per_coordinate import one_range
from robustkit.base.settings import between, instance, integer
from robustkit.base.settings import seed as known_seed
from robustkit.data.labels import as_labels
from robustkit.maths.intervals import Proportion, proportion
from robustkit.maths.losses import get_loss
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier, as_classifier

_WHO, _TRIAL = "universal patch", 1 << 19  # steps from here on are those of trials
_DECAYS = 0.9, 0.999  # of Adam (Kingma & Ba 2015, arXiv 1412.6980)


@dataclass(frozen=True)
class Placing:
    """Where a patch may be put: anywhere inside the image, turned and scaled.

    Attributes:
        scale: Least and largest side of the patch, as shares of the shorter side of the image.
        max_degrees: Largest rotation to either side.
    """

    scale: tuple[float, float]
    max_degrees: float

    def on(self, x: Tensor, patch: Tensor, u: Tensor) -> Tensor:
        """Returns the images with the patch over them, as drawn by `u` (N, 4), uniform in (0, 1)."""
        turn = torch.deg2rad((2 * u[:, 0] - 1) * self.max_degrees)
        side = (self.scale[0] + u[:, 1] * (self.scale[1] - self.scale[0])) * min(x.shape[2:])
        cos, sin = turn.cos(), turn.sin()
        reach = side * (cos.abs() + sin.abs())  # of the turned patch, in pixels
        down, along = (
            (2 * u[:, 2 + axis] - 1) * (extent - reach).clamp(min=0) for axis, extent in enumerate(x.shape[2:])
        )
        # From the pixels of the image, in halves of either side, back to those of the patch.
        height, width = x.shape[2:]
        row_x = torch.stack([cos * width / side, sin * height / side, -(cos * along + sin * down) / side], 1)
        row_y = torch.stack([-sin * width / side, cos * height / side, (sin * along - cos * down) / side], 1)
        grid = nn.functional.affine_grid(torch.stack([row_x, row_y], 1), list(x.shape), align_corners=False).to(x.dtype)
        cover = (grid.abs().amax(-1) <= 1).unsqueeze(1)
        laid = nn.functional.grid_sample(
            patch.expand(len(x), *patch.shape), grid, padding_mode="border", align_corners=False
        )
        return torch.where(cover, laid, x)


@dataclass(frozen=True)
class UniversalPatch:
    """A patch, and what it does to images it was not made from where those were given.

    Attributes:
        patch: Its values (C, S, S), in the bounds of the model.
        placing: Where it may be put.
        success: Share of the initially correct samples that it brings to its goal, at a random place each.
        control: The same of a patch of noise, put at the same places.
    """

    patch: Tensor
    placing: Placing
    success: Proportion
    control: Proportion

    def on(self, x: Tensor, seed: int = 0) -> Tensor:
        """Returns images (N, C, H, W) with the patch at a random place each; the position is the id of the sample."""
        ids = torch.arange(len(x), device=x.device)
        return self.placing.on(x, self.patch.to(x), _drawn(Stream(seed, _WHO), ids, _TRIAL))


def universal_patch(
    classifier: Classifier | nn.Module | Callable[[Tensor], Any],
    x: Tensor,
    y: Tensor,
    *,
    scale: tuple[float, float] = (0.2, 0.4),
    max_degrees: float = 20,
    side: int | None = None,
    target: int | None = None,
    steps: int = 200,
    step_size: float = 0.05,
    trial: tuple[Tensor, Tensor] | None = None,
    batch_size: int = 64,
    seed: int = 0,
) -> UniversalPatch:
    """Returns one patch that changes the predictions of as many images as possible, wherever it is put.

    Brown et al. 2017, arXiv 1712.09665, equation 1: the expected loss over images, places, scales and rotations
    (Athalye et al. 2018, arXiv 1707.07397) is raised by Adam; every step draws all of them anew, for `batch_size`
    images. The loss is the margin, in the paper the log-probability of the target.

    Args:
        classifier: The model; a bare module takes inputs in 0..1.
        x: Images (N, C, H, W) to make it from.
        y: Labels (N,).
        scale: Least and largest side of the patch as shares of the shorter side of the image, in (0, 1].
        max_degrees: Largest rotation to either side, 0 to 180.
        side: Pixels of the patch along its side; by default as many as at its largest.
        target: Class that all predictions are to become; any wrong one by default.
        steps: Gradient steps, >= 1.
        step_size: Of Adam, in widths of the input range, > 0.
        trial: Other images and labels, on which the success is counted; by default `x` and `y`.
        batch_size: Images a step.
        seed: Of all random numbers.

    Raises:
        ConfigurationError: If a setting is out of its range, or the input range has no ends.
        InvalidEvaluation: If `x` holds no images.
    """
    if not isinstance(scale, list | tuple) or len(scale) != 2:
        raise ConfigurationError(f"{_WHO}: expected scale as two numbers, got {scale!r}; such as (0.2, 0.4)")
    least, most = (between(_WHO, "scale", end, "(0, 1]") for end in scale)
    if least > most:
        raise ConfigurationError(f"{_WHO}: expected a scale from small to large, got {scale}; exchange its ends")
    max_degrees = between(_WHO, "max_degrees", max_degrees, "[0, 180]")
    steps, batch_size = integer(_WHO, "steps", steps), integer(_WHO, "batch_size", batch_size)
    target, seed = None if target is None else integer(_WHO, "target", target, 0), known_seed(_WHO, seed)
    between(_WHO, "step_size", step_size, "(0, inf)")
    instance(_WHO, "x", x, Tensor)
    if x.ndim != 4:
        raise InvalidEvaluation(f"{_WHO}: expected images (N, C, H, W), got {tuple(x.shape)}; give it images")
    side = integer(_WHO, "side", math.ceil(most * min(x.shape[2:])) if side is None else side)
    classifier, placing = as_classifier(classifier), Placing((least, most), max_degrees)
    with classifier.frozen():
        x = classifier.accept(x)
        y = as_labels(y, classifier.classes(x[:1])).to(x.device)
        search = _Search(classifier, placing, Stream(seed, _WHO), target, batch_size)
        noise = search.noise((x.shape[1], side, side), x)
        patch = search.run(x, y, noise, steps, step_size)
        x, y = (x, y) if trial is None else (classifier.accept(trial[0]), as_labels(trial[1]).to(x.device))
        return UniversalPatch(patch, placing, search.success(x, y, patch), search.success(x, y, noise))


def _drawn(stream: Stream, ids: Tensor, step: int) -> Tensor:
    zero = torch.zeros_like(ids)
    return stream.uniform((4,), ids, zero, zero + step)


@dataclass(frozen=True)
class _Search:
    """What all steps have in common."""

    classifier: Classifier
    placing: Placing
    stream: Stream
    target: int | None
    batch_size: int

    def noise(self, shape: tuple[int, ...], x: Tensor) -> Tensor:
        """Returns uniform values in the input range."""
        low, high = self._ends()
        zero = torch.zeros(1, dtype=torch.int64, device=x.device)
        return (low + (high - low) * self.stream.uniform(shape, zero, zero, zero, draw=1)[0]).to(x.dtype)

    def _ends(self) -> tuple[float, float]:
        low, high = one_range(_WHO, self.classifier.bounds)
        if not math.isfinite(high - low):
            raise ConfigurationError(
                f"{_WHO}: expected a finite input range, got {self.classifier.bounds}; give the Classifier bounds"
            )
        return low, high

    def run(self, x: Tensor, y: Tensor, patch: Tensor, steps: int, step_size: float) -> Tensor:
        """Returns the patch after all steps; each looks at the next `batch_size` images."""
        low, high = self._ends()
        mean, square = torch.zeros_like(patch), torch.zeros_like(patch)
        for step in range(steps):
            ids = (step * self.batch_size + torch.arange(min(self.batch_size, len(x)), device=x.device)) % len(x)
            grad = self._gradient(x[ids], y[ids], patch, _drawn(self.stream, ids, step))
            mean, square = torch.lerp(grad, mean, _DECAYS[0]), torch.lerp(grad.square(), square, _DECAYS[1])
            pace = step_size * (high - low) / (1 - _DECAYS[0] ** (step + 1))
            spread = (square / (1 - _DECAYS[1] ** (step + 1))).sqrt().clamp(min=torch.finfo(patch.dtype).tiny)
            patch = (patch + pace * mean / spread).clamp(low, high)
        return patch

    def _gradient(self, x: Tensor, y: Tensor, patch: Tensor, u: Tensor) -> Tensor:
        """Returns the gradient of the summed loss with respect to the patch."""
        goal = y if self.target is None else torch.full_like(y, self.target)
        with torch.enable_grad():
            patch = patch.detach().requires_grad_()
            laid = self.placing.on(x, patch, u)
        found = self.classifier.gradient(laid.detach(), goal, get_loss("margin", self.target is not None))
        (grad,) = torch.autograd.grad(laid, patch, found.grad)
        return grad

    def success(self, x: Tensor, y: Tensor, patch: Tensor) -> Proportion:
        """Returns the share of the initially correct samples that the patch brings to its goal."""
        hits = total = 0
        ids = torch.arange(len(x), device=x.device)
        with torch.no_grad():
            for some in torch.split(ids, self.batch_size):
                right = self.classifier.logits(x[some]).argmax(1) == y[some]
                right &= y[some] != (-1 if self.target is None else self.target)
                laid = self.placing.on(x[some], patch, _drawn(self.stream, some, _TRIAL))
                found = self.classifier.logits(laid).argmax(1)
                hit = found != y[some] if self.target is None else found == self.target
                hits, total = hits + int((hit & right).sum()), total + int(right.sum())
        return proportion(hits, total)
