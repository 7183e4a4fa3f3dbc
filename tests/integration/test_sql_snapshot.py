"""Snapshots of tables and queries, on a real PostgreSQL and a real SQLite."""

import json
import sqlite3
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.engines.snapshots import read_manifest
from airflow_mlops.engines.sqlalchemy import stream
from airflow_mlops.exceptions import DatabaseUnavailableError, DatasetError, InvalidInputError
from airflow_mlops.hooks.sql import sql_engine
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.sql import SqlSnapshotOperator

pytest_plugins = ["tests.integration.postgres"]
pytestmark = pytest.mark.integration

POSTGRES_CONNECTION = "postgres_tests"
SQLITE_CONNECTION = "sqlite_tests"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "data.db"
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{SQLITE_CONNECTION.upper()}", json.dumps({"conn_type": "sqlite", "host": str(file)})
    )
    return file


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execution_options(no_parameters=True).exec_driver_sql(statement)
    engine.dispose()


def run_sqlite(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def context() -> Any:
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    return {"ti": ti, "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}


def take(conn_id: str, **kwargs: Any) -> tuple[Snapshot, SnapshotManifest]:
    operator = SqlSnapshotOperator(task_id="snapshot", dataset_name="numbers", conn_id=conn_id, **kwargs)
    snapshot = Snapshot.from_dict(operator.execute(context()))
    return snapshot, read_manifest(open_storage(snapshot.uri))


def types_of(manifest: SnapshotManifest) -> dict[str, str]:
    return {column.name: column.type for column in manifest.columns}


def test_postgresql_tells_the_types_also_of_columns_without_a_value(postgres: str) -> None:
    run(
        postgres,
        "CREATE SCHEMA shop",
        """CREATE TABLE shop.orders (
            small smallint, whole integer, big bigint, share real, price double precision, exact numeric(10, 2),
            loose numeric, flag boolean, word varchar(20), at timestamp, seen timestamptz, day date, clock time,
            doc jsonb, token uuid, raw bytea, tags text[]
        )""",
        """INSERT INTO shop.orders VALUES (1, 2, 3, 0.5, 0.25, 12.34, 1.5, true, 'é "x" 🙂', '2026-01-01 10:00',
            '2026-01-01 10:00+02', '2026-01-01', '10:00', '{"b": 1, "a": "x"}', '6f1f4f0e-8c3e-4c43-9a55-0b3f5a1d2c3b',
            '\\x00ff', ARRAY['a', 'b'])""",
        "INSERT INTO shop.orders DEFAULT VALUES",
    )
    _, manifest = take(POSTGRES_CONNECTION, table="shop.orders")
    assert types_of(manifest) == {
        "small": "SMALLINT", "whole": "INTEGER", "big": "BIGINT", "share": "FLOAT", "price": "DOUBLE",
        "exact": "DECIMAL(10,2)", "loose": "DOUBLE", "flag": "BOOLEAN", "word": "VARCHAR", "at": "TIMESTAMP",
        "seen": "TIMESTAMP WITH TIME ZONE", "day": "DATE", "clock": "TIME", "doc": "VARCHAR", "token": "VARCHAR",
        "raw": "BLOB", "tags": "VARCHAR[]",
    }  # fmt: skip
    by_name = {column.name: column for column in manifest.columns}
    assert by_name["seen"].minimum == "2026-01-01 08:00:00+00"
    assert by_name["doc"].minimum == '{"a": "x", "b": 1}'
    assert {column.nulls for column in manifest.columns} == {1}

    run(postgres, "DELETE FROM shop.orders WHERE small = 1")
    _, empty = take(POSTGRES_CONNECTION, table="shop.orders")
    scalars = {name: kind for name, kind in types_of(manifest).items() if name != "tags"}
    assert {name: kind for name, kind in types_of(empty).items() if name != "tags"} == scalars


def test_a_query_has_the_digest_of_the_same_rows_in_a_file(postgres: str, tmp_path: Path) -> None:
    run(
        postgres,
        "CREATE TABLE n AS SELECT i::bigint AS n, 'it''s 100% :x' AS word FROM generate_series(1, 1000) i",
    )
    query = "SELECT word, n FROM n WHERE word LIKE '%:x' AND n <= 500;"
    snapshot, manifest = take(POSTGRES_CONNECTION, query=query)
    rows = "".join(f"{i},it's 100% :x\n" for i in range(500, 0, -1))
    (tmp_path / "n.csv").write_text("n,word\n" + rows)
    files = DatasetSnapshotOperator(task_id="s", dataset_name="numbers", source=str(tmp_path / "n.csv"))
    assert files.execute(context())["digest"] == snapshot.digest
    assert manifest.sources[0].query == query.rstrip(";")
    assert manifest.sources[0].uri.startswith(f"sql://{POSTGRES_CONNECTION}/query-")


def test_the_snapshot_is_one_state_of_the_database_while_others_write(postgres: str) -> None:
    run(postgres, "CREATE TABLE n AS SELECT i AS n FROM generate_series(1, 50000) i")
    source = SqlSource.of(POSTGRES_CONNECTION, table="n")
    with sql_engine(POSTGRES_CONNECTION) as engine, stream(engine, source, batch_rows=1000) as rows:
        first = next(rows.batches)
        run(postgres, "UPDATE n SET n = -n", "INSERT INTO n SELECT -1 FROM generate_series(1, 1000)")
        rest = [row[0] for batch in rows.batches for row in batch]
    assert sorted([row[0] for row in first] + rest) == list(range(1, 50001))


def test_rows_stream_and_memory_stays_bounded(postgres: str) -> None:
    run(postgres, "CREATE TABLE n AS SELECT i AS n, repeat('x', 4000) AS word FROM generate_series(1, 60000) i")
    source = SqlSource.of(POSTGRES_CONNECTION, table="n")
    memory = psutil.Process().memory_info
    with sql_engine(POSTGRES_CONNECTION) as engine, stream(engine, source, batch_rows=1000) as rows:
        next(rows.batches)
        before = memory().rss
        assert sum(len(batch) for batch in rows.batches) == 59_000
        assert memory().rss - before < 80e6  # of 240 MB of texts


def test_the_query_cannot_write(postgres: str, sqlite: Path) -> None:
    run(postgres, "CREATE SEQUENCE s")
    with pytest.raises(DatasetError, match="read-only transaction"):
        take(POSTGRES_CONNECTION, query="SELECT nextval('s')")
    run_sqlite(sqlite, "CREATE TABLE n (n int)")
    with pytest.raises(DatasetError, match="readonly"):
        take(SQLITE_CONNECTION, query="INSERT INTO n VALUES (1) RETURNING n")


def test_sqlite_has_the_types_of_its_values_and_those_that_the_author_gives(sqlite: Path) -> None:
    run_sqlite(sqlite, 'CREATE TABLE "Odd ""name" (n, share, word, at, void)')
    rows: list[Any] = [(i, i, None, f"2026-01-{i:02} 10:00:00", None) for i in range(1, 4)]
    rows += [(4, 0.5, "", "2026-01-04 10:00:00", None)]
    connection = sqlite3.connect(sqlite)
    with connection:
        connection.executemany('INSERT INTO "Odd ""name" VALUES (?, ?, ?, ?, ?)', rows)
    connection.close()
    times: Any = {"column_types": {"at": "TIMESTAMP"}, "time_column": "at", "start": "2026-01-02"}
    snapshot, manifest = take(SQLITE_CONNECTION, table='Odd "name', **times)
    assert snapshot.rows == 3
    assert types_of(manifest) == {
        "n": "BIGINT", "share": "DOUBLE", "word": "VARCHAR", "at": "TIMESTAMP", "void": "VARCHAR"
    }  # fmt: skip


def test_the_batches_of_a_result_may_differ_in_type_like_csv_files(sqlite: Path) -> None:
    """Rows 1 to 10,000 are NULL, then come integers, then numbers, then NULL again: a batch has 10,000 rows."""
    run_sqlite(sqlite, "CREATE TABLE n (n)")
    connection = sqlite3.connect(sqlite)
    values = [None] * 10_000 + [1] * 10_000 + [0.5] * 10_000 + [2] * 10_000 + [None] * 10_000
    with connection:
        connection.executemany("INSERT INTO n VALUES (?)", [(value,) for value in values])
    connection.close()
    snapshot, manifest = take(SQLITE_CONNECTION, table="n")
    assert (snapshot.rows, manifest.columns[0].type, manifest.columns[0].nulls) == (50_000, "DOUBLE", 20_000)
    assert manifest.columns[0].mean == pytest.approx((1 + 0.5 + 2) / 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"table": "nowhere"}, "no such table: nowhere"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "has the column 'a' twice"),
        ({"query": "SELECT 1 AS a WHERE 1 = 2"}, "has no rows"),
        ({"query": "SELEC 1"}, "syntax error"),
        ({"query": "SELECT 1 AS a UNION ALL SELECT 'x'"}, r"'a' .* has values of int, str.*CAST it"),
        ({"query": "SELECT 1 AS a", "column_types": {"b": "DOUBLE"}}, "column_types names 'b'"),
        ({"query": "SELECT 'x' AS a", "column_types": {"a": "DOUBLE"}}, "Could not convert"),
        ({}, "Give either table or query"),
        ({"table": "a", "query": "b"}, "Give either table or query"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_why(arguments: Any, reason: str, sqlite: Path) -> None:
    run_sqlite(sqlite, "CREATE TABLE n (n)")
    with pytest.raises(InvalidInputError, match=reason):
        take(SQLITE_CONNECTION, **arguments)


def test_a_database_that_is_away_is_worth_a_retry_and_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "login": "x", "password": "hunter2", "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_GONE", json.dumps(gone))
    with pytest.raises(DatabaseUnavailableError, match="'gone' does not answer") as error:
        take("gone", table="n")
    assert "hunter2" not in str(error.value)


def test_a_connection_that_ends_while_rows_come_is_worth_a_retry(postgres: str, store: Path) -> None:
    run(postgres, "CREATE TABLE n AS SELECT i AS n, repeat('x', 100) AS word FROM generate_series(1, 200000) i")
    source = SqlSource.of(POSTGRES_CONNECTION, table="n")
    killer = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def read() -> None:
        with sql_engine(POSTGRES_CONNECTION) as engine, stream(engine, source, batch_rows=1000) as rows:
            next(rows.batches)
            run(postgres, killer)
            list(rows.batches)

    with pytest.raises(DatabaseUnavailableError):
        read()


def test_a_connection_that_is_no_database_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", json.dumps({"conn_type": "http", "host": "example.com"}))
    with pytest.raises(InvalidInputError, match="'web' of the type 'http' gives no SQLAlchemy engine"):
        take("web", table="n")
