"""Randomised smoothing: a vote under Gaussian noise, and the radius within which it is proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta, binomtest, norm
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import between, instance, integer
from robustkit.base.settings import seed as known_seed
from robustkit.data.labels import as_labels
from robustkit.defenses.logits import Logits
from robustkit.maths.intervals import Proportion, proportion
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier
from robustkit.model.unpacked import refuse_several

ABSTAIN = -1
_MOST_DRAWS = 2**20  # what the random numbers can tell apart


@dataclass(frozen=True)
class Certificates:
    """What `Smoothed.certify` proved, one entry per sample, on the CPU.

    Each holds with probability 1 - alpha over the noise, for itself: among many samples about a share alpha of the
    certificates may be wrong.

    Attributes:
        prediction: The class, or `ABSTAIN`.
        radius: L2 distance in units of the input within which the smoothed classifier cannot change its answer; 0
            where it abstains.
        votes: How many of the n noisy copies were given the class that was tested.
    """

    prediction: Tensor
    radius: Tensor
    votes: Tensor


class Smoothed(nn.Module):
    """The classifier "what does the model say most often under Gaussian noise", Cohen et al. 2019, arXiv 1902.02918.

    The model should have been trained under the same noise. Noise is added in units of the input, before any
    normalisation, and not clipped. It depends on the seed and the sample's id alone, not on batch size or composition.

    As a module it returns the logarithm of the mean probability over `draws` fixed noise samples, which is what an
    attacker differentiates (Salman et al. 2019, arXiv 1906.04584, equation 5) and what an audit sees; `predict` and
    `certify` are the vote itself.

    Args:
        model: A Classifier, or a bare model that takes inputs in 0..1.
        sigma: Standard deviation of the noise in units of the input, > 0.
        draws: EOT samples, the noise samples of one forward pass.
        seed: Seed of all noise.

    Raises:
        ConfigurationError: If a number is out of range.
    """

    def __init__(
        self,
        model: Classifier | nn.Module | Callable[[Tensor], Any],
        sigma: float,
        draws: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sigma = between("smoothing", "sigma", sigma, "(0, inf)")
        draws, seed = integer("smoothing", "draws", draws, 1, _MOST_DRAWS), known_seed("smoothing", seed)
        self.model = Logits(model)
        refuse_several("smoothing", self.model)
        self.sigma, self.draws, self.seed = float(sigma), draws, seed

    def forward(self, x: Tensor) -> Tensor:
        """Returns log-probabilities (N, K) for `x` (N, ...); the noise is the same for all rows."""
        zero = torch.zeros(1, dtype=torch.int64, device=x.device)
        stream = Stream(self.seed, "smoothing/forward")
        found = []
        for draw in range(self.draws):
            noise = stream.normal(tuple(x.shape[1:]), zero, zero, zero + draw)
            found.append(self.model(x + (self.sigma * noise).to(x.dtype)).log_softmax(dim=1))
        return torch.logsumexp(torch.stack(found), dim=0) - float(np.log(self.draws))

    def predict(
        self, x: Tensor, *, ids: Tensor | None = None, n: int = 1000, alpha: float = 0.001, batch_size: int = 256
    ) -> Tensor:
        """Returns the class of each sample (N,), or `ABSTAIN` where the two leading classes are too close.

        Wrong about the smoothed classifier with a probability of at most alpha per sample (section 3.2.1, PREDICT).

        Args:
            x: Inputs (N, ...) within the bounds.
            ids: Sample ids (N,); the position by default.
            n: Noisy copies of each sample.
            alpha: Level of the two-sided binomial test of the two leading classes.
            batch_size: Noisy copies the model sees at once.

        Raises:
            ConfigurationError: If a number is out of range.
            InvalidEvaluation: If the inputs leave the bounds.
        """
        _check_alpha(alpha)
        answers = []
        for (counts,) in self._votes(x, ids, batch_size, predict=n):
            second, first = np.argsort(counts, kind="stable")[-2:]
            doubt = binomtest(int(counts[first]), int(counts[first] + counts[second]), 0.5).pvalue
            answers.append(int(first) if doubt <= alpha else ABSTAIN)
        return torch.tensor(answers, device="cpu")

    def certify(
        self,
        x: Tensor,
        *,
        ids: Tensor | None = None,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        batch_size: int = 256,
    ) -> Certificates:
        """Returns the class of each sample with the L2 radius within which it is proven (section 3.2.2, CERTIFY).

        Args:
            x: Inputs (N, ...) within the bounds.
            ids: Sample ids (N,); the position by default.
            n0: Noisy copies that choose the class.
            n: Fresh noisy copies that estimate its probability.
            alpha: Probability, per sample, that the certificate is wrong.
            batch_size: Noisy copies the model sees at once.

        Raises:
            ConfigurationError: If a number is out of range.
            InvalidEvaluation: If the inputs leave the bounds.
        """
        _check_alpha(alpha)
        rows = []
        for choice, estimate in self._votes(x, ids, batch_size, select=n0, estimate=n):
            answer = int(choice.argmax())
            radius = certified_radius(int(estimate[answer]), n, self.sigma, alpha)
            rows.append((answer if radius > 0 else ABSTAIN, radius, int(estimate[answer])))
        predictions, radii, votes = zip(*rows, strict=True)
        return Certificates(
            torch.tensor(predictions, device="cpu"),
            torch.tensor(radii, dtype=torch.float64, device="cpu"),
            torch.tensor(votes, device="cpu"),
        )

    def _votes(self, x: Tensor, ids: Tensor | None, batch_size: int, **draws: int) -> Iterator[list[NDArray[np.int64]]]:
        """Yields for each sample how often each class was the answer, once for every named number of noise samples."""
        for name, number in {**draws, "batch_size": batch_size}.items():
            _check_draws(name, number)
        view = Classifier(self.model, bounds=self.model.bounds, output="logits")
        with view.frozen(), torch.no_grad():
            x = view.accept(x)
            ids = torch.arange(len(x), device="cpu") if ids is None else ids
            if len(ids) != len(x):
                raise ConfigurationError(f"smoothing: expected one id per sample, got {len(ids)} for {len(x)}")
            for row, id in zip(x, ids.to(x.device), strict=True):
                yield [self._count(view, row, id, name, number, batch_size) for name, number in draws.items()]

    def _count(
        self, view: Classifier, row: Tensor, id: Tensor, name: str, number: int, batch_size: int
    ) -> NDArray[np.int64]:
        stream = Stream(self.seed, f"smoothing/{name}")
        counts = torch.zeros(view.classes(row[None]), dtype=torch.int64, device=row.device)
        for step in torch.split(torch.arange(number, device=row.device), batch_size):
            noise = stream.normal(tuple(row.shape), id.expand(len(step)), torch.zeros_like(step), step)
            answers = view.logits(row + (self.sigma * noise).to(row.dtype)).argmax(dim=1)
            counts += torch.bincount(answers, minlength=len(counts))
        found: NDArray[np.int64] = counts.cpu().numpy()
        return found


def certified_radius(votes: int, n: int, sigma: float, alpha: float = 0.001) -> float:
    """Returns the proven L2 radius sigma Phi^-1(p), or 0 where p is below a half.

    p is the one-sided Clopper-Pearson lower bound of the probability of the class, Cohen et al. 2019, equation 3 with
    1 - p for the probability of the second class.

    Args:
        votes: Noisy copies given the class, 0 to n.
        n: Noisy copies.
        sigma: Standard deviation of the noise.
        alpha: Probability that the bound is wrong.
    """
    who = "certified_radius"
    n = integer(who, "n", n)
    votes = integer(who, "votes", votes, 0, n)
    sigma, alpha = between(who, "sigma", sigma, "(0, inf)"), between(who, "alpha", alpha, "(0, 1)")
    lower = float(beta.ppf(alpha, votes, n - votes + 1)) if votes else 0.0
    return max(0.0, sigma * float(norm.ppf(lower)))


def largest_radius(n: int, sigma: float, alpha: float = 0.001) -> float:
    """Returns the largest L2 radius that `n` noisy copies can prove, sigma Phi^-1(alpha^(1/n)), where all agree.

    No accuracy is known beyond it, however robust the model. Source: Cohen et al. 2019, section 3.2.2.
    """
    return certified_radius(n, n, sigma, alpha)


def certified_accuracy(certificates: Certificates, y: Tensor, radii: Sequence[float]) -> tuple[Proportion, ...]:
    """Returns for each radius the share of all samples that are right, not abstained from and proven that far.

    Args:
        certificates: From `Smoothed.certify`.
        y: Labels (N,).
        radii: L2 radii in units of the input, >= 0.

    Raises:
        ConfigurationError: If there is not one label per certificate.
    """
    instance("certified_accuracy", "certificates", certificates, Certificates)
    instance("certified_accuracy", "radii", radii, list, tuple, range, np.ndarray)
    radii = [between("certified_accuracy", "every radius", radius, "[0, inf)") for radius in radii]
    labels = as_labels(y).cpu()
    if len(labels) != len(certificates.prediction):
        raise ConfigurationError(
            f"smoothing: expected {len(certificates.prediction)} labels, got {len(labels)}; give one per certificate"
        )
    right = certificates.prediction == labels
    return tuple(proportion(int((right & (certificates.radius >= radius)).sum()), len(labels)) for radius in radii)


def _check_draws(name: str, number: int) -> None:
    integer("smoothing", name, number, 1, _MOST_DRAWS)


def _check_alpha(alpha: float) -> None:
    between("smoothing", "alpha", alpha, "(0, 1)")
