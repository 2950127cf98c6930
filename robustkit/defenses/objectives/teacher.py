"""The teacher of an objective that distils: a trained model whose answers the model in training learns."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import instance
from robustkit.model.classifier import Classifier, as_classifier
from robustkit.model.weights import weights_sha256


class Teacher:
    """A model that answers and does not learn; its repr has the hash of its weights, which checkpoints compare.

    Args:
        model: A Classifier, or a bare module that takes inputs in 0..1.
    """

    def __init__(self, model: Classifier | nn.Module) -> None:
        self.classifier = as_classifier(model)

    def probabilities(self, who: str, student: Classifier, x: Tensor, temperature: float = 1.0) -> Tensor:
        """Returns softmax(logits / temperature) for clean inputs (N, ...), shape (N, K), in eval mode, constant.

        Args:
            who: The objective, for messages.
            student: The model in training, with the same bounds and classes.
            x: Inputs within the bounds, in the student's units.
            temperature: Above 1 it evens the answers out.

        Raises:
            ConfigurationError: If the teacher is the student itself, or has other bounds or classes.
        """
        teacher = self.classifier
        if teacher.module is student.module and teacher.model is student.model:
            raise ConfigurationError(
                f"{who}: expected a trained teacher, got the model that is being trained; give another one or a copy"
            )
        ends = [torch.as_tensor(end, device="cpu") for bounds in (teacher.bounds, student.bounds) for end in bounds]
        if not (_same(ends[0], ends[2]) and _same(ends[1], ends[3])):
            raise ConfigurationError(
                f"{who}: expected a teacher with the bounds of the model, {student.bounds}, got {teacher.bounds};"
                " wrap it as a Classifier with those"
            )
        with teacher.frozen(), torch.no_grad():
            logits = teacher.logits(x)
        if student.num_classes not in (None, logits.shape[1]):
            raise ConfigurationError(
                f"{who}: expected a teacher of {student.num_classes} classes, as the model has, got {logits.shape[1]};"
                " give one that was trained on the same classes"
            )
        return (logits / temperature).softmax(dim=1).to(x.device, x.dtype)

    @functools.cached_property
    def _sha256(self) -> str:
        return weights_sha256(self.classifier.module)

    def __repr__(self) -> str:
        return f"{type(self.classifier.module).__name__}({self._sha256[:16]})"


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool((first == second).all())


def as_teacher(who: str, value: object) -> Teacher:
    """Returns a model as a teacher.

    Raises:
        ConfigurationError: If it is none.
    """
    instance(who, "teacher", value, Classifier, nn.Module, Teacher, fix="give a trained model, in Python")
    assert isinstance(value, Classifier | nn.Module | Teacher)
    return value if isinstance(value, Teacher) else Teacher(value)
