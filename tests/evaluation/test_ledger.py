"""One row per sample: every summary of the columns against rows written by hand, and the table as CSV and back."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.base.errors import ConfigurationError
from robustkit.evaluation.ledger import Ledger

NAME = st.text("=+-@\t\r\n'\",;\0a0", max_size=5)

# One row per way a sample can fare: label, clean prediction, and predictions and stored predictions of two attacks.
FATES = {
    "wrong from the start": (0, 1, (-1, -1), (-1, -1)),
    "wrong, though an attack's point is right": (0, 1, (0, 0), (0, 0)),
    "robust": (1, 1, (1, 1), (1, 1)),
    "broken by the first, then spared": (1, 1, (2, -1), (2, -1)),
    "broken by the second": (2, 2, (2, 0), (2, 0)),
    "broken by both": (0, 0, (1, 2), (1, 2)),
    "broken, but right after rounding": (0, 0, (1, 0), (0, 0)),
    "robust, but wrong after rounding": (0, 0, (0, 0), (0, 1)),
    "not attacked yet": (2, 2, (-1, -1), (-1, -1)),
    "robust so far": (2, 2, (2, -1), (2, -1)),
}


@pytest.fixture
def ledger() -> Ledger:
    table = Ledger(["a", "b"])
    label, clean, found, stored = zip(*FATES.values(), strict=True)
    where = table.extend(len(FATES))
    table.write(where, id=np.arange(len(FATES)), label=label, clean_prediction=clean)
    for place, attack in enumerate(table.attacks):
        table.write(
            where,
            f"{attack}/",
            prediction=[pair[place] for pair in found],
            stored_prediction=[pair[place] for pair in stored],
        )
    return table


def which(hits) -> set[str]:
    return {fate for fate, hit in zip(FATES, hits, strict=True) if hit}


WRONG = {"wrong from the start", "wrong, though an attack's point is right"}


def test_right_are_those_whose_clean_prediction_is_the_label(ledger):
    assert which(ledger.right) == set(FATES) - WRONG


def test_right_under_an_attack_are_those_it_was_given_and_left_right(ledger):
    assert which(ledger.right_under("a")) == {
        "robust",
        "broken by the second",
        "robust, but wrong after rounding",
        "robust so far",
    }
    assert which(ledger.right_under("b")) == {
        "robust",
        "broken, but right after rounding",
        "robust, but wrong after rounding",
    }


def test_broken_under_an_attack_are_those_it_was_given_right_and_made_wrong(ledger):
    assert which(ledger.broken_under("a")) == {
        "broken by the first, then spared",
        "broken by both",
        "broken, but right after rounding",
    }
    assert which(ledger.broken_under("b")) == {"broken by the second", "broken by both"}


def test_robust_are_those_right_under_every_attack(ledger):
    assert which(ledger.robust) == {"robust", "robust, but wrong after rounding"}
    assert (ledger.robust == (ledger.right_under("a") & ledger.right_under("b"))).all()


def test_unbroken_are_those_no_attack_has_broken_so_far(ledger):
    assert which(ledger.unbroken) == {
        "robust",
        "robust, but wrong after rounding",
        "not attacked yet",
        "robust so far",
    }


def test_robust_stored_rests_on_the_predictions_after_rounding_alone(ledger):
    assert which(ledger.robust_stored) == {
        "robust",
        "broken, but right after rounding",
        "not attacked yet",
        "robust so far",
    }
    ledger.write(slice(None), "a/", prediction=0)
    ledger.write(slice(None), "b/", prediction=1)
    assert "robust" in which(ledger.robust_stored)


def test_without_attacks_right_is_robust():
    table = Ledger([])
    table.write(table.extend(2), label=[0, 1], clean_prediction=[0, 0])
    for hits in (table.robust, table.robust_stored, table.unbroken):
        assert hits.tolist() == [True, False]


def test_new_rows_are_blank_and_old_ones_stay():
    table = Ledger(["a"])
    assert table.extend(2) == slice(0, 2)
    table.write(slice(0, 2), id=[7, 8], clean_confidence=[0.25, 0.5])
    for number in range(5):
        assert table.extend(3) == slice(2 + 3 * number, 5 + 3 * number)
    assert len(table) == 17
    assert table["id"].tolist() == [7, 8, *[-1] * 15]
    assert table["clean_confidence"][:2].tolist() == [0.25, 0.5]
    assert np.isnan(table["clean_confidence"][2:]).all()
    assert (table["a/prediction"] == -1).all()
    assert np.isnan(table["a/margin"]).all()
    assert {len(table[column]) for column in table.columns} == {17}


def test_names_are_added_in_the_order_of_the_rows():
    table = Ledger([])
    assert table.names is None
    table.extend(2, ["x", "y"])
    table.extend(1, ["z"])
    assert table.names == ["x", "y", "z"]


def test_cells_are_set_by_slice_or_by_row_numbers():
    table = Ledger(["a"])
    table.extend(4)
    table.write(np.array([2, 0]), "a/", steps=[5, 6])
    table.write(slice(1, 2), "a/", steps=9)
    assert table["a/steps"].tolist() == [6, 9, 5, -1]


def test_a_column_that_does_not_exist_is_an_error():
    with pytest.raises(KeyError):
        Ledger(["a"])["b/prediction"]


def test_the_hash_of_ids_forgets_their_order_and_nothing_else():
    tables = []
    for ids in ([3, 1, 2], [1, 2, 3], [1, 2, 4]):
        table = Ledger([])
        table.write(table.extend(3), id=ids)
        tables.append(table.ids_sha256)
    assert tables[0] == tables[1] == hashlib.sha256(np.array([1, 2, 3], np.int64).tobytes()).hexdigest()
    assert tables[2] != tables[0]


def test_joined_tables_have_the_rows_of_all_in_the_order_asked_for():
    one, other = Ledger(["a"]), Ledger(["a"])
    one.write(one.extend(2, ["first", "second"]), id=[5, 6], label=[0, 1])
    other.write(other.extend(1), id=[4], label=[2])
    whole = Ledger.joined([one, other], np.array([2, 0, 1]))
    assert whole.attacks == ("a",)
    assert whole["id"].tolist() == [4, 5, 6]
    assert whole["label"].tolist() == [2, 0, 1]
    assert whole.names == ["4", "first", "second"]
    assert len(whole) == 3
    whole.extend(1)
    assert whole["id"].tolist() == [4, 5, 6, -1]
    assert Ledger.joined([other, other], np.array([0, 1])).names is None


def test_a_copy_of_the_columns_does_not_change_the_table(ledger):
    columns = ledger.to_dict()
    assert set(columns) == set(ledger.columns)
    columns["label"][:] = 9
    assert (ledger["label"] < 9).all()


class TestCsv:
    def test_cells_are_written_as_they_are_and_unknown_ones_left_empty(self):
        table = Ledger(["a"])
        table.write(table.extend(2), id=[5, -1], label=-1, clean_prediction=0, clean_confidence=[0.1 + 0.2, np.nan])
        table.write(slice(0, 1), "a/", prediction=3, margin=-np.inf, distance=0.0)
        assert table.to_csv() == (
            "id,label,clean_prediction,clean_confidence,clean_nll,clean_brier,worst_attack,worst_prediction,"
            "worst_confidence,worst_nll,worst_brier,a/prediction,a/confidence,a/margin,a/distance,a/steps,a/queries,"
            "a/stored_prediction\n"
            "5,-1,0,0.30000000000000004,,,,-1,,,,3,,-inf,0.0,,,\n"
            "-1,-1,0,,,,,-1,,,,,,,,,,\n"
        )

    @pytest.mark.parametrize("names", [None, ["a", 'b,"\n', ""], ["=SUM(A1)", "'=x", "-5"]])
    def test_reading_back_gives_the_same_to_the_last_bit(self, names):
        ledger = Ledger(["pgd/margin", "foolbox:X(a=1,b=2)"])
        where = ledger.extend(3, names)
        ledger.write(
            where, id=[5, 2**62, 0], label=[1, 0, 2], clean_prediction=[1, 1, 2], clean_nll=[0.1 + 0.2, 0, 5e-324]
        )
        ledger.write(where, "pgd/margin/", prediction=[1, -1, 0], margin=[-1e-300, np.nan, 3.5])
        back = Ledger.from_csv(ledger.to_csv())
        assert (back.attacks, back.names, back.columns) == (ledger.attacks, ledger.names, ledger.columns)
        for column in ledger.columns:
            np.testing.assert_array_equal(back[column], ledger[column])
        assert back.to_csv() == ledger.to_csv()

    @given(st.lists(NAME, min_size=1, max_size=4))
    def test_any_name_comes_back_and_none_begins_a_formula(self, names):
        ledger = Ledger(["=a", "b"])
        ledger.write(ledger.extend(len(names), names), id=np.arange(len(names)), clean_nll=-0.5)
        text = ledger.to_csv()
        back = Ledger.from_csv(text)
        assert back.names == names
        assert back.attacks == ledger.attacks
        assert back.to_csv() == text
        assert ",-0.5," in text
        assert not text.replace('\n"', "\n").partition("\n")[2].startswith(("=", "+", "-", "@", "\t", "\r"))

    def test_a_ledger_survives_its_csv(self):
        ledger = Ledger(["pgd", "fgsm(eps=8/255)"])
        where = ledger.extend(3, ["a,b", 'c"d', "e\nf"])
        ledger.write(where, id=[1, 2, 2**62], label=0, clean_prediction=0, clean_confidence=0.1)
        ledger.write(slice(0, 1), "fgsm(eps=8/255)/", prediction=3, margin=0.1 + 0.2)
        again = Ledger.from_csv(ledger.to_csv())
        assert again.to_csv() == ledger.to_csv()
        assert again.names == ledger.names
        assert again.attacks == ledger.attacks
        assert len(Ledger.from_csv(Ledger(["pgd"]).to_csv())) == 0

    @pytest.mark.parametrize("text", ["", "id,label\n1,2\n", Ledger(["pgd"]).to_csv() + "1,2\n"])
    def test_what_is_no_ledger_is_refused(self, text):
        with pytest.raises(ConfigurationError, match="ledger: expected the columns of a ledger"):
            Ledger.from_csv(text)

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: "",
            lambda text: text.replace("label", "labels", 1),
            lambda text: text.replace("\n1,", "\none,", 1),
            lambda text: text + "7\n",
            lambda text: text + '"',
            lambda text: text.replace("\n1,", f"\n{2**70},", 1),
        ],
    )
    def test_what_is_no_ledger_is_refused_by_name(self, ledger, change):
        text = ledger.to_csv()
        assert change(text) != text
        with pytest.raises(ConfigurationError, match=r"^mine\.csv: expected"):
            Ledger.from_csv(change(text), "mine.csv")


def test_as_a_frame_what_is_unknown_is_not_available(ledger):
    pandas = pytest.importorskip("pandas")
    ledger.names = [*FATES]
    frame = ledger.to_frame()
    assert frame["name"].tolist() == [*FATES]
    assert frame["a/prediction"].isna().tolist() == (ledger["a/prediction"] == -1).tolist()
    assert frame["worst_attack"].isna().all()
    assert frame["label"].tolist() == ledger["label"].tolist()
    assert isinstance(frame, pandas.DataFrame)
