"""One way of benchmarks/validation.py, in this process: `validation_ways.py WAY FILE`, or `make FILE ROWS`."""
# ruff: noqa: S608 - SQL of constants

import json
import logging
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

CARRIERS = ["AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN"]
ORIGINS = ["EWR", "JFK", "LGA"]
NUMBERS = [f"x{number}" for number in range(15)]
COLUMNS = ["id", "carrier", "origin", "code", "tail", "day", "due", "left_at", "late", "seats", *NUMBERS]
REGEX = r"^[A-Z]{2}\d{1,4}$"
MEMORY, THREADS = "1GB", 2


def make(file: Path, rows: int) -> None:
    import duckdb

    shares = {name: f"hash(range + {number}) / 2.0**64 * 100" for number, name in enumerate(NUMBERS)}
    shares["x7"] = f"CASE WHEN range % 50 = 0 THEN NULL ELSE {shares['x7']} END"
    numbers = ", ".join(f"{share} AS {name}" for name, share in shares.items())
    duckdb.sql(
        f"COPY (SELECT range AS id, {CARRIERS}[1 + (hash(range) % 8)::BIGINT] AS carrier, "
        f"{ORIGINS}[1 + (hash(range + 7) % 3)::BIGINT] AS origin, "
        "CASE WHEN range % 1000 = 999 THEN 'none' ELSE 'AA' || (hash(range) % 9999)::VARCHAR END AS code, "
        "CASE WHEN range % 20 = 0 THEN NULL ELSE 'N' || (hash(range + 3) % 5000)::VARCHAR END AS tail, "
        "DATE '2013-01-01' + (range % 365)::INTEGER AS day, "
        "TIMESTAMP '2013-01-01' + to_minutes((range % 525600)::BIGINT) AS due, "
        "TIMESTAMP '2013-01-01' + to_minutes(range % 525600 + (hash(range) % 90)::BIGINT) AS left_at, "
        f"hash(range) % 5 = 0 AS late, (hash(range) % 300)::INTEGER AS seats, {numbers} "
        f"FROM range({rows})) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 122880)"
    )


def expectations() -> list[dict[str, Any]]:
    def of(kind: str, **kwargs: Any) -> dict[str, Any]:
        return {"type": f"expect_{kind}", "kwargs": kwargs}

    return [
        of("table_row_count_to_be_between", min_value=1000),
        of("table_columns_to_match_ordered_list", column_list=COLUMNS),
        of("column_values_to_not_be_null", column="id"),
        of("column_values_to_not_be_null", column="tail", mostly=0.9),
        of("column_values_to_be_unique", column="id"),
        of("column_values_to_be_between", column="x0", min_value=0, max_value=100),
        of("column_values_to_be_between", column="x1", min_value=0, max_value=99, mostly=0.98),
        of("column_values_to_be_between", column="x2", min_value=0, max_value=50),
        of("column_values_to_be_between", column="seats", min_value=0, max_value=400),
        of("column_values_to_be_in_set", column="carrier", value_set=CARRIERS),
        of("column_values_to_be_in_set", column="origin", value_set=ORIGINS),
        of("column_values_to_match_regex", column="code", regex=REGEX, mostly=0.99),
        of("column_value_lengths_to_be_between", column="code", min_value=3, max_value=8),
        of("column_mean_to_be_between", column="x4", min_value=40, max_value=60),
        of("column_stdev_to_be_between", column="x5", min_value=20, max_value=40),
        of("column_min_to_be_between", column="x6", min_value=0),
        of("column_max_to_be_between", column="seats", max_value=300),
        of("column_unique_value_count_to_be_between", column="carrier", min_value=2, max_value=20),
        of("column_proportion_of_non_null_values_to_be_between", column="x7", min_value=0.9),
        of("column_pair_values_a_to_be_greater_than_b", column_A="left_at", column_B="due", or_equal=True),
    ]


def ours(file: Path) -> dict[str, Any]:
    import duckdb  # noqa: F401
    import great_expectations.expectations.core  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from airflow_mlops.domain.validation import Suite
    from airflow_mlops.engines.duckdb import DuckDbLimits
    from airflow_mlops.engines.great_expectations import run_suite

    start = time.perf_counter()
    suite = Suite.from_document({"expectations": expectations()}, "suite")
    outcomes = run_suite(suite, [file], DuckDbLimits(memory=MEMORY, threads=THREADS))
    return {"start": start, "checks": len(outcomes), "failed": sum(not item.success for item in outcomes)}


def duckdb_sql(file: Path) -> dict[str, Any]:
    import duckdb

    start = time.perf_counter()
    connection = duckdb.connect(config={"memory_limit": MEMORY, "threads": THREADS})
    columns = [row[0] for row in connection.execute(f"DESCRIBE FROM '{file}'").fetchall()]
    carriers, origins = (", ".join(f"'{name}'" for name in names) for names in (CARRIERS, ORIGINS))
    found = connection.execute(f"""
        SELECT count(*) >= 1000,
            count(*) FILTER (id IS NULL) = 0,
            count(*) FILTER (tail IS NULL) <= 0.1 * count(*),
            count(DISTINCT id) = count(id),
            count(*) FILTER (x0 < 0 OR x0 > 100) = 0,
            count(*) FILTER (x1 < 0 OR x1 > 99) <= 0.02 * count(x1),
            count(*) FILTER (x2 < 0 OR x2 > 50) = 0,
            count(*) FILTER (seats < 0 OR seats > 400) = 0,
            count(*) FILTER (carrier NOT IN ({carriers})) = 0,
            count(*) FILTER (origin NOT IN ({origins})) = 0,
            count(*) FILTER (NOT regexp_matches(code, '{REGEX}')) <= 0.01 * count(code),
            count(*) FILTER (length(code) NOT BETWEEN 3 AND 8) = 0,
            avg(x4) BETWEEN 40 AND 60,
            stddev_samp(x5) BETWEEN 20 AND 40,
            min(x6) >= 0,
            max(seats) <= 300,
            count(DISTINCT carrier) BETWEEN 2 AND 20,
            count(x7) / count(*) >= 0.9,
            count(*) FILTER (NOT coalesce(left_at >= due, false)) = 0
        FROM '{file}'""").fetchall()[0]
    passed = [columns == COLUMNS, *found]
    return {"start": start, "checks": len(passed), "failed": passed.count(False)}


def gx_pandas(file: Path) -> dict[str, Any]:
    import great_expectations as gx
    import great_expectations.expectations.core
    import pandas as pd

    start = time.perf_counter()
    context = gx.get_context(mode="ephemeral")
    frame = pd.read_parquet(file)
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("flights")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    return {"start": start, **gx_validated(batch, context)}


def gx_sqlalchemy(file: Path) -> dict[str, Any]:
    import duckdb
    import great_expectations as gx
    import great_expectations.expectations.core
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine

    dialect = type("DuckDb", (str,), {"value": "duckdb"})("duckdb")
    engine._PERSISTED_CONNECTION_DIALECTS += (dialect,)  # noqa: SLF001 - else it closes connections before it fetches
    start = time.perf_counter()
    database = file.with_suffix(".duckdb")
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"CREATE OR REPLACE VIEW flights AS FROM '{file}'")
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_sql("duckdb", connection_string=f"duckdb:///{database}", create_temp_table=False)
    batch = source.add_table_asset("flights", table_name="flights").add_batch_definition_whole_table("all").get_batch()
    return {"start": start, **gx_validated(batch, context)}


def gx_validated(batch: Any, context: Any) -> dict[str, Any]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = gx.ExpectationSuite(name="flights", expectations=expectations())
    result = batch.validate(suite, result_format={"result_format": "SUMMARY"})
    broken = [
        item
        for item in result.results
        if any(
            info.get("raised_exception")
            for info in [item.exception_info, *item.exception_info.values()]
            if isinstance(info, dict)
        )
    ]
    failed = [item for item in result.results if not item.success]
    return {"checks": len(result.results) - len(broken), "failed": len(failed) - len(broken)}


def pandera(file: Path) -> dict[str, Any]:
    import pandera.polars as pa
    import polars as pl

    start = time.perf_counter()
    check = pa.Check
    schema = pa.DataFrameSchema(
        {
            "id": pa.Column(int, nullable=False, unique=True),
            "x0": pa.Column(float, check.in_range(0, 100)),
            "x1": pa.Column(float, check.in_range(0, 100)),
            "x2": pa.Column(float, check.in_range(0, 50)),
            "seats": pa.Column(pl.Int32, check.in_range(0, 300)),
            "carrier": pa.Column(str, check.isin(CARRIERS)),
            "origin": pa.Column(str, check.isin(ORIGINS)),
            "code": pa.Column(str, [check.str_matches(REGEX), check.str_length(3, 8)]),
            "x6": pa.Column(float, check.ge(0)),
        }
    )
    frame = pl.read_parquet(file, columns=list(schema.columns))
    try:
        schema.validate(frame, lazy=True)
        failed = 0
    except pa.errors.SchemaErrors as error:
        failed = len(error.schema_errors)
    return {"start": start, "checks": 11, "failed": failed}


def pointblank(file: Path) -> dict[str, Any]:
    import pointblank as pb
    import polars as pl

    start = time.perf_counter()
    found = (
        pb.Validate(data=pl.scan_parquet(file).collect())
        .col_vals_not_null(columns="id")
        .col_vals_not_null(columns="tail")
        .rows_distinct(columns_subset=["id"])
        .col_vals_between(columns="x0", left=0, right=100)
        .col_vals_between(columns="x1", left=0, right=99)
        .col_vals_between(columns="x2", left=0, right=50)
        .col_vals_between(columns="seats", left=0, right=400)
        .col_vals_in_set(columns="carrier", set=CARRIERS)
        .col_vals_in_set(columns="origin", set=ORIGINS)
        .col_vals_regex(columns="code", pattern=REGEX)
        .col_vals_ge(columns="left_at", value=pb.col("due"))
        .interrogate(collect_extracts=False)
    )
    passed = found.all_passed() if not (steps := found.validation_info) else [step.all_passed for step in steps]
    checks = passed if isinstance(passed, list) else [passed]
    return {"start": start, "checks": len(checks), "failed": checks.count(False)}


def small(file: Path) -> dict[str, Any]:
    """Tell what the operator's own work takes: the whole task, less the imports and running the suite."""
    import os
    import tempfile
    from types import SimpleNamespace

    root = tempfile.mkdtemp()
    os.environ |= {"AIRFLOW_HOME": root, "AIRFLOW__MLOPS__ARTIFACTS_ROOT": f"{root}/store"}
    import duckdb  # noqa: F401
    import great_expectations.expectations.core
    import pyarrow.parquet  # noqa: F401

    from airflow_mlops.engines import great_expectations
    from airflow_mlops.operators.dataset import DatasetSnapshotOperator
    from airflow_mlops.operators.validation import DataValidationOperator

    logging.disable(logging.CRITICAL)
    context: Any = {
        "dag": SimpleNamespace(folder=root),
        "ti": SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, xcom_push=lambda **_: None
        ),
        "outlet_events": {},
    }
    snapshot = DatasetSnapshotOperator(task_id="snapshot", dataset_name="flights", source=str(file))
    context["outlet_events"][snapshot.asset] = SimpleNamespace(extra=None)
    dataset = snapshot.execute(context)
    run, spent = great_expectations.run_suite, []

    def timed(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        outcomes = run(*args, **kwargs)
        spent.append(time.perf_counter() - begin)
        return outcomes

    great_expectations.run_suite = timed
    start = time.perf_counter()
    operator = DataValidationOperator(
        task_id="validate", dataset=dataset, suite={"expectations": expectations()}, on_failure="warn"
    )
    report = operator.execute(context)
    overhead = time.perf_counter() - start - sum(spent)
    counts = {"checks": report["expectation_count"], "failed": report["failure_count"]}
    return {"start": start, **counts, "overhead_seconds": overhead}


def main() -> None:
    way, file = sys.argv[1], Path(sys.argv[2])
    if way == "make":
        make(file, int(sys.argv[3]))
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    begin = time.perf_counter()
    found = globals()[way](file)
    end = time.perf_counter()
    start = found.pop("start")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": end - start, "import_seconds": start - begin, "peak_mb": peak, **found}))


if __name__ == "__main__":
    main()
