"""The only place that knows how a model's input is scaled, what its output means, where and how precisely it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, suggest
from robustkit.base.foreign_code import foreign
from robustkit.base.per_coordinate import Bounds, bounds_of, by_coordinate, ends_on
from robustkit.base.settings import ANY, distinct, integer, shown
from robustkit.maths.losses import Loss
from robustkit.model.frozen import frozen
from robustkit.model.gradient import Gradient, Tally, finite
from robustkit.model.inputs import inputs
from robustkit.model.normalization import Constant, constants, normalized, refuse_other_units
from robustkit.model.output import (
    OUTPUTS,
    Output,
    Select,
    as_logits,
    as_probabilities,
    check_output,
    detect_output,
    width_advice,
)
from robustkit.model.output import find_scores as find
from robustkit.model.output_names import carried_names
from robustkit.model.range_edges import inside, only_there, vanished
from robustkit.model.unpacked import Unpacked, layout_taken

_CUT = (
    "Classifier: expected an output that can be differentiated, got one cut off from the input "
    "(detach, no_grad, argmax, numpy, an inference-only graph); remove the cut or use a black-box attack"
)


class Classifier:
    """Any torch classifier, seen as a function from inputs in `bounds` to logits of shape (N, K).

    Args:
        model: A module (plain, scripted or compiled) or any callable from a batch to an output.
        bounds: Lowest and highest legal input value; attacks see this space only. Each a number, or a tensor, array or
            list that broadcasts to one input, one value for each feature or channel.
        mean: Subtracted from the input before the model sees it: a number, one per channel (for the axis that is as
            long, refused where several are), or any tensor that broadcasts against the input.
        std: Divides the input after `mean` is subtracted; same forms.
        output: What the model returns. "auto" looks at the first batch: rows >= 0 that sum to one are
            probabilities, a single column is the logit of class 1 of two, everything else is logits; rows in 0..1 that
            do not sum to one have to be named. "sigmoid" is one probability for each class against the rest: the
            answer is the class with the highest, and its confidence is that number. Models that may answer several
            classes at once (multi-label) are not meant.
        select: How to find the tensor in a composite output: a key, an attribute, an index or a function. By
            default a tensor is taken as it is, then `.logits`, then `["logits"]`, then the only tensor (N, K), or the
            only one with `num_classes` columns; of equally wide ones in a tuple the first.
        num_classes: Expected number of classes; checked against the output.
        class_names: Names of the outputs, in their order, to which the classes of data are joined by name; by default
            those that a Hugging Face model brings along.
        draws: For a model that draws random numbers: how many EOT samples an outcome averages (their probabilities
            are averaged). Its random numbers then depend on (seed, sample id, step, draw) alone.
        device: For models without parameters: where they want their input. Otherwise the model's own device.

    Raises:
        ConfigurationError: If an argument is invalid.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any],
        *,
        bounds: Bounds | Sequence[Any] = (0.0, 1.0),
        mean: Constant | None = None,
        std: Constant | None = None,
        output: Output = "auto",
        select: Select | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        draws: int = 1,
        device: str | torch.device | None = None,
    ) -> None:
        who = "Classifier"
        if not isinstance(output, str) or output not in OUTPUTS:
            raise ConfigurationError(
                f"{who}: expected output among {', '.join(OUTPUTS)}, got {output!r}{suggest(str(output), OUTPUTS)}"
            )
        if not callable(model):
            raise ConfigurationError(
                f"{who}: expected a module or a function, got {type(model).__name__}; give the network itself"
            )
        if isinstance(model, Unpacked) and (mean is not None or std is not None):
            raise ConfigurationError(
                f"{who}: expected no mean and std beside a model of several inputs, which they would change, too, got"
                " some; normalise in the model"
            )
        low, high = bounds_of(who, "bounds", bounds)
        if select is not None and not isinstance(select, str) and not callable(select):
            integer(who, "select", select, ANY)
        num_classes = None if num_classes is None else integer(who, "num_classes", num_classes, 2)
        names = None if class_names is None else distinct(who, "class_names", class_names, num_classes)
        draws = integer(who, "draws", draws)
        if draws > 1 and output == "sigmoid":
            raise ConfigurationError(
                "Classifier: expected draws=1 with output='sigmoid', whose rows are no probabilities of one choice, "
                f"got {draws}; average them in the model"
            )
        self.model = model
        self.module = model if isinstance(model, nn.Module) else nn.Module()
        self.bounds: Bounds = (low, high) if by_coordinate(low, high) else (float(low), float(high))  # type: ignore[arg-type]
        self.output: Output = output
        self.select = select
        self.num_classes = num_classes
        self.class_names = names or carried_names(model)
        self.draws = draws
        self.tally = Tally()
        self.checks = False
        self.vanishes_at_edges: bool | None = None  # the gradient; not known yet
        if any(map(is_lazy, (*self.module.parameters(), *self.module.buffers()))):
            raise ConfigurationError(
                "Classifier: expected a model whose parameters have shapes, got lazy layers; pass one batch through it"
            )
        tensors = [t for t in (*self.module.parameters(), *self.module.buffers()) if t.is_floating_point()]
        there = known_device(device)
        self.device = tensors[0].device if tensors else there
        self.model_dtype = tensors[0].dtype if tensors else torch.float32
        # Half precision is the model's affair: attacks keep at least float32, the input is rounded on entry.
        self.dtype = torch.promote_types(self.model_dtype, torch.float32)
        self.mean, self.std = constants(mean, std, self.dtype, self.device)
        refuse_other_units(self.mean, self.std, self.bounds)

    def replace(self, *, tally: Tally | None = None, **changes: Any) -> Classifier:
        """Returns a copy with some settings changed, as `dataclasses.replace` does; it counts passes in its own tally.

        Everything else stays, also what was found out about the output and the number of classes: for another kind of
        model say `output="auto"` and `num_classes=None`. A new module brings its own device and precision.

        Args:
            tally: Where its passes are counted, to count them with those of another classifier.
            **changes: Arguments of `Classifier` by name.

        Raises:
            ConfigurationError: If an argument is invalid.
            TypeError: If there is no such argument.
        """
        names = ("model", "bounds", "mean", "std", "output", "select", "num_classes", "class_names", "draws", "device")
        other = copy.copy(self)
        Classifier.__init__(other, **{**{name: getattr(self, name) for name in names}, **changes})
        other.tally = tally or other.tally
        other.vanishes_at_edges = self.vanishes_at_edges
        return other

    def frozen(self) -> AbstractContextManager[None]:
        """Returns the context in which the model is in eval mode with constant weights (`robustkit.model.frozen`)."""
        return frozen(self.module)

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Context in which every output is compared with what it is said to be; a GPU is waited for, each time."""
        before, self.checks = self.checks, True
        try:
            yield
        finally:
            self.checks = before

    def accept(self, x: Tensor | npt.NDArray[Any]) -> Tensor:
        """Returns `x`, a tensor or array, on the model's device in its working dtype, noise at the bounds clipped off.

        Raises:
            InvalidEvaluation: If `x` is empty, not floating point, not finite, or leaves the bounds by more than
                a few units in the last place of float32.
        """
        # A fresh tensor: an inference-mode tensor could not take part in a gradient.
        x = inputs(x, self.bounds).detach().to(self.device, self.dtype, copy=True)
        return x.clamp_(*ends_on(self.bounds, x))

    def classes(self, x: Tensor) -> int:
        """Returns the number of classes, asking the model about `x` if it is not known yet."""
        if self.num_classes is None or self.output == "auto":
            self.logits(x)
        assert self.num_classes is not None
        return self.num_classes

    def raw(self, x: Tensor) -> Any:
        """Returns what the model itself returns for `x` (N, ...) in `bounds`; counts N forward passes."""
        x = x.to(device=self.device, dtype=self.dtype)
        if self.vanishes_at_edges and torch.is_grad_enabled() and x.requires_grad:
            moved, layout = inside(x, self.bounds, self.model_dtype), layout_taken(self.module)
            x = moved if layout is None else torch.where(layout.fixed(x), x, moved)
        x = normalized(x, self.mean, self.std)
        self.tally.forwards += len(x)
        with foreign("the model"):
            return self.model(x.to(self.model_dtype, copy=True))  # a copy: the model may work in place on its input

    def logits(self, x: Tensor) -> Tensor:
        """Returns logits (N, K) for `x` (N, ...) in `bounds`, of which `probabilities` are the model's own.

        Raises:
            ConfigurationError: If the output cannot be read as one row of class scores for each input.
        """
        scores = self._scores(self.raw(x))
        if self.output == "auto":
            self.output = detect_output(scores, self.checks)
        if self.output == "sigmoid" and scores.shape[1] == 1:
            self.output = "probabilities"  # of the second of two classes
        if self.checks:
            check_output(scores, self.output)
        scores = as_logits(scores, self.output)
        if self.num_classes is None:
            self.num_classes = scores.shape[1]
        if scores.shape[1] != self.num_classes or self.num_classes < 2:
            raise ConfigurationError(
                f"Classifier: expected {max(self.num_classes, 2)} class scores a row, got {scores.shape[1]}; "
                + width_advice(scores.shape[1], self.num_classes)
            )
        return scores

    def takes(self, x: Tensor) -> bool:
        """Returns whether the model gives a row of scores for every input of `x` (N, ...); no pass is counted."""
        asked = self.replace()
        try:
            with asked.frozen(), torch.no_grad():
                return len(asked.logits(asked.accept(x))) == len(x)
        except Exception:
            return False

    @property
    def one_vs_rest(self) -> bool:
        """Whether each class has a probability of its own, so that those of a sample need not add up to one."""
        return self.output == "sigmoid"

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns what the model believes (N, K) where it answers `logits` (N, K): softmax, or sigmoids if they are."""
        return as_probabilities(logits, self.output)

    def gradient(self, x: Tensor, y: Tensor, loss: Loss) -> Gradient:
        """Returns logits, loss and the loss gradient with respect to `x`, each row up to a positive factor.

        Entries that are not finite are replaced by 0 and counted in `tally`, as are rows without any gradient.

        Args:
            x: Inputs (N, ...) in `bounds`.
            y: Labels (N,), or goals for a targeted loss.
            loss: One of `robustkit.maths.losses`.

        Raises:
            InvalidEvaluation: If the output does not depend on the input through the graph.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            logits = self.logits(x)
        if not logits.requires_grad:
            raise InvalidEvaluation(_CUT)
        value, direction = loss(logits.detach().double(), y)
        scale = 256 if self.model_dtype == torch.float16 else 1  # keeps small gradients above the underflow
        direction = (direction if scale == 1 else scale * direction).to(logits.dtype)
        with foreign("the model's backward pass"):
            (grad,) = torch.autograd.grad(logits, x, direction, allow_unused=True)
        if grad is None:
            raise InvalidEvaluation(_CUT)
        self.tally.backwards += len(x)
        grad = finite(grad, self.tally)
        found = Gradient(logits.detach(), value, grad if scale == 1 else grad.div_(scale))
        return found if self.vanishes_at_edges is not None else self._past_edges(found, x.detach(), y, loss)

    def _past_edges(self, found: Gradient, x: Tensor, y: Tensor, loss: Loss) -> Gradient:
        """Returns the gradient a hair inside the range if it vanishes at the ends only, which is then known."""
        low, high = ends_on(self.bounds, x)
        if x.device.type == "cpu" and not bool(((x == low) | (x == high)).any()):
            return found  # these inputs cannot tell
        self.vanishes_at_edges = False  # once: a GPU has to be waited for
        if not only_there(x, found.grad, self.bounds):
            return found
        self.vanishes_at_edges = True
        within = self.gradient(x, y, loss)
        self.vanishes_at_edges = vanished(x, found.grad, within.grad, self.bounds)
        return within if self.vanishes_at_edges else found

    def find_scores(self, output: Any) -> Any:
        """Returns the part of what the model returned that holds the class scores; see `robustkit.model.output`."""
        return find(output, self.select, self.num_classes)

    def _scores(self, output: Any) -> Tensor:
        scores = self.find_scores(output)
        if not isinstance(scores, Tensor):
            raise ConfigurationError(
                f"Classifier: expected a tensor, tuple, dict or object with .logits, got {type(output).__name__}; "
                "say where the class scores are with select="
            )
        scores = scores.to(self.dtype)
        if scores.ndim == 1:
            scores = scores.unsqueeze(1)
        if scores.ndim != 2:
            raise ConfigurationError(
                f"Classifier: expected class scores of shape (N, K), got {tuple(scores.shape)}; select another output"
            )
        return scores


def known_device(device: object) -> torch.device:
    """Returns the device, by default the CPU.

    Raises:
        ConfigurationError: If there is none of that name here.
    """
    fix = "; use 'cpu', or 'cuda' where torch.cuda.is_available()"
    if device is None or isinstance(device, torch.device):
        return torch.device("cpu") if device is None else device
    try:
        found = torch.device(device) if isinstance(device, str) else None
    except RuntimeError:
        found = None
    if found is None or (found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count()):
        raise ConfigurationError(f"Classifier: expected a device of this machine, got {shown(device)}{fix}")
    return found


def as_classifier(model: Classifier | nn.Module | Callable[[Tensor], Any]) -> Classifier:
    """Returns `model` if it is a Classifier, else a Classifier around it with inputs in 0..1."""
    return model if isinstance(model, Classifier) else Classifier(model)
