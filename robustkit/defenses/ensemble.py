"""Ensembles: several members, one differentiable model that is attacked end to end."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import one_hot

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import choice, every, instance, integer, wrong
from robustkit.base.settings import seed as known_seed
from robustkit.defenses.logits import Logits, held_out
from robustkit.maths.random_numbers import Stream
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.small_models import initial_weights
from robustkit.model.weights import load_weights

Rule = Literal["mean_logits", "mean_probabilities", "soft_vote", "hard_vote", "weighted"]
RULES: tuple[Rule, ...] = ("mean_logits", "mean_probabilities", "soft_vote", "hard_vote", "weighted")
TIE = 1e-3
"""Share of the mean probability in a hard vote: votes closer than this are a tie, which it decides."""

Member = Classifier | nn.Module | Callable[[Tensor], Any]


class Ensemble(nn.Module):
    """Several members as one classifier from inputs to logits.

    The rules: "mean_logits"; "mean_probabilities", whose other name is "soft_vote"; "weighted", the same with weights
    that must be given; and "hard_vote", where each member votes for its top class. The probabilities of a hard vote
    are the shares of the votes, but for `TIE` of the mean probability, which decides ties and nothing else.

    A vote has no gradient, and a mean of probabilities has none worth following once its members are confident: an
    ensemble can seem robust for that reason alone. So in eval mode, where attacks see it, the backward pass of all
    rules but "mean_logits" is that of `soft_votes`; the value is always exact. In training mode the derivative is the
    true one, that of the mean of probabilities for "hard_vote".

    Args:
        members: Classifiers, each with its own mean and std, or bare models that take inputs in 0..1.
        rule: How the members decide together.
        weights: How much each member counts, >= 0, in any unit; equal by default.

    Raises:
        ConfigurationError: If there is no member, their bounds differ, or rule or weights are invalid.
    """

    weights: Tensor

    def __init__(
        self, members: Sequence[Member], rule: Rule = "mean_logits", weights: Sequence[float] | Tensor | None = None
    ) -> None:
        super().__init__()
        choice("ensemble", "rule", rule, RULES)
        if not known_members(members):
            raise ConfigurationError("ensemble: expected at least one member, got none; give some models")
        if rule == "weighted" and weights is None:
            raise ConfigurationError("ensemble: expected weights for rule 'weighted', got none; see fit_weights")
        share = _shares(weights, len(members))
        if share.shape != (len(members),) or not bool((share >= 0).all()) or not 0 < float(share.sum()) < math.inf:
            raise ConfigurationError(
                f"ensemble: expected one weight >= 0 for each of {len(members)} members, got {share.tolist()}; correct"
                " them"
            )
        self.rule: Rule = rule
        self.members = nn.ModuleList(Logits(member) for member in members)
        limits = sorted({member.bounds for member in self.members}, key=str)
        if len(limits) > 1:
            raise ConfigurationError(
                f"ensemble: expected members with the same input bounds, got {limits[0]} and {limits[1]}; wrap the"
                " models so that they agree"
            )
        self.register_buffer("weights", share / share.sum())

    def member_logits(self, x: Tensor) -> Tensor:
        """Returns the logits of every member, shape (M, N, K), for `x` (N, ...).

        Raises:
            ConfigurationError: If the members do not know the same number of classes.
        """
        found = [member(x) for member in self.members]
        classes = sorted({logits.shape[1] for logits in found})
        if len(classes) > 1:
            raise ConfigurationError(
                f"ensemble: expected members with the same classes, got {classes[0]} and {classes[1]} scores a row;"
                " give models of one task"
            )
        return torch.stack(found)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, K) for `x` (N, ...); for all rules but "mean_logits" they are log-probabilities."""
        logits = self.member_logits(x)
        weights = self.weights.to(logits.dtype).view(-1, 1, 1)
        if self.rule == "mean_logits":
            return (weights * logits).sum(0)
        mean = _mean_probabilities(logits, weights)
        value = _vote(logits.detach(), weights) if self.rule == "hard_vote" else mean
        surrogate = mean if self.training else soft_votes(logits, weights)
        return value.detach() + (surrogate - surrogate.detach())


def soft_votes(logits: Tensor, weights: Tensor) -> Tensor:
    """Returns the surrogate for a vote that the backward pass differentiates, shape (N, K).

    Each member's logits are brought to unit spread, so that none is too loud to be outvoted, and turned into votes by
    a softmax whose width is the logit margin of the pivotal member, the median one: it pulls most on those that can
    still be won, little on those already won or out of reach. Athalye et al. 2018, arXiv 1802.00420, section 4.1, on
    backward passes that replace another (BPDA); this one is ours.

    Args:
        logits: Of every member, shape (M, N, K).
        weights: Adding up to 1, shape (M, 1, 1).
    """
    tiny = torch.finfo(logits.dtype).tiny
    level = logits / logits.detach().std(dim=2, keepdim=True).clamp(min=tiny)
    top = level.detach().topk(2, dim=2).values
    margin = (top[..., :1] - top[..., 1:]).median(dim=0).values.clamp(min=1e-6)
    return (weights * (2 * level / margin).softmax(dim=2)).sum(0)


def _mean_probabilities(logits: Tensor, weights: Tensor) -> Tensor:
    return torch.logsumexp(logits.log_softmax(dim=2) + weights.log(), dim=0)


def _vote(logits: Tensor, weights: Tensor) -> Tensor:
    """Returns the logarithm of the shares of the votes, mixed with a little of the mean probability."""
    votes = (weights * one_hot(logits.argmax(dim=2), logits.shape[2])).sum(0)
    return torch.logaddexp(((1 - TIE) * votes).log(), _mean_probabilities(logits, weights) + math.log(TIE))


def fit_weights(
    members: Sequence[Member], x: Tensor, y: Tensor, rule: Rule = "mean_probabilities", batch_size: int = 256
) -> list[float]:
    """Returns the weights, adding up to 1, that minimise the negative log-likelihood on held-out samples.

    The mean of the members' logits for "mean_logits", of their probabilities for every other rule: either way a convex
    problem on the simplex, solved by sequential quadratic programming (scipy). Equal weights are kept unless better
    ones are found.

    Args:
        members: As for `Ensemble`.
        x: Samples (N, ...) that no member was trained on.
        y: Labels (N,).
        rule: The rule of the ensemble.
        batch_size: Rows the members see at once.

    Raises:
        ConfigurationError: If members or rule cannot be used.
        InvalidEvaluation: If the samples leave the bounds or labels are no classes.
    """
    equal = [1 / len(members)] * len(members) if known_members(members) else []
    Ensemble(members, rule, equal)  # refuses what cannot be an ensemble
    parts = [held_out(as_classifier(member), x, y, batch_size) for member in members]
    logits, labels = torch.stack([part.to(parts[0][0].device) for part, _ in parts]), parts[0][1]
    own, rows = logits.log_softmax(dim=2), torch.arange(len(labels), device=logits.device)

    def objective(weights: Any) -> tuple[float, Any]:
        share = torch.tensor(weights, device=logits.device).clamp(min=1e-12).requires_grad_()
        if rule == "mean_logits":
            likelihood = (share.view(-1, 1, 1) * logits).sum(0).log_softmax(dim=1)[rows, labels]
        else:
            likelihood = torch.logsumexp(own[:, rows, labels] + share.log().unsqueeze(1), dim=0)
        loss = -likelihood.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        assert share.grad is not None
        return float(loss.detach()), share.grad.cpu().numpy()

    sum_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    with torch.enable_grad():
        start = objective(equal)[0]
        found = minimize(
            objective,
            equal,
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * len(members),
            constraints=sum_to_one,
            options={"ftol": 1e-12},
        )
        weights = np.clip(found.x, 0, 1)
        weights = (weights / weights.sum()).tolist() if np.isfinite(weights).all() and weights.sum() > 0 else equal
        return weights if objective(weights)[0] < start else equal


def known_members(members: Any) -> bool:
    """Returns whether there are any members; raises ConfigurationError where they are no list."""
    if isinstance(members, nn.ModuleList):
        return bool(members)
    instance("ensemble", "members", members, list, tuple)
    return bool(members)


def _shares(weights: Any, count: int) -> Tensor:
    try:
        share = torch.ones(count, device="cpu") if weights is None else torch.as_tensor(weights, device="cpu")
        if share.dtype == torch.bool:
            raise TypeError
    except (TypeError, ValueError, RuntimeError):
        raise wrong("ensemble", "weights", weights, f"{count} numbers") from None
    return share.detach().double()


def snapshots(
    model: nn.Module, files: Sequence[str | Path], trust_checkpoint: bool = False, key: str | None = None
) -> list[nn.Module]:
    """Returns one copy of `model` for each weight file: the members of a snapshot ensemble.

    Huang et al. 2017, arXiv 1704.00109: the states of one training run at the end of each cycle of the learning rate.

    Args:
        model: The architecture; left as it is.
        files: Weight files for `robustkit.model.weights.load_weights`.
        trust_checkpoint: Also read files that can run code.
        key: Where in each file the weights lie, as for `load_weights`.

    Raises:
        ConfigurationError: If a file cannot be read or does not fit.
    """
    instance("snapshots", "model", model, nn.Module)
    every("snapshots", "files", files, str, Path)
    members = []
    for file in files:
        member = copy.deepcopy(model)
        load_weights(member, file, trust_checkpoint, key)
        members.append(member)
    return members


def fresh_copies(model: nn.Module, count: int, seed: int = 0) -> list[nn.Module]:
    """Returns copies of `model` with weights drawn anew: where independently trained members begin.

    Drawn anew is what has a `reset_parameters`, as torch's own layers do. Each copy has a seed of its own; the global
    random state is left as it was.

    Args:
        model: The architecture, on the CPU; left as it is.
        count: How many.
        seed: Decides all weights.
    """
    instance("fresh_copies", "model", model, nn.Module)
    count, seed = integer("fresh_copies", "count", count), known_seed("fresh_copies", seed)
    copies = []
    for number in range(count):
        fresh = copy.deepcopy(model)
        with initial_weights(Stream(seed, f"member {number}").number):
            for part in fresh.modules():
                if callable(reset := getattr(part, "reset_parameters", None)):
                    reset()
        copies.append(fresh)
    return copies
