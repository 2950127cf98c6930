"""A text classifier attacked where its tokens have become vectors: the inputs are embeddings, no token ids."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError, one_line
from robustkit.base.settings import between, choice, instance
from robustkit.data.dataset import Dataset
from robustkit.data.layout import Layout, PackedEps, Part
from robustkit.data.named_inputs import read_named_inputs
from robustkit.data.packing import find_padding, lay_out, packed_bounds
from robustkit.model.classifier import Classifier
from robustkit.model.unpacked import Unpacked

IDS, EMBEDDED = "input_ids", "inputs_embeds"
_FEW = 8  # samples on which the model is asked both ways
_CLOSE = 1e-3  # as a share of the largest score


@dataclass(frozen=True)
class Embeddings:
    """A text classifier and its data as `evaluate` takes them, and the unit of eps.

    Attributes:
        classifier: Of rows that hold the embedded tokens and what is passed on beside them.
        data: The samples as such rows, embedded when they are read.
        norms: Mean size of an embedding, over the vocabulary without its padding token, by norm: "L2", "L1" and, as
            the root mean square of its values, "Linf".
    """

    classifier: Classifier
    data: Dataset
    norms: dict[str, float]

    def eps(self, share: float, norm: Literal["Linf", "L2", "L1"] = "L2") -> PackedEps:
        """Returns the radius for `evaluate(..., eps=)`, relative to the mean embedding norm.

        In L2 and L1 the change of all tokens of a sample together is at most `share` times the mean L2 or L1 norm of an
        embedding. In Linf each value changes by at most `share` times the mean L2 norm divided by the root of the
        dimension, so that each token moves by at most `share` times the mean L2 norm.

        Args:
            share: At least 0, such as 0.1.
            norm: That of the threat.

        Raises:
            ConfigurationError: If an argument is something else.
        """
        share = between("embeddings", "share", share, "[0, inf)")
        assert self.data.layout is not None
        return self.data.layout.eps(share * self.norms[choice("embeddings", "norm", norm, ("Linf", "L2", "L1"))])


def embeddings(model: nn.Module, data: Any, *, passed: Sequence[str] | None = None, name: str = "tokens") -> Embeddings:
    """Returns a text classifier of Hugging Face transformers with its token ids, to be attacked in embedding space.

    The attacked input is `inputs_embeds`: what the model's own layer makes of `input_ids`, before positions are
    added. What else the model takes, such as `attention_mask`, is passed on, and embeddings of padding never change.
    Numbers may lie up to twice as far from 0 as the largest one of the vocabulary. An adversarial example need not be a
    text: no tokens may be near it.

    Args:
        model: With `get_input_embeddings()` and an input called `inputs_embeds`.
        data: Dicts with `input_ids`, a label and what is passed on, as `robustkit.data.pack` reads them.
        passed: Names of what is passed on; by default all numbers of the dicts that the model takes.
        name: What reports call the data.

    Raises:
        ConfigurationError: If the model takes no embeddings, or answers otherwise than to the token ids themselves.
        InvalidEvaluation: If the data cannot be read.
    """
    instance("embeddings", "model", model, nn.Module)
    layer = _layer(model)
    found = read_named_inputs(data, IDS, passed)
    if passed is None:
        takes = inspect.signature(model.forward).parameters
        columns = {name: rows for name, rows in found.columns.items() if name == IDS or name in takes}
        found = dataclasses.replace(found, columns=columns)
    rows, tokens = lay_out(found.columns, IDS, find_padding("auto", [*found.columns][1:]))
    _check_ids(rows[:, : tokens.attacked.size], tokens, layer)
    layout = Layout(
        (Part(EMBEDDED, (*tokens.attacked.shape, layer.embedding_dim), "float"), *tokens.parts[1:]), tokens.padding
    )
    weight = layer.weight.detach().double()
    most = 2 * float(weight.abs().max())
    dataset = Dataset(
        name=name,
        source=Embedded(found.source(rows), tokens, layer),
        bounds=packed_bounds((-most, most), rows, layout),
        notes=("token ids were embedded by the model's own layer; adversarial embeddings need not belong to any text",),
        layout=layout,
    )
    classifier = Classifier(Unpacked(model, layout), bounds=dataset.bounds)
    _compare(model, classifier, tokens.split(rows[:_FEW]), dataset)
    return Embeddings(classifier, dataset, _norms(layer, weight))


class Embedded:
    """Samples that are embedded when they are read: item i is (row, label[, id]).

    Args:
        held: Rows with token ids, labels and maybe ids.
        layout: Of these rows.
        layer: From token ids to embeddings.
    """

    def __init__(self, held: tuple[Any, ...], layout: Layout, layer: nn.Module) -> None:
        self.held, self.layout, self.layer = held, layout, layer

    def __len__(self) -> int:
        return len(self.held[0])

    def __getitem__(self, at: int) -> tuple[Any, ...]:
        x, *rest = (column[at] for column in self.held)
        device = next(self.layer.parameters()).device
        with torch.no_grad():
            ids = x[: self.layout.attacked.size].long().to(device).view(1, *self.layout.attacked.shape)
            vectors = self.layer(ids).float().cpu().flatten()
        return (torch.cat([vectors, x[self.layout.attacked.size :]]) + 0.0, *rest)


def _layer(model: Any) -> nn.Embedding:
    """Returns the layer that embeds tokens."""
    found = model.get_input_embeddings() if callable(getattr(model, "get_input_embeddings", None)) else None
    if not isinstance(found, nn.Embedding):
        raise ConfigurationError(
            f"embeddings: expected a model of transformers with an embedding of tokens, got {type(model).__name__};"
            f" embed them yourself and give dicts to robustkit.data.pack"
        )
    if EMBEDDED not in inspect.signature(model.forward).parameters:
        raise ConfigurationError(
            f"embeddings: expected a model that takes {EMBEDDED}, got {type(model).__name__}, which does not; embed the"
            " tokens in a wrapper and give dicts to robustkit.data.pack"
        )
    return found


def _norms(layer: nn.Embedding, weight: Tensor) -> dict[str, float]:
    rows = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    if layer.padding_idx is not None:
        rows[layer.padding_idx] = False
    size = {order: float(weight[rows].norm(dim=1, p=order).mean()) for order in (1, 2)}
    return {"Linf": size[2] / math.sqrt(weight.shape[1]), "L2": size[2], "L1": size[1]}


def _check_ids(ids: Tensor, tokens: Layout, layer: nn.Embedding) -> None:
    """Raises InvalidEvaluation where token ids are none."""
    least, most = int(ids.min()), int(ids.max())
    if (
        tokens.attacked.kind != "integer"
        or least < 0
        or most >= layer.num_embeddings
        or len(tokens.attacked.shape) != 1
    ):
        raise InvalidEvaluation(
            f"embeddings: expected {IDS} (tokens,), whole numbers from 0 to {layer.num_embeddings - 1:,}, got"
            f" {tokens.attacked.kind} {tokens.attacked.shape} from {least} to {most:,}; give the model's own tokens"
        )


def _compare(model: nn.Module, classifier: Classifier, asked: dict[str, Tensor], dataset: Dataset) -> None:
    """Raises ConfigurationError where the model answers otherwise to embeddings than to the tokens they come from."""
    x = torch.stack([dataset.source[at][0] for at in range(len(asked[IDS]))])
    try:
        with classifier.frozen(), torch.no_grad():
            there = {name: values.to(classifier.device) for name, values in asked.items()}
            expected = classifier.find_scores(model(**there))
            got = classifier.find_scores(classifier.raw(x))
            far = float((expected - got).abs().max() / expected.abs().max().clamp(min=1e-6))
    except RobustkitError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"embeddings: expected a model that takes {EMBEDDED} with {', '.join(asked)}, got {one_line(error)}; name"
            " what it needs in passed="
        ) from error
    if not far <= _CLOSE:
        raise ConfigurationError(
            f"embeddings: expected the same answers to {EMBEDDED} as to {IDS}, got scores that differ by {far:.2g} of"
            " their size; the model needs the ids themselves, so embed them in a wrapper"
        )
