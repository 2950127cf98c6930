"""Models with predict_proba as modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tables
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import robustkit
from robustkit.base.errors import ConfigurationError
from robustkit.data.tables import from_columns
from robustkit.loading.estimator import Estimator
from robustkit.loading.model import load_model
from robustkit.model.classifier import Classifier

X = np.arange(12, dtype=np.float32).reshape(6, 2)


def tree(labels: Any) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(random_state=0).fit(X, labels)


def test_its_probabilities_are_those_of_the_classifier():
    fitted = LogisticRegression().fit(X, [0, 0, 0, 1, 1, 1])
    assert np.allclose(Estimator(fitted)(torch.from_numpy(X)).numpy(), fitted.predict_proba(X))


def test_labels_that_are_texts_name_the_outputs_so_that_data_without_a_class_are_read_rightly():
    model = Classifier(Estimator(tree(["a", "b", "b", "c", "c", "c"])), bounds=(0, 12))
    assert model.class_names == ("a", "b", "c")
    found = robustkit.evaluate(model, (X[1:], ["b", "b", "c", "c", "c"]), "square:queries=5", eps=0.1)
    assert found.clean_accuracy.value == 1.0


def test_labels_from_another_number_keep_their_numbers():
    found = Estimator(tree([3, 3, 5, 5, 4, 4]))(torch.from_numpy(X))
    assert found.argmax(1).tolist() == [3, 3, 5, 5, 4, 4]
    with pytest.raises(ConfigurationError, match=r"labels from 0, got -1..1; fit it to names"):
        Estimator(tree([-1, -1, 1, 1, 1, 1]))


def test_a_pipeline_gets_the_columns_of_the_table_by_name_and_with_its_texts():
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline

    columns = tables.columns()
    frame = pandas.DataFrame({name: columns[name] for name in ("job", "age", "income")})
    fitted = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough"),
        DecisionTreeClassifier(max_depth=4),
    ).fit(frame, columns["label"])
    features = {name: columns[name] for name in ("age", "income", "job")}  # in another order than it was fitted to
    data = from_columns({**features, "label": columns["label"]}, schema={"default": {"eps": 1}})
    said = Estimator(fitted, data.schema)(data.source[0]).numpy()
    assert np.allclose(said, fitted.predict_proba(frame))


def test_what_has_no_probabilities_is_refused():
    with pytest.raises(ConfigurationError, match="a classifier with predict_proba, got LinearSVC"):
        Estimator(LinearSVC().fit(X, [0, 0, 0, 1, 1, 1]))


def test_a_factory_may_return_a_fitted_classifier(in_folder):
    (in_folder / "fitted_here.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "def model(): return LogisticRegression().fit([[0.0], [1.0]], [0, 1])\n"
    )
    assert isinstance(load_model("fitted_here:model"), Estimator)
