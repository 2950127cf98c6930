"""Models of scikit-learn, XGBoost and LightGBM: whatever has `predict_proba`, as a module without gradients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.foreign_file import parsing
from robustkit.base.optional import package
from robustkit.data.dataset import Dataset
from robustkit.data.encode import decode
from robustkit.data.schema import Schema
from robustkit.model.unpacked import unpacked

_MANY = 1000  # outputs, of which those without a label never have a probability
SUFFIXES = (".joblib", ".pkl", ".pickle")


class Estimator(nn.Module):
    """A fitted classifier with `predict_proba`, as a function of a batch of records that returns probabilities.

    Args:
        fitted: Of scikit-learn or alike; a pipeline, say.
        schema: Of the table, where it takes the table's own columns, texts among them, by name.

    Raises:
        ConfigurationError: If it has no `predict_proba` or was not fitted.
    """

    def __init__(self, fitted: Any, schema: Schema | None = None) -> None:
        super().__init__()
        if not callable(getattr(fitted, "predict_proba", None)):
            raise ConfigurationError(
                f"model: expected a classifier with predict_proba, got {type(fitted).__name__}; for support vector"
                " machines give probability=True, or wrap it in CalibratedClassifierCV"
            )
        self.fitted, self.schema = fitted, schema
        self.names: Sequence[str] | None = _names_of(fitted)
        self.classes = np.asarray(getattr(fitted, "classes_", ())).tolist()
        self.numbers = self.classes if any(type(one) is int for one in self.classes) else None
        if self.numbers is not None and not 0 <= min(self.numbers) <= max(self.numbers) < _MANY:
            raise ConfigurationError(
                f"model: expected a classifier fitted to labels from 0, got {min(self.numbers)}..{max(self.numbers)};"
                " fit it to names, or to 0, 1, 2, ..."
            )

    @property
    def config(self) -> Any:
        """What it was fitted to, if to texts, as `Classifier` finds the names of the outputs of any model."""
        named = all(isinstance(one, str) for one in self.classes)
        return SimpleNamespace(id2label={number: str(one) for number, one in enumerate(self.classes) if named})

    def forward(self, x: Tensor) -> Tensor:
        """Returns the probabilities (N, K) of records `x` (N, F)."""
        table = self._table(x.detach().cpu().double().numpy())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="X (does not|has) (have )?(valid )?feature names")
            found = np.asarray(self.fitted.predict_proba(table), dtype=np.float64)
        if self.numbers is not None:  # such as 3 to 8, so that output 3 is label 3
            spread = np.zeros((len(found), max(self.numbers) + 1))
            spread[:, self.numbers] = found
            found = spread
        return torch.from_numpy(found).to(x.device)

    def _table(self, x: Any) -> Any:
        """Returns records as the classifier wants them: by the names of the columns, where it was fitted to names."""
        if self.names is None or (self.schema is None and len(self.names) != x.shape[1]):
            return x
        columns = decode(self.schema, x) if self.schema else dict(zip(self.names, x.T, strict=True))
        if missing := [name for name in self.names if name not in columns]:
            raise ConfigurationError(
                f"model: expected a table with the columns it was fitted to, got none called {missing[0]!r}; give them"
            )
        pandas = package("pandas", "model")
        return pandas.DataFrame({name: columns[name] for name in self.names})


def of_data(module: nn.Module, dataset: Dataset) -> nn.Module:
    """Returns a module as its data need it.

    An `Estimator` from now on knows the schema of its table, and a model of several inputs takes the rows they lie in.
    """
    if isinstance(module, Estimator):
        module.schema = dataset.schema
    return unpacked(module, dataset.layout)


def read_estimator(path: Path, trusted: bool) -> Estimator:
    """Returns the classifier that joblib or pickle wrote.

    Raises:
        ConfigurationError: If it is none, or not trusted: reading a pickle runs the code in it.
    """
    who = f"model '{path}'"
    if not trusted:
        raise ConfigurationError(
            f"{who}: expected a trusted file, got a pickle; reading it can run any code, and --trust-checkpoint would"
            " run the file's code: use it only if you trust who made the file"
        )
    joblib = package("joblib", who, "scikit-learn")
    with parsing(who, "a model that joblib or pickle wrote", "save it again with these versions"):
        return Estimator(joblib.load(path))


def _names_of(fitted: Any) -> Sequence[str] | None:
    """Returns the names of the columns a classifier was fitted to, where it knows them."""
    try:
        names = getattr(fitted, "feature_names_in_", None)
    except Exception as error:
        raise ConfigurationError(f"model: expected a fitted classifier, got {one_line(error)}; fit it") from error
    return None if names is None else [str(name) for name in names]
