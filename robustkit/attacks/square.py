"""Square Attack: random search by windows of one colour, which asks the model for nothing but its scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustkit.attacks.base import CLOSE, Attack
from robustkit.attacks.rows import Problem, Rows
from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between, integer
from robustkit.maths.losses import Loss, get_loss, lead
from robustkit.maths.norms import Norm, where_rows

HALVE_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # iterations, of HORIZON
HORIZON = 10_000
AHEAD = 64  # iterations whose random numbers are drawn at once
_PLANNED = ("x", "ids", "restart", "step")
TILES = 5  # of the L2 and L1 start, along each axis
ORDER: dict[Norm, int] = {"L2": 2, "L1": 1}


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Random search: repaint one random window of the best point so far, keep the change if the loss rises.

    Andriushchenko et al. 2020, arXiv 1912.00049: algorithm 1, with algorithm 2 for Linf and algorithm 3 for L2.
    It needs no gradient, so it also breaks models that hide or lack one. Inputs (N, C, H, W) are images, (N, C, L)
    images of height 1, (N, F) such images with one channel; further axes are stacked along the height.

    Differences:
    - Every row draws its own window and colours, so that results do not depend on the batch.
    - Linf: colours are uniform among those that change the window, as in the authors' code; algorithm 2 also draws the
      others, which waste a query.
    - Windows are square unless that would exceed the image; then they span its short axis and their share of the long
      one. L2 windows have an odd side of at least 3, as in the authors' code.
    - L1, after Croce & Hein 2021, arXiv 2103.01208, is L2 with sizes and budgets in L1, pyramids built of steps k**-4
      high instead of k**-2, and the exact projection onto ball and input range together.
    - Targeted, `loss` is taken towards the target; the paper uses "ce" there.

    Attributes:
        queries: Evaluations of the model per start and row, >= 1, the first point included.
        p_init: Share of the pixels in the first windows, in (0, 1]; it is halved after 10, 50, 200, 500, 1000, 2000,
            4000, 6000 and 8000 iterations.
        rescale_schedule: Stretch these numbers, meant for 10000 queries, to `queries`.
        loss: "margin", "ce" or "dlr", or a function as in `robustkit.maths.losses`.
        trial: Give a sample up after so many queries, 0 for never, if the search is not ahead of the margin other
            attacks reached and has itself left a tenth of the clean lead or more: what has neither overtaken a
            gradient nor nearly arrived by then will not. For the margin loss and one start.
    """

    queries: int = 5000
    p_init: float = 0.8
    rescale_schedule: bool = False
    loss: str | Loss = "margin"
    trial: int = 0

    name: ClassVar[str] = "square"
    kind: ClassVar[str] = "black-box"
    source: ClassVar[str] = "Andriushchenko et al. 2020, arXiv 1912.00049"
    per_coordinate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.name, "queries", self.queries)
        between(self.name, "p_init", self.p_init, "(0, 1]")
        self.accept_loss()
        integer(self.name, "trial", self.trial, least=0)
        if self.trial and (self.loss != "margin" or self.restarts != 1 or self.target is not None):
            raise ConfigurationError("square: expected no trial, or loss 'margin', one restart and no target; drop it")

    @property
    def steps_per_start(self) -> int:
        """One less than `queries`, because the engine asks about the last proposal."""
        return self.queries - 1

    def start(self, problem: Problem, rows: Rows) -> Rows:
        """Proposes vertical stripes (Linf) or a grid of bumps (L2, L1)."""
        x_adv = (stripes if self.norm == "Linf" else tiles)(problem, rows).view_as(rows.x)
        if self.norm != "Linf":
            x_adv = problem.threat.project(x_adv, rows.x, rows.lower, rows.upper)
        nothing = torch.full_like(rows.goal, -torch.inf, dtype=torch.float64)
        return rows.having(
            x_adv=x_adv, x_best=x_adv, loss_best=nothing, plan=self._plan(problem, rows), block=rows.step // AHEAD
        )

    def step(self, problem: Problem, rows: Rows) -> Rows:
        """Asks for the scores, keeps the proposal if it is the best yet, and repaints a window of the best."""
        logits = problem.logits(rows, rows.x_adv)
        loss = self._loss(problem, logits.double(), rows.goal)
        better = loss > rows["loss_best"]
        rows = rows.having(
            logits=logits,
            x_best=where_rows(better, rows.x_adv, rows["x_best"]),
            loss_best=torch.where(better, loss, rows["loss_best"]),
        )
        if self.trial:
            hopeless = (rows["loss_best"] <= rows.rival) & (rows["loss_best"] < CLOSE * rows.clean)
            rows = rows.having(quits=rows.quits | ((rows.step + 1 == self.trial) & hopeless))
        rows, now = self._ahead(problem, rows)
        if self.norm == "Linf":
            return rows.having(x_adv=repaint(rows, now).view_as(rows.x))
        moved = move_mass(problem, rows, now).view_as(rows.x)
        return rows.having(x_adv=problem.threat.project(moved, rows.x, rows.lower, rows.upper))

    def _plan(self, problem: Problem, rows: Rows) -> Tensor:
        """Returns every row's choices for each of the `AHEAD` iterations around it, shape (N, AHEAD, number of them).

        Drawing them at once costs hardly more than drawing those of one iteration.
        """
        x = as_images(rows.x)
        first = (rows.step - rows.step % AHEAD).unsqueeze(1)
        iteration = (first + torch.arange(1, AHEAD + 1, device=first.device)).flatten()
        ids, restart = (of.repeat_interleave(AHEAD) for of in (rows.ids, rows.restart))
        choices = colours if self.norm == "Linf" else masses
        numbers = 3 if self.norm == "Linf" else 5
        u = problem.stream.uniform((numbers + x.shape[1],), ids, restart, iteration)
        window = sides(self.share(iteration), x.shape[2], x.shape[3], odd=self.norm != "Linf")
        return torch.cat([part.to(x.dtype) for part in choices(u, window, x)], dim=1).view(len(x), AHEAD, -1)

    def _loss(self, problem: Problem, logits: Tensor, goal: Tensor) -> Tensor:
        if self.loss == "margin":  # without its direction, which takes as long
            return -lead(logits, goal) if problem.targeted else lead(logits, goal)
        return get_loss(self.loss, problem.targeted)(logits, goal)[0]

    def _ahead(self, problem: Problem, rows: Rows) -> tuple[Rows, Tensor]:
        """Returns the rows, planned on where their plan has run out, and the choices of this iteration."""
        block = rows.step // AHEAD
        due = (block != rows["block"]).nonzero().squeeze(1)
        if len(due):
            plan = self._plan(problem, rows.keep(*_PLANNED).take(due))
            rows = rows.having(plan=rows["plan"].index_copy(0, due, plan), block=block)
        return rows, rows["plan"][torch.arange(len(rows), device=block.device), rows.step % AHEAD]

    def share(self, iteration: Tensor) -> Tensor:
        """Returns the share p of the pixels that a window covers at each `iteration` (1, 2, ...), in float64."""
        at = iteration * HORIZON // self.queries if self.rescale_schedule else iteration
        halvings = (at.unsqueeze(-1) > torch.tensor(HALVE_AFTER, device=at.device)).sum(-1)
        return self.p_init * torch.exp2(-halvings.double())


def as_images(x: Tensor) -> Tensor:
    """Returns rows of any shape as (N, C, H, W): a table has one channel and height 1, a sequence height 1."""
    return x.reshape(len(x), x.shape[1] if x.ndim > 2 else 1, -1, x.shape[-1])


def stripes(problem: Problem, rows: Rows) -> Tensor:
    """Returns images whose columns of one channel are all at the lower or all at the upper end."""
    lower, upper = as_images(rows.lower), as_images(rows.upper)
    shape = (lower.shape[1], 1, lower.shape[3])
    bright = problem.stream.uniform(shape, rows.ids, rows.restart, torch.zeros_like(rows.step)) < 0.5
    return torch.where(bright, upper, lower)


def colours(u: Tensor, window: tuple[Tensor, Tensor], x: Tensor) -> list[Tensor]:
    """Returns window, colour of each channel, and colour where the first changes nothing, from numbers `u`.

    Adding 2 eps or -2 eps and projecting ends exactly at the upper or lower end, for any point of the ball.
    """
    channels = x.shape[1]
    bright = u[:, 3:] < 0.5
    # Where these colours change nothing, all the others do, and a flip of some of the channels leads to each of them.
    subset = 1 + (u[:, 2:3] * (2 ** min(channels, 32) - 1)).long()
    flipped = (subset >> torch.arange(channels, device=u.device).clamp(max=32)) % 2 == 1
    return [*placed(u[:, 0:2], window, x), bright, bright ^ flipped]


def repaint(rows: Rows, now: Tensor) -> Tensor:
    """Returns the best images with one window at the upper or lower end, channel by channel (algorithm 2)."""
    best, lower, upper = as_images(rows["x_best"]), as_images(rows.lower), as_images(rows.upper)
    window = Window(now[:, :4], like=best)
    bright, other = now[:, 4:].chunk(2, dim=1)
    # Every pixel of the best image is at one of its ends, so counting the upper ones tells what would change.
    lit = window.sum((best > lower).to(best.dtype)).flatten(1)
    idle = (lit == bright * (window.h * window.w)).all(dim=1, keepdim=True)
    bright = torch.where(idle, other, bright)[:, :, None, None]
    # A lerp by 0 or 1 is exact, and on a CPU several times faster than torch.where.
    return best.lerp(lower.lerp(upper, bright), window.mask)


def tiles(problem: Problem, rows: Rows) -> Tensor:
    """Returns images with a grid of 5 x 5 bumps of random sign and direction, of size eps."""
    x, order = as_images(rows.x), ORDER[problem.threat.norm]
    channels, height, width = x.shape[1:]
    down, across = min(TILES, height), min(TILES, width)
    h, w = height // down, width // across
    split = torch.tensor([True, False], device=x.device)
    zero = torch.zeros_like(split, dtype=torch.int64)
    whole = torch.stack([zero + h, zero + w, zero, zero], dim=1)
    bump = Window(whole, like=x[:, :, :h, :w]).bump(split, order)
    u = problem.stream.uniform((1 + channels, down, across), rows.ids, rows.restart, torch.zeros_like(rows.step))
    u = u[..., None, None]
    grid = torch.where(u[:, :1] < 0.5, bump[0, 0], bump[1, 0]) * _sign(u[:, 1:] < 0.5, x.dtype)
    grid = grid.transpose(3, 4).reshape(len(x), channels, down * h, across * w)
    top, left = (height - down * h) // 2, (width - across * w) // 2
    delta = torch.zeros_like(x)
    delta[:, :, top : top + down * h, left : left + across * w] = grid
    return x + delta * (problem.threat.radius / _length(delta, (1, 2, 3), order))


def masses(u: Tensor, window: tuple[Tensor, Tensor], x: Tensor) -> list[Tensor]:
    """Returns both windows, whether their bump is split along the height, and the sign of each channel."""
    here, there = placed(u[:, 0:2], window, x), placed(u[:, 2:4], window, x)
    return [*here, *there, u[:, 4:5] < 0.5, _sign(u[:, 5:] < 0.5, x.dtype)]


def move_mass(problem: Problem, rows: Rows, now: Tensor) -> Tensor:
    """Returns the best images with the perturbation of one window, and the unused part of eps, moved to another.

    The steps of algorithm 3: nu is `delta`, W1 `here`, W2 `there`. The size of the result is eps.
    """
    x, best, order = as_images(rows.x), as_images(rows["x_best"]), ORDER[problem.threat.norm]
    channels = x.shape[1]
    here, there = Window(now[:, 0:4], like=x), Window(now[:, 4:8], like=x)
    split, sign = now[:, 8] == 1, now[:, 9:, None, None]
    delta = best - x
    kept, energy = delta * here.mask, delta.abs().pow(order)
    unused = (problem.threat.radius**order - energy.sum((1, 2, 3), keepdim=True)).clamp(min=0)
    freed = here.sum(energy) + there.sum(energy - kept.abs().pow(order))
    mixed = sign * here.bump(split, order) + kept / _length(kept, (2, 3), order)
    mixed = mixed * ((freed + unused / channels).pow(1 / order) / _length(mixed, (2, 3), order))
    return x + (delta * (1 - there.mask)).lerp(mixed, here.mask)


def sides(share: Tensor, height: int, width: int, odd: bool = False) -> tuple[Tensor, Tensor]:
    """Returns height and width (N,) of the windows that cover `share` (N,) of an image, as square as it allows.

    Args:
        share: In (0, 1].
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        odd: Whether the side of a square window has to be odd and at least 3, where the image has room.
    """
    short, long = sorted((height, width))
    least = 3 if odd else 1
    side = (share * (height * width)).sqrt().round().long().clamp(min=least)
    if odd:
        side = side // 2 * 2 + 1
    stretched = (share * long).round().long().clamp(min=max(short, least))
    one, other = side.clamp(max=short), torch.where(side < short, side, stretched).clamp(max=long)
    return (one, other) if height <= width else (other, one)


def placed(u: Tensor, window: tuple[Tensor, Tensor], x: Tensor) -> list[Tensor]:
    """Returns height, width, top and left, each (N, 1), of windows placed uniformly in images like `x`.

    Args:
        u: Uniform in (0, 1), shape (N, 2): where they are along height and width.
        window: Heights and widths (N,), int64.
        x: Images whose height and width to take.
    """
    corner = [(u[:, i] * (x.shape[2 + i] - side + 1)).long() for i, side in enumerate(window)]
    return [of.unsqueeze(1) for of in (*window, *corner)]


class Window:
    """One rectangle a row.

    Args:
        place: Height, width, top and left, shape (N, 4).
        like: Images whose height, width and dtype to take.

    Attributes:
        h: Heights (N, 1).
        w: Widths (N, 1).
        mask: 1 inside and 0 outside, shape (N, 1, H, W).
    """

    def __init__(self, place: Tensor, like: Tensor) -> None:
        self.h, self.w, top, left = torch.split(place, 1, dim=1)
        # How far each pixel of an axis lies behind the start of the window.
        self.rows = torch.arange(like.shape[2], device=place.device, dtype=place.dtype) - top
        self.columns = torch.arange(like.shape[3], device=place.device, dtype=place.dtype) - left
        self._rows_inside = ((self.rows >= 0) & (self.rows < self.h)).to(like.dtype)[:, None, None, :]
        self._columns_inside = ((self.columns >= 0) & (self.columns < self.w)).to(like.dtype)[:, None, :, None]
        self.mask = self._rows_inside.mT * self._columns_inside.mT

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sum of `values` (N, C, H, W) over the window, shape (N, C, 1, 1)."""
        return self._rows_inside @ values @ self._columns_inside

    def bump(self, split: Tensor, order: int) -> Tensor:
        """Returns the unit eta of algorithm 3, two pyramids of opposite sign, shape (N, 1, H, W), 0 outside the window.

        Args:
            split: Whether the pyramids lie one above the other or else side by side, shape (N,), bool.
            order: 2 for size 1 in L2, 1 for steeper pyramids, of size 1 in L1.
        """
        split = split.unsqueeze(1)
        terms = torch.arange(1, max(self.mask.shape[2:]) + 1, device=split.device).double().pow(-4 / order)
        sums = torch.nn.functional.pad(terms.cumsum(0), (1, 0)).to(self.mask.dtype)
        top = sums[(torch.maximum(self.h, self.w) // 2).long() + 1]
        down, below = _halves(self.rows, self.h, split)
        across, beyond = _halves(self.columns, self.w, ~split)
        # A pixel d away from the middle of its half (along the axis where that is more) has the height top - sums[d].
        heights = torch.minimum((top - sums[down.long()]).unsqueeze(2), (top - sums[across.long()]).unsqueeze(1))
        heights = heights.unsqueeze(1) * self.mask
        scale = _sign(below, heights.dtype)[:, None, :, None] / _length(heights, (1, 2, 3), order)
        return heights * scale * _sign(beyond, heights.dtype)[:, None, None, :]


def _halves(offset: Tensor, side: Tensor, split: Tensor) -> tuple[Tensor, Tensor]:
    """Returns how far each pixel of an axis is from the middle of its half, and whether that is the second half."""
    first = torch.where(split, side // 2, side)
    second = offset >= first
    middle = torch.where(second, first + (side - first) // 2, first // 2)
    return (offset - middle).abs(), second


def _sign(negative: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns -1 where `negative`, else 1."""
    return 1 - 2 * negative.to(dtype)


def _length(delta: Tensor, axes: tuple[int, ...], order: int) -> Tensor:
    """Returns the norm of that order over `axes`, kept as axes of size 1, and never 0 so that one can divide by it.

    Nor so small that a radius of thousands divided by it, as of a table, would be infinite.
    """
    found: Tensor = torch.linalg.vector_norm(delta, order, dim=axes, keepdim=True)
    return found.clamp(min=1e-30)
