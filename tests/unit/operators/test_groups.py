"""Which columns of a holdout are searched, and what becomes of columns that no group can be made of."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.slices import SliceSpec
from airflow_mlops.exceptions import EvaluationError
from airflow_mlops.operators.groups import slice_groups

ROWS = 1200
COLUMNS: dict[str, list[Any]] = {
    "carrier": ["EV", "AA", None] * 400,
    "flight_id": [f"flight {row}" for row in range(ROWS)],
    "number": list(range(ROWS)),
    "dest": [f"d{row % 1000}" for row in range(ROWS)],
    "distance": [float(row % 50) for row in range(ROWS)],
    "day": [dt.date(2013, 7, 1 + row % 30) for row in range(ROWS)],
    "stops": [["a"]] * ROWS,
    "delay": [row % 7 for row in range(ROWS)],
    "late": [row % 2 for row in range(ROWS)],
}


@pytest.fixture
def holdout(tmp_path: Path) -> list[Path]:
    pq.write_table(pa.table(COLUMNS), tmp_path / "part-0.parquet")
    return [tmp_path / "part-0.parquet"]


def searched(holdout: list[Path], spec: SliceSpec, inputs: frozenset[str] = frozenset()) -> list[str]:
    return [item.column for item in slice_groups(holdout, "late", spec, inputs)[0]]


def test_identifiers_times_lists_and_the_target_are_not_searched(holdout: list[Path]) -> None:
    found, notes = slice_groups(holdout, "late", SliceSpec())
    assert [item.column for item in found] == ["carrier", "distance", "delay"]
    assert [note.split(" is left out")[0] for note in notes] == ["flight_id", "number", "dest"]
    assert found[0].labels == ("AA", "EV", "(missing)")


def test_columns_that_no_model_reads_are_not_searched_and_that_is_said(holdout: list[Path]) -> None:
    found, notes = slice_groups(holdout, "late", SliceSpec(), frozenset({"carrier", "distance"}))
    assert [item.column for item in found] == ["carrier", "distance"]
    assert notes == [
        "Not searched, as no model reads them: flight_id, number, dest, delay. Name those that are of interest."
    ]


def test_named_columns_are_searched_whatever_they_are(holdout: list[Path]) -> None:
    spec = SliceSpec(columns=("day",), intersections=(("dest", "late"),))
    assert searched(holdout, spec, frozenset({"carrier"})) == ["carrier", "dest", "day", "late"]


def test_a_named_column_of_a_thousand_categories_keeps_the_most_frequent(holdout: list[Path]) -> None:
    found, _ = slice_groups(holdout, "late", SliceSpec(search=("dest",)))
    assert len(found[0].labels) == 51
    assert (
        found[0].note == "dest has 1,000 values: the 50 most frequent stand alone, the rest, 1,100 rows, are (other)."
    )


def test_search_may_be_of_some_columns_or_of_none(holdout: list[Path]) -> None:
    assert searched(holdout, SliceSpec(search=("carrier",), columns=("delay",))) == ["carrier", "delay"]
    assert searched(holdout, SliceSpec(search=(), columns=("delay",))) == ["delay"]
    assert searched(holdout, SliceSpec(exclude=("delay",))) == ["carrier", "distance"]


def test_column_that_is_not_there_is_named_with_those_that_are(holdout: list[Path]) -> None:
    with pytest.raises(EvaluationError, match=r"Slices are to be by 'sex', but the holdout has no .* It has carrier, "):
        slice_groups(holdout, "late", SliceSpec(columns=("sex",)))


def test_lists_cannot_be_named(holdout: list[Path]) -> None:
    with pytest.raises(EvaluationError, match="'stops' has values of the type list"):
        slice_groups(holdout, "late", SliceSpec(columns=("stops",)))
