"""Calibrators: what makes a model's confidence match its accuracy, fitted on held-out samples, as modules."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustkit.base.errors import InvalidEvaluation
from robustkit.base.settings import choice, wrong
from robustkit.defenses.logits import Logits, held_out
from robustkit.model.classifier import Classifier, as_classifier

Array = NDArray[np.float64]
HOTTEST, COLDEST = 1e4, 1e-4
FOLDS, MOST = 5, 5000  # of the cross-validation, and the rows it looks at


class Calibrator(nn.Module):
    """Base of the calibrators: a model, and a map from its logits to better ones.

    Args:
        model: A Classifier, or a bare model that takes inputs in 0..1.
        parameters: The numbers of the map, by name; tensors or nested lists.

    Attributes:
        note: Why `calibrate` kept the map that changes nothing, or "".
    """

    name: ClassVar[str]
    keeps_answers: ClassVar[bool] = True

    def __init__(self, model: Classifier | nn.Module | Callable[[Tensor], Any], **parameters: Any) -> None:
        super().__init__()
        self.model = Logits(model)
        self.note = ""
        for name, value in parameters.items():
            known = [known for known in self.__annotations__ if known not in vars(nn.Module)]
            choice(f"calibrator {self.name}", "number", name, known)
            self.register_buffer(name, self._number(name, value))

    def _number(self, name: str, value: Any) -> Tensor:
        kind = "finite numbers" + (" > 0" if name == "temperature" else "")
        try:
            found = torch.as_tensor(value, dtype=torch.float64, device="cpu")
        except (TypeError, ValueError, RuntimeError):
            found = torch.full((), math.nan, device="cpu")
        shape = () if name == "temperature" else found.shape[-1:] or (1,)
        low = 0.0 if name == "temperature" else -math.inf
        if isinstance(value, bool) or found.shape != shape or not bool((found.isfinite() & (found > low)).all()):
            raise wrong(f"calibrator {self.name}", name, value, kind)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, K) for `x` (N, ...)."""
        return self.mapped(self.model(x))

    @abstractmethod
    def mapped(self, logits: Tensor) -> Tensor:
        """Returns the map of the model's logits (N, K)."""

    @classmethod
    @abstractmethod
    def fit(cls, logits: Array, y: NDArray[np.int64]) -> dict[str, Any]:
        """Returns the numbers of the map that suit logits (N, K) with labels (N,) best."""

    @classmethod
    @abstractmethod
    def unchanged(cls, classes: int) -> dict[str, Any]:
        """Returns the numbers of the map that changes nothing."""

    def settings(self) -> dict[str, Any]:
        """Returns the fitted numbers as plain lists, ready for JSON and for the constructor."""
        return {name: value.tolist() for name, value in self.named_buffers(recurse=False)}


class Temperature(Calibrator):
    """Logits divided by one temperature, which changes no answer.

    Guo et al. 2017, arXiv 1706.04599, section 4.2. `temperature` above 1 means that the model was over-confident.
    """

    name = "temperature"
    temperature: Tensor

    def mapped(self, logits: Tensor) -> Tensor:
        """Returns logits (N, K)."""
        return logits / self.temperature.to(logits.dtype)

    @classmethod
    def fit(cls, logits: Array, y: NDArray[np.int64]) -> dict[str, Any]:
        """Returns the temperature that minimises the negative log-likelihood, searched in log T (it is unimodal)."""
        if bool((logits.argmax(axis=1) == y).all()):
            raise InvalidEvaluation(
                f"calibrate: expected at least one wrong answer, got {len(y)} right ones, which every lower temperature"
                " fits better; give more or harder held-out samples"
            )
        found = minimize_scalar(
            lambda log_t: _nll(logits * math.exp(-log_t), y),
            bounds=(math.log(COLDEST), math.log(HOTTEST)),
            method="bounded",
            options={"xatol": 1e-9},
        )
        return {"temperature": math.exp(found.x)}

    @classmethod
    def unchanged(cls, classes: int) -> dict[str, Any]:
        """Returns temperature 1."""
        return {"temperature": 1.0}


class VectorScaling(Calibrator):
    """Each class's logit with a factor and an offset of its own: answers can change.

    Guo et al. 2017, arXiv 1706.04599, section 4.2, with a prior: around the best temperature, factors and offsets
    deviate by `SPREAD` (Gaussian), which counts as much as one sample's doubt. Without it, 2 K numbers follow the noise
    of few samples, and for classes that can be told apart they grow without end.
    """

    SPREAD: ClassVar[float] = 0.5

    name = "vector"
    keeps_answers = False
    scale: Tensor
    offset: Tensor

    def mapped(self, logits: Tensor) -> Tensor:
        """Returns logits (N, K)."""
        return logits * self.scale.to(logits.dtype) + self.offset.to(logits.dtype)

    @classmethod
    def fit(cls, logits: Array, y: NDArray[np.int64]) -> dict[str, Any]:
        """Returns the strictly convex problem's solution by L-BFGS, begun at the best temperature."""
        size, start = logits.shape[1], 1 / Temperature.fit(logits, y)["temperature"]
        level = logits * start  # the unknowns are then near 1 and 0, whatever the scale of the logits
        truth = np.eye(size)[y]

        def objective(unknown: Array) -> tuple[float, Array]:
            scaled = level * unknown[:size] + unknown[size:]
            residual = (softmax(scaled, axis=1) - truth) / len(y)
            away, weight = unknown - begin, 1 / (len(y) * cls.SPREAD**2)
            slope = np.concatenate([(residual * level).sum(axis=0), residual.sum(axis=0)]) + weight * away
            return _nll(scaled, y) + weight / 2 * float(away @ away), slope

        begin = np.concatenate([np.ones(size), np.zeros(size)])
        found = minimize(objective, begin, jac=True, method="L-BFGS-B")
        return {"scale": (found.x[:size] * start).tolist(), "offset": found.x[size:].tolist()}

    @classmethod
    def unchanged(cls, classes: int) -> dict[str, Any]:
        """Returns factors 1 and offsets 0."""
        return {"scale": [1.0] * classes, "offset": [0.0] * classes}


class Isotonic(Calibrator):
    """One rising curve for the probabilities of all classes, normalised again, which changes no answer.

    Zhang, Kailkhura & Han 2020, arXiv 2003.07329 (multi-class isotonic regression), after Zadrozny & Elkan 2002. The
    curve has flat parts, where it has no slope, so the backward pass is that of the model's own logits, which have the
    same order.
    """

    name = "isotonic"
    given: Tensor
    honest: Tensor

    def mapped(self, logits: Tensor) -> Tensor:
        """Returns log-probabilities (N, K), or the logits as they are where the curve is the diagonal."""
        with torch.no_grad():
            p = logits.double().softmax(dim=1)
            given, honest = self.given.double(), self.honest.double()  # the module may have been cast
            right = torch.searchsorted(given, p).clamp(1, len(given) - 1)
            part = ((p - given[right - 1]) / (given[right] - given[right - 1])).clamp(0, 1)
            curve = honest[right - 1] + part * (honest[right] - honest[right - 1])
            scores = curve.clamp(min=torch.finfo(curve.dtype).tiny).log().log_softmax(dim=1).to(logits.dtype)
            # Where the curve is flat the leader is still ahead, by the smallest step there is.
            leader = logits.argmax(dim=1, keepdim=True)
            ahead = scores.gather(1, leader)
            below = torch.nextafter(ahead, torch.full_like(ahead, -torch.inf))
            scores = torch.minimum(scores, below).scatter(1, leader, ahead)
            scores = torch.where((given == honest).all(), logits, scores)  # the diagonal changes no bit
        return scores + (logits - logits.detach())

    @classmethod
    def fit(cls, logits: Array, y: NDArray[np.int64]) -> dict[str, Any]:
        """Returns the curve through all n K pairs of a probability and whether that class was right (scikit-learn)."""
        p = softmax(logits, axis=1)
        least = 1 / (p.size + 2)  # nothing seen so far is impossible
        curve = IsotonicRegression(y_min=least, y_max=1 - least).fit(p.ravel(), np.eye(p.shape[1])[y].ravel())
        given, honest = curve.X_thresholds_, curve.y_thresholds_
        if len(given) == 1:
            given, honest = np.array([0.0, 1.0]), np.repeat(honest, 2)
        return {"given": given.tolist(), "honest": honest.tolist()}

    @classmethod
    def unchanged(cls, classes: int) -> dict[str, Any]:
        """Returns the diagonal."""
        return {"given": [0.0, 1.0], "honest": [0.0, 1.0]}


CALIBRATORS: dict[str, type[Calibrator]] = {kind.name: kind for kind in (Temperature, VectorScaling, Isotonic)}


def calibrate(
    model: Classifier | nn.Module | Callable[[Tensor], Any],
    x: Tensor,
    y: Tensor,
    method: str = "temperature",
    batch_size: int = 256,
) -> Calibrator:
    """Returns the model with a calibrator fitted on held-out samples; the model itself is left as it was.

    The map must lower the negative log-likelihood of samples that it was not fitted on, by more than one standard error
    in five-fold cross-validation (where that lacks wrong answers, by Akaike's criterion), and never raise that of all;
    else the map that changes nothing is kept, and `note` of the calibrator says so.

    Args:
        model: A Classifier, or a bare model that takes inputs in 0..1.
        x: Samples (N, ...) that the model was not trained on and that it will not be evaluated on.
        y: Labels (N,).
        method: "temperature", "vector" or "isotonic".
        batch_size: Rows the model sees at once.

    Raises:
        ConfigurationError: If there is no such method.
        InvalidEvaluation: If inputs leave the bounds, labels are no classes, or a temperature cannot be told from
            samples that are all right.
    """
    choice("calibrate", "method", method, CALIBRATORS)
    kind, classifier = CALIBRATORS[method], as_classifier(model)
    before, labels = held_out(classifier, x, y, batch_size)
    answers, classes = labels.cpu().numpy(), before.shape[1]
    logits = before.cpu().numpy()
    calibrated = kind(classifier, **kind.fit(logits, answers)).to(classifier.device)
    view = Classifier(calibrated, bounds=classifier.bounds, output="logits")
    after, _ = held_out(view, x, y, batch_size)
    note = _why_not(kind, logits, answers)
    if not note and bool(cross_entropy(after, labels) <= cross_entropy(before, labels)):
        return calibrated
    unchanged = kind(classifier, **kind.unchanged(classes)).to(classifier.device)
    unchanged.note = note or f"{method} would raise the loss of the samples it was fitted on; the model is unchanged"
    return unchanged


def _why_not(kind: type[Calibrator], logits: Array, y: NDArray[np.int64]) -> str:
    """Returns why the map does not help on samples that it was not fitted on, or "" where it does."""
    order = np.random.default_rng(0).permutation(len(y))[:MOST]
    logits, y = logits[order], y[order]
    fold, gains = np.arange(len(y)) % FOLDS, np.zeros(len(y))
    for number in range(min(FOLDS, len(y))):
        apart = fold == number
        try:
            found = kind(nn.Identity(), **kind.fit(logits[~apart], y[~apart]))
        except InvalidEvaluation:  # all wrong answers are in one fold
            return _too_few(kind, logits, y)
        with torch.no_grad():
            after = found.mapped(torch.from_numpy(logits[apart])).numpy()
        gains[apart] = _losses(logits[apart], y[apart]) - _losses(after, y[apart])
    if gains.mean() > gains.std() / math.sqrt(len(y)):
        return ""
    loss = _nll(logits, y)
    return (
        f"{kind.name} does not help on samples that it was not fitted on (cross-validated negative log-likelihood"
        f" {loss:.3f} before, {loss - gains.mean():.3f} after); the model is unchanged, give more samples"
    )


def _too_few(kind: type[Calibrator], logits: Array, y: NDArray[np.int64]) -> str:
    """Judges by Akaike's criterion, twice as strictly, where there are too few wrong answers to cross-validate."""
    numbers = kind.fit(logits, y)
    with torch.no_grad():
        after = kind(nn.Identity(), **numbers).mapped(torch.from_numpy(logits)).numpy()
    gain = float((_losses(logits, y) - _losses(after, y)).sum())
    if gain > 2 * sum(np.size(value) for value in numbers.values()):
        return ""
    wrong = int((logits.argmax(axis=1) != y).sum())
    return f"{kind.name}: {wrong} wrong among {len(y)} answers are too few to fit it; the model is unchanged"


def _losses(logits: Array, y: NDArray[np.int64]) -> Array:
    losses: Array = -log_softmax(logits, axis=1)[np.arange(len(y)), y]
    return losses


def _nll(logits: Array, y: NDArray[np.int64]) -> float:
    return float(_losses(logits, y).mean())
