from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_mlops.domain.dataset import (
    CsvDialect,
    SourceFormat,
    TimeWindow,
    check_dataset_name,
    is_hidden,
    snapshot_path,
    source_format,
)
from airflow_mlops.exceptions import DatasetError


@pytest.mark.parametrize("name", ["flights", "Flights_2013.v1", "a-b", "_x"])
def test_plain_names_are_dataset_names(name: str) -> None:
    assert snapshot_path(check_dataset_name(name), "abc") == f"datasets/{name}/abc"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "é", "a\n", "{{ name }}"])
def test_names_that_are_no_folder_everywhere_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="dataset name"):
        check_dataset_name(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", SourceFormat.CSV),
        ("a.CSV.GZ", SourceFormat.CSV),
        ("a.parquet", SourceFormat.PARQUET),
        ("a.csv.zip", None),
        ("parquet", None),
    ],
)
def test_the_end_of_the_name_tells_the_format(name: str, expected: SourceFormat | None) -> None:
    assert source_format(name) is expected


@pytest.mark.parametrize("path", ["_SUCCESS", ".part-0.crc", "a/_temporary/part.parquet", ".git/a.csv"])
def test_markers_are_hidden(path: str) -> None:
    assert is_hidden(path)


def test_data_is_not_hidden() -> None:
    assert not is_hidden("a_b/part-0.parquet")


@pytest.mark.parametrize("bound", [None, "", "None"])
def test_what_a_template_makes_of_nothing_is_no_bound(bound: str | None) -> None:
    assert TimeWindow.parse("t", bound, bound) == TimeWindow(column="t")


def test_bounds_are_in_utc_whatever_zone_they_are_written_in() -> None:
    window = TimeWindow.parse(
        "t", "2013-01-01T01:00:00+01:00", datetime(2013, 2, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    )
    assert window == TimeWindow(
        column="t", start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2013, 2, 1, tzinfo=UTC)
    )


def test_a_time_without_zone_is_utc() -> None:
    window = TimeWindow.parse("t", "2013-01-01", None)
    assert window is not None
    assert window.start == datetime(2013, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "start", "end", "reason"),
    [
        (None, "2013-01-01", None, "needs the time_column"),
        ("t", "yesterday", None, "start is 'yesterday', but must be an ISO 8601 time"),
        ("t", "2013-02-01", "2013-01-01", "start must be before end"),
        ("t", "2013-01-01", "2013-01-01", "start must be before end"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    column: str | None, start: str | None, end: str | None, reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason):
        TimeWindow.parse(column, start, end)


def test_no_column_and_no_bounds_is_no_window() -> None:
    assert TimeWindow.parse(None, None, None) is None


@pytest.mark.parametrize("delimiter", ["", ";;"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(DatasetError, match="must be one character"):
        CsvDialect(delimiter=delimiter)
