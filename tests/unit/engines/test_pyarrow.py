"""Columns and groups out of Parquet files."""

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.dataset import ColumnKind
from airflow_mlops.engines.pyarrow import column_kinds, read_column, read_groups, read_numbers, read_sample
from airflow_mlops.exceptions import EvaluationError, TooManyGroupsError


def write(folder: Path, *parts: list[Any]) -> list[Path]:
    """Write one column ``c`` into a Parquet file for each part."""
    files = []
    for number, values in enumerate(parts):
        file = folder / f"part-{number}.parquet"
        pq.write_table(pa.table({"c": pa.array(values)}), file, row_group_size=2)
        files.append(file)
    return files


@pytest.mark.parametrize(
    ("parts", "labels", "codes"),
    [
        ([["b", "a", None], ["a", "c"]], ("a", "b", "c", "(missing)"), [1, 0, 3, 0, 2]),
        ([[10, 9, None, 10]], ("9", "10", "(missing)"), [1, 0, 2, 1]),
        ([[1.5, float("nan"), None]], ("1.5", "(missing)"), [0, 1, 1]),
        ([[True, False, True]], ("false", "true"), [1, 0, 1]),
        ([[dt.date(2013, 7, 2), dt.date(2013, 7, 1)]], ("2013-07-01", "2013-07-02"), [1, 0]),
        ([[None, None]], ("(missing)",), [0, 0]),
    ],
)
def test_a_missing_value_is_a_group_of_its_own(
    tmp_path: Path, parts: list[list[Any]], labels: tuple[str, ...], codes: list[int]
) -> None:
    found, named = read_groups(write(tmp_path, *parts), "c")
    assert (named, found.tolist()) == (labels, codes)
    assert found.dtype == np.int32


def test_a_file_that_is_stored_as_a_dictionary_has_the_same_groups(tmp_path: Path) -> None:
    file = tmp_path / "d.parquet"
    pq.write_table(pa.table({"c": pa.array(["x", None, "w"]).dictionary_encode()}), file)
    codes, labels = read_groups([file], "c")
    assert (codes.tolist(), labels) == ([1, 2, 0], ("w", "x", "(missing)"))


def test_no_rows_are_no_groups(tmp_path: Path) -> None:
    file = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"c": pa.array([], type=pa.string())}), file)
    codes, labels = read_groups([file], "c")
    assert (codes.size, labels) == (0, ())


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"part-0.parquet has no column 'sex' to group by; it has c\."):
        read_groups(write(tmp_path, ["a"]), "sex")


def test_lists_cannot_be_grouped(tmp_path: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"The column 'c' has values of the type list<.*>, which cannot be grouped"
    ):
        read_groups(write(tmp_path, [[1], [2]]), "c")


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(EvaluationError, match=r"x.parquet cannot be read as Parquet with a column 'c'"):
        read_groups([tmp_path / "x.parquet"], "c")


def test_reading_groups_ends_where_there_are_too_many(tmp_path: Path) -> None:
    files = write(tmp_path, ["a", "b", None])
    with pytest.raises(TooManyGroupsError, match=r"'c' has more than 2 different values"):
        read_groups(files, "c", at_most=2)
    assert read_groups(files, "c", at_most=3)[1] == ("a", "b", "(missing)")


@pytest.mark.parametrize(
    "values",
    [[1, None, 3], [1.0, float("nan"), 3.0], [decimal.Decimal("1.0"), None, decimal.Decimal("3.0")]],
)
def test_a_missing_number_is_nan(tmp_path: Path, values: list[Any]) -> None:
    np.testing.assert_array_equal(read_numbers(write(tmp_path, values, values), "c"), [1.0, np.nan, 3.0] * 2)


def test_texts_are_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"'c' has values of the type string, which are no numbers"):
        read_numbers(write(tmp_path, ["a"]), "c")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1], ColumnKind.NUMBER),
        ([1.5], ColumnKind.NUMBER),
        ([decimal.Decimal("1.5")], ColumnKind.NUMBER),
        (["a"], ColumnKind.VALUE),
        ([True], ColumnKind.VALUE),
        ([dt.date(2013, 7, 2)], ColumnKind.TIME),
        ([dt.timedelta(minutes=1)], ColumnKind.TIME),
        ([[1]], ColumnKind.NESTED),
    ],
)
def test_columns_have_a_kind(tmp_path: Path, values: list[Any], kind: ColumnKind) -> None:
    assert column_kinds(write(tmp_path, values)[0]) == {"c": kind}


def test_sample_is_of_all_files_without_replacement_and_the_same_every_time(tmp_path: Path) -> None:
    files = write(tmp_path, list(range(50)), list(range(50, 101)))
    sample = read_sample(files, ["c"], 20, "seed")["c"]
    assert len(set(sample)) == 20
    assert min(map(float, sample)) < 50 <= max(map(float, sample))  # type: ignore[arg-type] # all are numbers
    assert sample == read_sample(files, ["c"], 20, "seed")["c"]
    assert sample != read_sample(files, ["c"], 20, "another seed")["c"]


def test_sample_of_more_rows_than_there_are_is_all_of_them_in_order(tmp_path: Path) -> None:
    assert read_sample(write(tmp_path, [3, None], [1]), ["c"], 10, "seed") == {"c": [3.0, None, 1.0]}


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        ([True, None], ["true", None]),
        (["a", None], ["a", None]),
        ([1.5, float("nan")], [1.5, None]),
        ([decimal.Decimal("1.5"), None], [1.5, None]),
    ],
)
def test_sample_holds_plain_values(tmp_path: Path, values: list[Any], plain: list[Any]) -> None:
    assert read_sample(write(tmp_path, values), ["c"], 10, "seed") == {"c": plain}


def test_texts_are_read_whatever_their_encoding_and_share_one_object_a_label(tmp_path: Path) -> None:
    plain = pa.table({"carrier": ["UA", "AA", "UA"]})
    encoded = pa.table({"carrier": pa.array(["B6", "UA"]).dictionary_encode()})
    for name, table in {"a.parquet": plain, "b.parquet": encoded}.items():
        pq.write_table(table, tmp_path / name)
    first = read_column([tmp_path / "a.parquet"], "carrier", "the holdout")
    assert first.tolist() == ["UA", "AA", "UA"]
    assert first[0] is first[2]
    assert read_column([tmp_path / "b.parquet"], "carrier", "the holdout").tolist() == ["B6", "UA"]


def test_missing_values_are_refused_with_whose_they_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"late": [1, None, 0]}), tmp_path / "a.parquet")
    with pytest.raises(EvaluationError, match=r"'late' of the holdout has 1 missing values of 3"):
        read_column([tmp_path / "a.parquet"], "late", "the holdout")


def test_column_that_is_not_there_is_refused_with_the_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"late": [1]}), tmp_path / "a.parquet")
    with pytest.raises(EvaluationError, match=r"a\.parquet of the holdout .* 'gone'"):
        read_column([tmp_path / "a.parquet"], "gone", "the holdout")
