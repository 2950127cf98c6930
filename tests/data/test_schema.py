"""Schemas: what is read, what follows from the table, and which records are legal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tables
import torch

from robustkit.attacks.threat import Threat
from robustkit.base.errors import ConfigurationError
from robustkit.data import records
from robustkit.data.dataset import Dataset
from robustkit.data.encode import decode
from robustkit.data.schema import Schema
from robustkit.data.tables import from_columns


def read(**changes: object) -> Dataset:
    return from_columns(tables.columns(), schema={**tables.SCHEMA, **changes})


def schema(**changes: object) -> Schema:
    found = read(**changes).schema
    assert found is not None
    return found


def feature(name: str, settings: dict[str, object], values: object = None) -> object:
    columns = {"a": np.array([0.0, 1, 2, 4, 8]) if values is None else np.array(values), "label": np.arange(5) % 2}
    data = from_columns(columns, schema={"default": {"eps": 1}, "features": {name: settings}})
    assert data.schema is not None
    return data.schema.features[0]


def test_every_kind_takes_its_place_in_the_order_of_the_columns():
    found = schema()
    assert {one.name: one.places for one in found.features} == {
        "age": (0,), "income": (1,), "smoker": (2,), "job": (3, 4, 5), "grade": (6,), "town": (7, 8, 10), "size": (9,),
        "sex": (11,),
    }  # fmt: skip
    kinds = [one.kind for one in found.features]
    assert kinds == ["integer", "numeric", "binary", "category", "ordinal", "category", "ordinal", "binary"]
    assert found.features[3].values == ("none", "office", "works")


def test_a_toml_file_says_the_same(tmp_path: Path):
    path = tmp_path / "schema.toml"
    path.write_text(
        '[default]\neps = 0.5\nunit = "std"\n[features]\nage = {eps = 3, low = 18, high = 90, may = "rise"}\n'
        'smoker = {kind = "binary"}\ngrade = {kind = "ordinal", values = ["low", "mid", "high"], eps = 1}\n'
        'size = {kind = "ordinal", values = [1, 2, 5], eps = 3}\ntown = {columns = ["north", "south", "west"]}\n'
        'sex = {kind = "binary", immutable = true}\n'
    )
    assert from_columns(tables.columns(), schema=path).schema == schema()


def test_a_table_comes_out_as_it_went_in():
    data, columns = read(), tables.columns()
    back = decode(data.schema, data.source[0].numpy())  # type: ignore[arg-type]
    for name, values in columns.items():
        if name != "label":
            texts = isinstance(values.tolist()[0], str)
            assert list(back[name]) == list(values) if texts else np.allclose(back[name], values), name


def test_a_schema_is_written_down_and_read_again():
    assert Schema.from_text(schema().to_text()) == schema()
    with pytest.raises(ConfigurationError, match="JSON as robustkit writes it"):
        Schema.from_text('{"features": []}')


@pytest.mark.parametrize(
    ("unit", "eps", "far"),
    [("own", 2, 2.0), ("std", 1, np.std([0, 1, 2, 4, 8])), ("quantile", 0.5, 3.0), ("own", float("inf"), 8.0)],
)
def test_eps_is_in_the_unit_of_the_feature_in_standard_deviations_or_in_quantiles(unit, eps, far):
    assert feature("a", {"eps": eps, "unit": unit}).eps == pytest.approx(far)


def test_with_a_budget_a_feature_may_change_as_far_as_its_cost_allows():
    found = schema(budget=6, features={"age": {"cost": 2}, "job": {"cost": 3}}).features
    assert (found[0].eps, found[3].eps) == (3, 2)
    assert schema(budget=6, features={"job": {"cost": 3}}).eps("L1").values[3] == pytest.approx(
        4
    )  # two inputs change by 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "integr"}, "a kind among .* did you mean 'integer'"),
        ({"epss": 1}, "got 'epss'; did you mean 'eps'"),
        ({"eps": -1}, "eps >= 0"),
        ({"eps": "far"}, "a number as eps, got 'far'"),
        ({"unit": "std dev", "eps": 1}, "a unit among own, std, quantile"),
        ({"may": "grow"}, "may = 'rise', 'fall' or 'change'"),
        ({"cost": -1}, "a cost >= 0"),
        ({"kind": "binary"}, "one of 0, 1 in row 3 of 'a', got '2.0' and in 2 more rows"),
        ({"high": 4}, "a number in 0..4 in row 5 of 'a', got '8.0'"),
        ({"kind": "ordinal", "values": [4, 2]}, "in ascending order"),
        ({"columns": ["a", "b"]}, "a column of data 'table', got b"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        feature("a", settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("age", 4, 30.5, "a whole number in 18..90 in row 5 of 'age', got '30.5'"),
        ("grade", 0, "top", "one of low, mid, high in row 1 of 'grade', got 'top'"),
        ("north", 2, 7, "exactly one 1 and else 0 in row 3 of 'town'"),
        ("income", 1, np.nan, "a number in .* in row 2 of 'income', got 'nan'"),
    ],
)
def test_a_row_that_is_no_legal_record_is_named(column, row, value, message):
    columns = tables.columns()
    columns[column] = columns[column].astype(object if isinstance(value, str) else float)
    columns[column][row] = value
    tree = {**tables.SCHEMA, "features": {**tables.SCHEMA["features"]}}
    tree["features"]["age"] = {**tree["features"]["age"], "kind": "integer"}
    with pytest.raises(ConfigurationError, match=message):
        from_columns(columns, schema=tree)


def test_a_feature_that_its_eps_does_not_let_move_is_told():
    data = from_columns({"a": np.arange(4), "label": np.arange(4) % 2}, schema={"features": {"a": {"eps": 0.5}}})
    assert data.notes[-1] == "eps is less than one step of a, which so cannot change"


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_the_record_next_to_any_point_is_legal_by_a_validator_of_its_own(norm):
    data = read()
    assert data.schema is not None
    x = data.source[0].repeat(56, 1)  # 3,360 records in each norm, 10,080 in all
    threat = Threat(norm=norm, eps=data.schema.eps(norm), bounds=data.bounds)
    random = torch.Generator().manual_seed(1)
    scale = torch.tensor([20.0, 40, 2, 2, 2, 2, 3, 2, 2, 6, 2, 2])
    point = x + scale * (2 * torch.rand(x.shape, generator=random) - 1) * torch.rand(len(x), 1, generator=random)
    found = threat.snap(point, x)
    income = next(one.eps for one in data.schema.features if one.name == "income")
    assert tables.faults(x, found, income) == []
    assert bool(threat.contains(found, x).all())
    assert float((found != x).any(dim=1).double().mean()) > 0.9


def test_rounding_never_leaves_what_features_share():
    data = read()
    assert data.schema is not None
    x, eps = data.source[0], data.schema.eps("L1")
    threat = Threat(norm="L1", eps=eps, bounds=data.bounds)
    far = threat.snap(x + 100, x)
    assert bool((threat.distance(far, x) <= threat.radius).all())


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_a_step_that_uses_up_all_of_eps_is_made(norm):
    data = read(features={**tables.SCHEMA["features"], "smoker": {"kind": "binary"}})
    assert data.schema is not None
    x, eps = data.source[0], data.schema.eps(norm)
    threat = Threat(norm=norm, eps=eps, bounds=data.bounds)
    for at, new in ((2, 1 - x[:, 2]), (7, None)):
        other = x.clone()
        if new is None:
            other[:, [7, 8, 10]] = x[:, [8, 10, 7]]
        else:
            other[:, at] = new
        assert torch.equal(threat.snap(other, x), other)
        assert torch.equal(threat.snap(x + 0.999 * (other - x), x), other)


def test_a_mixture_is_the_nearest_one_and_the_clean_record_is_its_own():
    found = schema()
    x = read().source[0]
    assert torch.equal(records.relaxed(found, x), x)
    mixed = records.relaxed(found, x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0)))
    for at in found.groups:
        assert torch.allclose(mixed[:, at].sum(1), torch.ones(len(x)))
        assert float(mixed[:, at].min()) >= 0


def test_directions_and_fixed_features_are_part_of_the_threat():
    data = read()
    assert data.schema is not None
    x = data.source[0]
    threat = Threat(eps=data.schema.eps(), bounds=data.bounds)
    younger, other = x.clone(), x.clone()
    younger[:, 0] -= 1
    other[:, 11] = 1 - other[:, 11]
    assert not bool(threat.contains(younger, x).any())
    assert not bool(threat.contains(other, x).any())
    assert bool(threat.contains(x, x).all())
