"""Validation of tables and queries where they are: on a real PostgreSQL and a real SQLite."""

import datetime as dt
import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from airflow_mlops.domain.timeliness import Timeliness
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.exceptions import (
    DatabaseUnavailableError,
    DatasetError,
    InvalidInputError,
    SuiteError,
    ValidationFailedError,
)
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.validation import DataValidationOperator

pytest_plugins = ["tests.integration.postgres"]
pytestmark = pytest.mark.integration

POSTGRES = "postgres_tests"
SQLITE = "sqlite_tests"
EXPECTATIONS: list[tuple[str, dict[str, Any], int]] = [
    ("expect_column_values_to_be_between", {"column": "n", "max_value": 95}, 5),
    ("expect_column_values_to_match_regex", {"column": "word", "regex": "^w[0-9]+$"}, 0),
    ("expect_column_values_to_be_in_set", {"column": "word", "value_set": [f"w{i}" for i in range(1, 100)]}, 1),
    ("expect_column_values_to_not_be_null", {"column": 'odd "name'}, 50),
    ("expect_column_values_to_not_be_null", {"column": 'odd "name', "mostly": 0.5}, 50),
    ("expect_column_values_to_be_unique", {"column": "n"}, 0),
    ("expect_compound_columns_to_be_unique", {"column_list": ["n", "word"]}, 0),
    ("expect_column_value_lengths_to_be_between", {"column": "word", "max_value": 3}, 1),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "n", "column_B": 'odd "name'}, 0),
    ("expect_column_values_to_be_between", {"column": "at", "min_value": "2026-01-02"}, 23),
]
FAILS = [True, False, True, True, False, False, False, True, False, True]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hundred rows; times are texts here."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{SQLITE.upper()}", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/d"}))
    rows = [
        (i, f"w{i}", i - 1 if i % 2 else None, f"2026-01-{1 + i // 24:02} {i % 24:02}:00:00") for i in range(1, 101)
    ]
    connection = sqlite3.connect(tmp_path / "d")
    with connection:
        connection.execute('CREATE TABLE t (n INTEGER, word TEXT, "odd ""name" INTEGER, at TEXT)')
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return SQLITE


@pytest.fixture
def filled_postgres(postgres: str) -> str:
    run(
        postgres,
        "CREATE SCHEMA shop",
        """CREATE TABLE shop.t AS SELECT i AS n, 'w' || i AS word, CASE WHEN i % 2 = 1 THEN i - 1 END AS "odd ""name",
            timestamptz '2026-01-01 00:00Z' + i * interval '1 hour' AS at FROM generate_series(1, 100) i""",
    )
    return POSTGRES


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execution_options(no_parameters=True).exec_driver_sql(statement)
    engine.dispose()


def suite(*expectations: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"name": "shop", "expectations": [{"type": name, "kwargs": kwargs} for name, kwargs in expectations]}


def validate(conn_id: str, expectations: dict[str, Any], **kwargs: Any) -> ValidationReport:
    """Return the whole report, as it lies in the artifact store."""
    context: Any = {
        "dag": SimpleNamespace(folder="/nowhere"),
        "ti": SimpleNamespace(
            dag_id="loop", run_id="run", task_id="validate", map_index=-1, xcom_push=lambda **_: None
        ),
    }
    kwargs = {"on_failure": "warn"} | kwargs
    operator = DataValidationOperator(task_id="validate", conn_id=conn_id, suite=expectations, **kwargs)
    operator.execute(context)
    return ValidationReport.from_dict((artifact_store() / "reports/loop/run/validate/validation.json").read_json())


@pytest.mark.parametrize(
    "source", [{"table": "{}t"}, {"query": "SELECT * FROM {}t WHERE word LIKE 'w%' OR word = ':x'; "}]
)
@pytest.mark.parametrize("database", ["filled_postgres", "sqlite"])
def test_every_kind_of_check_runs_in_the_database(database: str, source: Any, request: pytest.FixtureRequest) -> None:
    conn_id: str = request.getfixturevalue(database)
    prefix = "shop." if conn_id == POSTGRES else ""
    source = {key: value.format(prefix) for key, value in source.items()}
    chosen = [item for item in EXPECTATIONS if conn_id == POSTGRES or item[1].get("column") != "at"]
    report = validate(conn_id, suite(*[(name, kwargs) for name, kwargs, _ in chosen]), **source)
    assert [outcome.problem for outcome in report.outcomes if outcome.is_crashed] == []
    assert [outcome.unexpected_count for outcome in report.outcomes] == [count for _, _, count in chosen]
    assert [not outcome.success for outcome in report.outcomes] == FAILS[: len(chosen)]
    assert report.rows == 100
    assert sorted(report.outcomes[0].unexpected_sample) == [96, 97, 98, 99, 100]
    assert report.dataset_name == (f"{prefix}t" if "table" in source else "validate")
    assert report.dataset_uri is not None
    assert report.dataset_uri.startswith(f"sql://{conn_id}/")


def test_a_failed_check_fails_the_task(sqlite: str) -> None:
    bad = suite(("expect_column_max_to_be_between", {"column": "n", "max_value": 1}))
    with pytest.raises(ValidationFailedError, match=r"shop-t.*100 rows"):
        validate(sqlite, bad, table="t", dataset_name="shop-t", on_failure="fail")


def test_a_column_that_the_table_lacks_is_bad_data(filled_postgres: str) -> None:
    report = validate(filled_postgres, suite(("expect_column_max_to_be_between", {"column": "nn"})), table="shop.t")
    assert report.outcomes[0].problem == "The dataset has no column 'nn'. It has: n, word, odd \"name, at."


def test_sql_of_ones_own_is_an_expectation(filled_postgres: str) -> None:
    own = ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE n % 10 = 0"})
    report = validate(filled_postgres, suite(own), query="SELECT n FROM shop.t WHERE word LIKE 'w%' OR word = ':x{1}'")
    assert (report.success, report.outcomes[0].observed) == (False, 10)


def test_no_rows_are_fetched_but_samples(postgres: str) -> None:
    run(postgres, "CREATE TABLE n AS SELECT i AS n, repeat('x', 4000) AS word FROM generate_series(1, 60000) i")
    checks = suite(
        ("expect_column_values_to_not_be_null", {"column": "word"}),
        ("expect_column_value_lengths_to_be_between", {"column": "word", "max_value": 10}),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "SELECT * FROM {batch} WHERE n > 0"}),
    )
    validate(POSTGRES, checks, query="SELECT * FROM n LIMIT 10")  # The library's import is not what is measured.
    before = psutil.Process().memory_info().rss
    report = validate(POSTGRES, checks, query="SELECT * FROM n")
    assert psutil.Process().memory_info().rss - before < 80e6  # of 240 MB of texts
    assert [outcome.unexpected_count for outcome in report.outcomes][:2] == [0, 60_000]
    assert len(report.outcomes[1].unexpected_sample) == 20


def test_a_check_that_does_not_fit_the_column_is_no_verdict(filled_postgres: str) -> None:
    checks = suite(
        ("expect_column_mean_to_be_between", {"column": "word", "min_value": 1}),
        ("expect_column_max_to_be_between", {"column": "n", "max_value": 100}),
    )
    with pytest.raises(SuiteError, match="could not be checked"):
        validate(filled_postgres, checks, table="shop.t")


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({"table": "nowhere"}, DatasetError, "nowhere"),
        ({"query": "SELEC 1"}, DatasetError, "syntax error"),
        ({"query": "INSERT INTO shop.t (n) VALUES (1) RETURNING n"}, DatasetError, "syntax error"),
        ({}, InvalidInputError, "Give either table or query"),
        ({"table": "shop.t", "dataset": {}}, InvalidInputError, "Give either a dataset"),
    ],
)
def test_a_source_that_cannot_be_read_is_an_error(
    arguments: Any, error: type[Exception], reason: str, filled_postgres: str
) -> None:
    with pytest.raises(error, match=reason):
        validate(filled_postgres, suite(("expect_column_to_exist", {"column": "n"})), **arguments)


@pytest.mark.parametrize(
    ("as_of", "failed"),
    [("2026-01-05T05:00", []), ("2026-01-05T06:00", ["freshness"]), ("2026-01-06T05:00", ["freshness", "volume"])],
)
def test_freshness_and_volume_are_asked_of_the_database(as_of: str, failed: list[str], filled_postgres: str) -> None:
    """The newest row is of 2026-01-05, four o'clock."""
    timely = Timeliness(time_column="at", max_age=dt.timedelta(hours=1), min_rows=20)
    exists = suite(("expect_column_to_exist", {"column": "at"}))
    report = validate(filled_postgres, exists, query="SELECT at FROM shop.t", timeliness=timely, as_of=as_of)
    assert [outcome.type for outcome in report.failed] == failed


def test_a_database_that_goes_away_between_two_checks_is_worth_a_retry(filled_postgres: str, postgres: str) -> None:
    """The second column of the query ends the connection that computes it."""
    query = "SELECT n, CASE WHEN n > 50 THEN pg_terminate_backend(pg_backend_pid()) END AS dead FROM shop.t"
    checks = suite(
        ("expect_column_values_to_not_be_null", {"column": "n"}),
        ("expect_column_values_to_not_be_null", {"column": "dead"}),
    )
    with pytest.raises(DatabaseUnavailableError):
        validate(filled_postgres, checks, query=query)
