"""Rotations and translations of images, tried on a grid: the worst case of a threat that no norm bounds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.per_coordinate import one_range
from robustkit.base.settings import between, instance, integer
from robustkit.data.labels import as_labels
from robustkit.maths.losses import lead
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.shift.corruptions.filters import warp


@dataclass(frozen=True)
class Spatial:
    """The worst rotation and translation of every sample; row i of each tensor belongs to sample i.

    Attributes:
        clean: Whether the sample is right as it is, bool (N,).
        success: Whether it is right as it is and wrong under some transformation of the grid, bool (N,).
        margin: Logit of the label minus the highest other one under the worst transformation, (N,).
        degrees: Its rotation, counter-clockwise, (N,).
        shift: Its translation down and to the right, in pixels, (N, 2).
        x_adv: The sample so transformed, (N, C, H, W).
        tried: How many transformations the grid has.
    """

    clean: Tensor
    success: Tensor
    margin: Tensor
    degrees: Tensor
    shift: Tensor
    x_adv: Tensor
    tried: int


def spatial_grid(
    classifier: Classifier | nn.Module,
    x: Tensor,
    y: Tensor,
    max_degrees: float = 30,
    max_shift: float = 3,
    *,
    rotations: int = 31,
    shifts: int = 5,
    batch_size: int = 256,
) -> Spatial:
    """Returns the transformation of a grid under which each sample has the smallest margin.

    What comes in from outside is the lowest value of the bounds, black. The untransformed sample is always among
    those tried, so no sample is worse off than it started.

    Args:
        classifier: The model; a bare module takes inputs in 0..1.
        x: Images (N, C, H, W) in the bounds.
        y: Labels (N,).
        max_degrees: Largest rotation to either side, 0 to 180.
        max_shift: Largest translation along each axis, in pixels, >= 0.
        rotations: Angles tried from -`max_degrees` to `max_degrees`, >= 1.
        shifts: Translations tried along each axis from -`max_shift` to `max_shift`, >= 1.
        batch_size: Images the model sees at once, >= 1.

    Raises:
        ConfigurationError: If a setting is out of its range.
        InvalidEvaluation: If `x` holds no images in the bounds, or there is not one label for each.

    Source: Engstrom et al. 2019, arXiv 1712.02779, section 3; the default grid is theirs: 775 transformations.
    """
    who = "spatial grid"
    max_degrees = between(who, "max_degrees", max_degrees, "[0, 180]")
    max_shift = between(who, "max_shift", max_shift, "[0, inf)")
    rotations, shifts = integer(who, "rotations", rotations), integer(who, "shifts", shifts)
    batch_size = integer(who, "batch_size", batch_size)
    instance(who, "x", x, Tensor)
    if x.ndim != 4:
        raise InvalidEvaluation(f"spatial grid: expected images (N, C, H, W), got {tuple(x.shape)}; give it images")
    classifier = as_classifier(classifier)
    angles, steps = _spread(max_degrees, rotations), _spread(max_shift, shifts)
    grid = [(0.0, 0.0, 0.0)]
    grid += [point for point in itertools.product(angles, steps, steps) if point != grid[0]]
    with classifier.frozen(), torch.no_grad():
        x = classifier.accept(x)
        labels = as_labels(y, classifier.classes(x[:1])).to(x.device)
        if len(labels) != len(x):
            raise InvalidEvaluation(f"{who}: expected one label per image, got {len(labels)} for {len(x)}; add them")
        places = torch.tensor(grid, device=x.device, dtype=x.dtype)
        found = [
            _worst(classifier, rows, some, places, batch_size)
            for rows, some in zip(torch.split(x, batch_size), torch.split(labels, batch_size), strict=True)
        ]
        first, least, where = (torch.cat(column) for column in zip(*found, strict=True))
        place = places[where]
        x_adv = torch.where((where == 0).view(-1, 1, 1, 1), x, _move(x, place, _black(classifier)))
    clean = first > 0
    return Spatial(clean, clean & (least <= 0), least, place[:, 0], place[:, 1:], x_adv, len(grid))


def _spread(most: float, count: int) -> list[float]:
    """Returns `count` numbers from -most to most, or 0 alone."""
    if count == 1 or most == 0:
        return [0.0]
    return [most * (2 * i - (count - 1)) / (count - 1) for i in range(count)]


def _worst(
    classifier: Classifier, x: Tensor, y: Tensor, places: Tensor, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the margins as it is, the least margins, and which place has them; ties go to the first."""
    first = -lead(classifier.logits(x), y)
    least, where = first, torch.zeros_like(y)
    at_once = max(1, batch_size // len(x))
    for start in range(1, len(places), at_once):
        some = places[start : start + at_once]
        rows = _move(x.repeat(len(some), 1, 1, 1), some.repeat_interleave(len(x), 0), _black(classifier))
        value, index = (-lead(classifier.logits(rows), y.repeat(len(some)))).view(len(some), -1).min(0)
        where = torch.where(value < least, index + start, where)
        least = torch.minimum(least, value)
    return first, least, where


def _move(x: Tensor, place: Tensor, outside: float) -> Tensor:
    """Returns images rotated about their centre by place[:, 0] degrees, then moved by place[:, 1:] pixels."""
    height, width = x.shape[2:]
    angle = torch.deg2rad(place[:, 0])
    down, right = 2 * place[:, 1] / height, 2 * place[:, 2] / width
    # Backwards, from where a pixel lands to where it came from, in units in which either side is 2.
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([cos, -sin * height / width, -cos * right + sin * height / width * down], 1)
    row_y = torch.stack([sin * width / height, cos, -sin * width / height * right - cos * down], 1)
    matrix = torch.stack([row_x, row_y], 1)
    return warp(x - outside, matrix, padding="zeros") + outside


def _black(classifier: Classifier) -> float:
    """Returns the lowest legal value, which is the same for all coordinates."""
    return one_range("rotation", classifier.bounds)[0]
