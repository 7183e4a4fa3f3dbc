"""The same profile, counted by PostgreSQL, by DuckDB and out of Parquet files."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from airflow_mlops.domain.drift import DriftSpec
from airflow_mlops.domain.profile import EXACT_CATEGORIES, Categories, DatasetProfile, Folded, Histogram, Values
from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.engines.numpy.drift import measure
from airflow_mlops.engines.profiles import profile_parquet
from airflow_mlops.engines.profiles.sql import profile_sql
from airflow_mlops.engines.sqlalchemy import open_source
from airflow_mlops.hooks.sql import sql_engine

pytest_plugins = ["tests.integration.postgres"]
pytestmark = pytest.mark.integration

ROWS = 15_000
Profile = Callable[[Any], DatasetProfile]


def make_table(seed: int, rows: int = ROWS) -> pa.Table:
    random = np.random.default_rng(seed)
    odd = random.normal(0, 1, rows)
    odd[:5] = [np.nan, np.inf, -np.inf, 1e140, -1e140]
    return pa.table(
        {
            "normal": random.normal(100, 15, rows),
            "heavy": random.standard_t(1.5, rows),
            "odd": odd,
            "whole": random.integers(0, 300, rows),
            "few": random.choice([0.25, 0.5, 4.0], rows),
            "gaps": pa.array(random.exponential(2, rows), mask=random.random(rows) < 0.2),
            "text": [f'it\'s "{number}"' for number in random.integers(0, 40, rows)],
            "flag": random.random(rows) < 0.3,
            "at": pa.array(random.integers(0, 10**9, rows), pa.timestamp("s")).cast(pa.timestamp("us", "UTC")),
        }
    )


@pytest.fixture
def in_postgres(postgres: str) -> Iterator[Callable[..., DatasetProfile]]:
    """Give what loads a table into PostgreSQL and has it profiled there, over an Airflow connection."""
    engine = sa.create_engine(postgres)
    types = {"double": "float8", "int64": "bigint", "string": "text", "bool": "boolean"}

    def profile(table: pa.Table, grids: Any = None) -> DatasetProfile:
        columns = ", ".join(f'"{field.name}" {types.get(str(field.type), "timestamptz")}' for field in table.schema)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS data; CREATE TABLE data ({columns})")
            raw: Any = connection.connection.cursor()
            with raw.copy("COPY data FROM STDIN") as copy:
                for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                    copy.write_row(row)
        source = SqlSource.of("postgres_tests", query="SELECT * FROM data")
        with sql_engine("postgres_tests") as database, open_source(database, source) as opened:
            return profile_sql(
                lambda query: opened.connection.execution_options(no_parameters=True).exec_driver_sql(query).fetchall(),
                f"({opened.statement})",
                {column.name: column.type for column in opened.columns},
                dialect="postgresql",
                grids=grids,
            )

    yield profile
    engine.dispose()


def in_duckdb(table: pa.Table, grids: Any = None) -> DatasetProfile:
    with duckdb.connect() as connection:
        connection.register("data", table)
        types = {field.name: str(field.type) for field in table.schema}
        return profile_sql(
            lambda query: connection.execute(query).fetchall(), "data", types, dialect="duckdb", grids=grids
        )


def in_parquet(folder: Path, table: pa.Table, grids: Any = None) -> DatasetProfile:
    pq.write_table(table, folder / "data.parquet", row_group_size=7_000)
    return profile_parquet([folder / "data.parquet"], grids=grids)


def assert_alike(one: DatasetProfile, other: DatasetProfile) -> None:
    assert one.rows == other.rows
    for ours in one.columns:
        theirs = other.column(ours.name)
        assert theirs is not None
        assert (ours.kind, ours.nulls, ours.nans, ours.infinities) == (
            theirs.kind, theirs.nulls, theirs.nans, theirs.infinities,
        )  # fmt: skip
        assert type(ours.distribution) is type(theirs.distribution), ours.name
        if isinstance(ours.distribution, Histogram) and isinstance(theirs.distribution, Histogram):
            # A value at an edge may be rounded into the bin beside it.
            moved = np.abs(np.cumsum(ours.distribution.bins()) - np.cumsum(theirs.distribution.bins()))
            assert moved.max() <= 2, ours.name
        elif isinstance(ours.distribution, Values) and isinstance(theirs.distribution, Values):
            assert ours.distribution.items() == theirs.distribution.items()
        else:
            assert ours.distribution == theirs.distribution
        if ours.name != "odd":  # whose squares have few digits left
            assert ours.mean == pytest.approx(theirs.mean)
            assert ours.standard_deviation == pytest.approx(theirs.standard_deviation)
        assert (ours.minimum, ours.maximum) == (theirs.minimum, theirs.maximum)


def test_postgresql_counts_the_profile_that_is_counted_out_of_parquet(
    in_postgres: Callable[..., DatasetProfile], tmp_path: Path
) -> None:
    reference = in_parquet(tmp_path, make_table(1))
    assert_alike(in_postgres(make_table(2), reference.grids), in_parquet(tmp_path, make_table(2), reference.grids))


def test_duckdb_counts_the_profile_that_is_counted_out_of_parquet(tmp_path: Path) -> None:
    reference = in_parquet(tmp_path, make_table(1))
    table = make_table(2).set_column(2, "odd", pa.array(np.r_[np.nan, np.inf, -np.inf, np.zeros(ROWS - 3)]))
    assert_alike(in_duckdb(table, reference.grids), in_parquet(tmp_path, table, reference.grids))


def test_reference_in_the_warehouse_judges_a_window_of_parquet_as_one_of_parquet_does(
    in_postgres: Callable[..., DatasetProfile], tmp_path: Path
) -> None:
    names, window = make_table(1).column_names, make_table(2)
    found = [
        measure(reference, in_parquet(tmp_path, window, reference.grids), DriftSpec(), names)
        for reference in (in_postgres(make_table(1)), in_parquet(tmp_path, make_table(1)))
    ]
    for ours, theirs in zip(*found, strict=True):
        assert (ours.method, ours.drifted, ours.note) == (theirs.method, theirs.drifted, theirs.note)
        if ours.value is not None and ours.column != "odd":
            assert ours.value == pytest.approx(theirs.value, abs=1e-3)


def test_too_many_texts_are_folded_alike(in_postgres: Callable[..., DatasetProfile], tmp_path: Path) -> None:
    table = pa.table({"text": [f"user {number}" for number in range(EXACT_CATEGORIES + 500)]})
    ours, theirs = in_postgres(table), in_parquet(tmp_path, table)
    assert isinstance(ours.columns[0].distribution, Folded)
    assert ours.columns[0].distribution == theirs.columns[0].distribution
    assert in_duckdb(table).columns[0].distribution == theirs.columns[0].distribution


def test_empty_table_has_a_profile_without_values(in_postgres: Callable[..., DatasetProfile]) -> None:
    found = in_postgres(make_table(1).slice(0, 0))
    assert found.rows == 0
    text = found.column("text")
    assert text is not None
    assert text.distribution == Categories(counts={})


def test_enumerations_and_padded_texts_are_counted_as_a_snapshot_holds_them(postgres: str) -> None:
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE data (mood mood, code char(4), key uuid);"
            "INSERT INTO data VALUES ('ok', 'ab', NULL), ('sad', 'ab', NULL), ('ok', NULL, gen_random_uuid())"
        )
        rows = connection.exec_driver_sql("SELECT mood, code, key::text FROM data").fetchall()
    engine.dispose()
    source = SqlSource.of("postgres_tests", table="data")
    with sql_engine("postgres_tests") as database, open_source(database, source) as opened:
        types = {column.name: column.type for column in opened.columns}
        profile = profile_sql(opened.fetch, f"({opened.statement})", types, dialect="postgresql")
    for place, column in enumerate(profile.columns):
        expected = Counter(row[place] for row in rows if row[place] is not None)
        assert isinstance(column.distribution, Categories), column
        assert column.distribution.counts == expected
    assert profile.columns[1].nulls == 1
