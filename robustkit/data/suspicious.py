"""Which samples of a data set look wrong: near copies, label errors and outliers, from scikit-learn's parts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

PIXELS, COMPONENTS = 16, 50
NEIGHBOURS, FOLDS = 10, 5


def features(x: Tensor, others: Tensor | None = None) -> tuple[Array, Array]:
    """Returns short descriptions (N, k) of `x` and (M, k) of `others`, whose distances are RMS differences of inputs.

    Images are averaged down to 16 pixels, then described by 50 principal components of `x` and the length of what
    these leave over, so that no distance is larger than that of the averaged images.

    Args:
        x: Inputs (N, ...), finite; N >= 2.
        others: Further inputs (M, ...), none by default.
    """
    from sklearn.decomposition import PCA

    here, there = _flat(x), _flat(x[:0] if others is None else others)
    size = min(COMPONENTS, len(here) - 1, here.shape[1])
    pca = PCA(size, random_state=0).fit(here)

    def describe(flat: Array) -> Array:
        if not len(flat):
            return np.empty((0, size + 1))
        scores = pca.transform(flat)
        rest = np.linalg.norm(flat - pca.inverse_transform(scores), axis=1)
        described: Array = np.column_stack([scores, rest]) / np.sqrt(flat.shape[1])
        return described

    return describe(here), describe(there)


def neighbours(found_in: Array, of: Array | None = None, count: int = NEIGHBOURS) -> tuple[Array, Indices]:
    """Returns distances and positions (N, count) of the nearest rows, fewer if there are not as many.

    Args:
        found_in: Features (M, k) to look among.
        of: Features (N, k) whose neighbours to find; `found_in` itself, no row being its own neighbour, by default.
        count: How many.
    """
    from sklearn.neighbors import NearestNeighbors

    most = len(found_in) - (of is None)
    distances, positions = NearestNeighbors(n_neighbors=min(count, most)).fit(found_in).kneighbors(of)
    return distances, positions


def rms(a: Tensor, b: Tensor) -> Array:
    """Returns the root of the mean squared difference of every row, as float64 (N,)."""
    return np.asarray((a.double() - b.double()).flatten(1).square().mean(dim=1).sqrt())


def folds(labels: Indices, groups: Indices, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Returns the rows to fit on and those to predict, for each fold, with every class in proportion.

    Args:
        labels: Class indices (N,), every class of 0..K-1 at least twice.
        groups: Samples of one group (N,), such as copies, are never on both sides.
        count: How many folds; fewer where a class has not as many samples.
        seed: Of the draw.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(count, int(np.bincount(labels).min()))
    splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splits.split(labels, labels, groups))


def out_of_fold(described: Array, labels: Indices, groups: Indices, seed: int) -> Array:
    """Returns the probabilities (N, K) that logistic regression gives to samples it was not fitted on.

    Args:
        described: Features (N, k).
        labels: Class indices (N,), every class of 0..K-1 at least twice.
        groups: Samples of one group (N,), such as copies, are never on both sides.
        seed: Of the folds.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    # One scale for all components: a scale for each would give the noise of the last ones as much say as the first.
    model = LogisticRegression(C=10 / max(float(described.var(axis=0).sum()), 1e-12), max_iter=300)
    splits = folds(labels, groups, FOLDS, seed)
    with warnings.catch_warnings():
        # Neither an almost converged model nor a fold without a rare class makes the others' answers useless.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Number of classes in training fold")
        found: Array = cross_val_predict(model, described, labels, groups=groups, cv=splits, method="predict_proba")
    return found


@dataclass(frozen=True)
class LabelErrors:
    """What confident learning says about labels.

    Attributes:
        suspect: Whether a sample is among those with the lowest `confidence` (N,), as many as are counted off the
            diagonal of the confident joint.
        suggestion: The most probable other class (N,).
        confidence: Probability of the label it has (N,): the lower, the more likely an error.
        share: Estimated share of wrong labels: one minus the trace of the calibrated joint.
    """

    suspect: NDArray[np.bool_]
    suggestion: Indices
    confidence: Array
    share: float


def label_errors(probabilities: Array, labels: Indices) -> LabelErrors:
    """Returns what confident learning finds in out-of-fold probabilities (N, K) for `labels` (N,).

    Northcutt et al. 2021, arXiv 1911.00068, section 3.1, equations 1 and 2. The joint says how many labels are suspect;
    which ones is decided by the probability of the label (their self-confidence) among all samples, which found more
    of injected errors than the members of the joint (section 3.2, method 2): docs/results.md has the figures.
    """
    classes = probabilities.shape[1]
    thresholds = np.array([probabilities[labels == k, k].mean() for k in range(classes)])
    above = np.where(probabilities >= thresholds, probabilities, -np.inf)
    confident = above.argmax(axis=1)
    counted = np.isfinite(above.max(axis=1))
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[counted], confident[counted]), 1)
    off_diagonal = int((counted & (confident != labels)).sum())
    joint += np.diag(joint.sum(axis=1) == 0)
    calibrated = joint / joint.sum(axis=1, keepdims=True) * np.bincount(labels, minlength=classes)[:, None]
    rows = np.arange(len(labels))
    confidence, others = probabilities[rows, labels], probabilities.copy()
    others[rows, labels] = -np.inf
    suspect = np.zeros(len(labels), dtype=np.bool_)
    suspect[confidence.argsort(kind="stable")[:off_diagonal]] = True
    return LabelErrors(
        suspect=suspect,
        suggestion=others.argmax(axis=1),
        confidence=confidence,
        share=float(1 - np.trace(calibrated) / len(labels)),
    )


def strangeness(described: Array) -> tuple[Array, Array]:
    """Returns two robust z-scores (N,) of samples: of their distance to others, and of their fine structure.

    The first is that of the mean distance to the 10 nearest others, the second that of what the principal components
    leave over, very negative for flat images. Both are of logarithms, by median and MAD (Iglewicz & Hoaglin 1993).

    Args:
        described: What `features` returned.
    """
    far = neighbours(described)[0].mean(axis=1)
    return _robust_z(far), _robust_z(described[:, -1])


def _robust_z(values: Array) -> Array:
    tiny = max(1e-6 * float(np.median(values)), 1e-12)
    logs = np.log(np.maximum(values, tiny))
    apart = logs - np.median(logs)
    spread = 1.4826 * np.median(np.abs(apart))
    # Without a spread, as where the components leave nothing over, no sample stands out.
    return apart / spread if spread > 1e-6 else np.zeros_like(apart)


def reduced(x: Tensor) -> Tensor:
    """Returns images (N, C, H, W) averaged down to 16 pixels a side, anything else as it is, in float32."""
    x = x.detach().cpu().float()
    if x.ndim == 4 and max(x.shape[2:]) > PIXELS:
        x = torch.nn.functional.adaptive_avg_pool2d(x, (min(PIXELS, x.shape[2]), min(PIXELS, x.shape[3])))
    return x


def _flat(x: Tensor) -> Any:
    return reduced(x).flatten(1).double().numpy()
