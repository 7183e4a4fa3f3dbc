"""The demo's data: real rows, from the wheel to twelve Parquet files."""

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from demo.flights import main, write_months


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_months(tmp_path_factory.mktemp("months"))


@pytest.fixture
def database(months: list[Path]) -> Iterator[duckdb.DuckDBPyConnection]:

    with duckdb.connect() as connection:
        connection.read_parquet([str(path) for path in months]).create_view("flights")
        yield connection


def ask(database: duckdb.DuckDBPyConnection, question: str) -> object:
    row = database.execute(f"select {question} from flights").fetchone()  # noqa: S608 - the tests ask their own questions.
    assert row is not None
    return row if len(row) > 1 else row[0]


def test_twelve_files_are_named_by_month(months: list[Path]) -> None:
    assert [path.name for path in months] == [f"flights-2013-{month:02d}.parquet" for month in range(1, 13)]


def test_every_flight_that_arrived_is_there_once(database: duckdb.DuckDBPyConnection) -> None:
    assert ask(database, "count(*), count(distinct flight_id), count(arrival_delay)") == (327_346,) * 3


def test_weather_comes_from_the_origin_in_the_hour_of_departure(database: duckdb.DuckDBPyConnection) -> None:
    # The first row of the raw weather of JFK at 5 o'clock on New Year's Day, and the first flight of that hour.
    assert database.execute(
        "select temp, humid, wind_dir, wind_gust from flights where flight_id = '2013-01-01-AA-1141-JFK'"
    ).fetchone() == (39.02, 61.63, 260.0, None)


def test_weather_that_no_station_reported_stays_null(database: duckdb.DuckDBPyConnection) -> None:
    assert ask(database, "round(avg((temp is null)::int), 3), round(avg((wind_gust is null)::int), 2)") == (0.005, 0.76)


def test_flight_is_late_after_fifteen_minutes(database: duckdb.DuckDBPyConnection) -> None:
    assert ask(database, "max(arrival_delay) filter (late = 0), min(arrival_delay) filter (late = 1)") == (15.0, 16.0)


def test_weekday_begins_with_monday(database: duckdb.DuckDBPyConnection) -> None:
    assert ask(database, "any_value(weekday) filter (scheduled_departure::date = '2013-01-01')") == 2


def test_rows_are_in_the_order_of_departure(months: list[Path]) -> None:

    with duckdb.connect() as connection:
        ids = connection.execute("select flight_id from read_parquet(?)", [str(months[2])]).fetchall()
        ordered = connection.execute(
            "select flight_id from read_parquet(?) order by scheduled_departure, flight_id", [str(months[2])]
        ).fetchall()
    assert ids == ordered


def test_complete_month_is_kept_and_missing_month_is_written_the_same(months: list[Path]) -> None:
    kept, lost = months[0], months[1]
    content, long_ago = lost.read_bytes(), 1_000_000_000
    os.utime(kept, (long_ago, long_ago))
    lost.unlink()

    main([str(kept.parent)])

    assert kept.stat().st_mtime == long_ago
    assert lost.read_bytes() == content
    assert not list(kept.parent.glob(".*"))
