"""What DuckDB measures where pandas is no reference: LIKE, SQL of one's own, spilling; and the rows that fail."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.validation import Expectation, Suite
from airflow_mlops.engines.duckdb import DuckDbLimits, row_conditions, separate_rows, validation
from airflow_mlops.engines.duckdb.validation import open_table
from airflow_mlops.engines.duckdb.validation_predicates import failing_predicate
from airflow_mlops.engines.great_expectations import run_suite
from airflow_mlops.engines.great_expectations.library import RowFigures, build_all, judge_figures, judge_rows, quietly

TEXTS = ["JFK", "jfk", "J_K", "100%", None, ""]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"s": TEXTS, "n": [1, 2, 2, 3, None, 5]}), tmp_path / "part.parquet")
    return tmp_path / "part.parquet"


@pytest.mark.parametrize(
    ("kind", "arguments", "failing"),
    [
        ("match_like_pattern", {"like_pattern": "J_K"}, ["jfk", "100%", ""]),
        ("match_like_pattern", {"like_pattern": "J!_K", "escape": "!"}, ["JFK", "jfk", "100%", ""]),
        ("match_like_pattern", {"like_pattern": "%!%", "escape": "!"}, ["JFK", "jfk", "J_K", ""]),
        ("not_match_like_pattern", {"like_pattern": "J%"}, ["JFK", "J_K"]),
        ("match_like_pattern_list", {"like_pattern_list": ["J%", "%K"], "match_on": "any"}, ["jfk", "100%", ""]),
        (
            "match_like_pattern_list",
            {"like_pattern_list": ["J%", "%F%"], "match_on": "all"},
            ["jfk", "J_K", "100%", ""],
        ),
        ("not_match_like_pattern_list", {"like_pattern_list": ["J%", "1%"]}, ["JFK", "J_K", "100%"]),
    ],
)
def test_like_patterns_are_those_of_sql(kind: str, arguments: dict[str, Any], failing: list[str], file: Path) -> None:
    item = {"type": f"expect_column_values_to_{kind}", "kwargs": {"column": "s", **arguments}}
    (found,) = run_suite(Suite.from_document({"expectations": [item]}, "suite"), [file])
    assert (found.unexpected_count, list(found.unexpected_sample)) == (len(failing), failing)
    assert found.success is False


def test_sql_of_ones_own_shows_the_rows_that_it_finds(file: Path) -> None:
    query = "SELECT s FROM {batch} WHERE n > 2 ORDER BY s;"
    item = {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": query}}
    (found,) = run_suite(Suite.from_document({"expectations": [item]}, "suite"), [file])
    assert (found.success, found.observed, found.unexpected_sample) == (False, 2, ([""], ["100%"]))


def test_order_statistics_are_the_same_where_values_are_sorted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = {"quantiles": [0, 0.3, 0.5, 1], "value_ranges": [[None, None]] * 4}
    items = {
        0: Expectation(type="expect_column_median_to_be_between", kwargs={"column": "n"}),
        1: Expectation(
            type="expect_column_quantile_values_to_be_between", kwargs={"column": "n", "quantile_ranges": ranges}
        ),
    }
    with open_table([file], DuckDbLimits()) as table:
        quick, _ = table.measure(items)
        monkeypatch.setattr(validation, "_QUANTILE_ROWS", 0)
        sorted_, _ = table.measure(items)
    assert quick == sorted_
    assert quick[1].metrics["column.quantile_values"] == [1, 2, 2, 5]


@pytest.fixture
def with_hidden_nan(tmp_path: Path) -> Path:
    """A file whose statistics say 0.1 to 0.9: Arrow, as other writers than DuckDB, leaves NaN out there."""
    table = pa.table({"x": [0.1, math.nan, 0.9, 0.5], "y": [0.2, 0.2, 0.3, 0.1]})
    pq.write_table(table, tmp_path / "nan.parquet")
    return tmp_path / "nan.parquet"


@pytest.mark.parametrize(
    ("kind", "arguments", "found"),
    [
        ("column_mean_to_be_between", {"column": "x", "max_value": 1}, (True, 0.5)),
        ("column_max_to_be_between", {"column": "x", "max_value": 1}, (True, 0.9)),
        ("column_median_to_be_between", {"column": "x", "max_value": 1}, (True, 0.5)),
        ("column_unique_value_count_to_be_between", {"column": "x", "max_value": 3}, (True, 3)),
        ("column_values_to_be_between", {"column": "x", "max_value": 0.6}, (False, 1)),
        ("column_pair_values_a_to_be_greater_than_b", {"column_A": "x", "column_B": "y"}, (False, 2)),
        ("column_value_z_scores_to_be_less_than", {"column": "x", "threshold": 0.9, "double_sided": True}, (False, 2)),
        (
            "column_values_to_be_between",
            {"column": "y", "min_value": 0.25, "row_condition": "x > 0.6", "condition_parser": "pandas"},
            (True, 0),
        ),
    ],
)
def test_nan_is_missing_where_the_statistics_of_a_file_hide_it(
    kind: str, arguments: dict[str, Any], found: tuple[bool, float], with_hidden_nan: Path
) -> None:
    suite = Suite.from_document({"expectations": [{"type": f"expect_{kind}", "kwargs": arguments}]}, "suite")
    (outcome,) = run_suite(suite, [with_hidden_nan])
    seen = outcome.observed if outcome.unexpected_count is None else outcome.unexpected_count
    assert (outcome.success, seen, outcome.fallback) == (*found, "")


@pytest.mark.parametrize("condition", ["isnan(x)", "x > 1", "NOT (x BETWEEN 0 AND 1) -- which is above all numbers"])
def test_sql_of_ones_own_finds_nan_that_statistics_hide(condition: str, with_hidden_nan: Path) -> None:
    query = f"SELECT y FROM {{batch}} WHERE {condition}"  # noqa: S608 - of the test
    item = {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": query}}
    (found,) = run_suite(Suite.from_document({"expectations": [item]}, "suite"), [with_hidden_nan])
    assert (found.success, found.observed, found.unexpected_sample) == (False, 1, ([0.2],))


def test_a_row_with_nan_is_put_aside_where_the_statistics_of_a_file_hide_it(
    with_hidden_nan: Path, tmp_path: Path
) -> None:
    item = Expectation(
        type="expect_column_pair_values_a_to_be_greater_than_b", kwargs={"column_A": "x", "column_B": "y"}
    )
    (condition,) = row_conditions([with_hidden_nan], [item], DuckDbLimits())
    assert condition
    folders = tmp_path / "passing", tmp_path / "failing"
    for folder in folders:
        folder.mkdir()
    separate_rows(
        [with_hidden_nan],
        {"greater": condition},
        passing=folders[0],
        failing=folders[1],
        window=None,
        limits=DuckDbLimits(),
    )
    passing, failing = (pq.read_table(folder)["y"].to_pylist() for folder in folders)
    assert (passing, failing) == ([0.3, 0.1], [0.2, 0.2])


def test_what_does_not_fit_in_memory_is_spilled(tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    duckdb.sql(
        f"COPY (SELECT range AS id, 'some text ' || hash(range) AS s FROM range(1500000)) "  # noqa: S608 - of the test
        f"TO '{file}' (FORMAT parquet)"
    )
    item = Expectation(type="expect_compound_columns_to_be_unique", kwargs={"column_list": ["id", "s"]})
    with open_table([file], DuckDbLimits(memory="60MB", spill_folder=tmp_path)) as table:
        measured, reasons = table.measure({0: item})
    assert (measured[0].failing, measured[0].looked_at, reasons) == (0, 1_500_000, {})


def agreement() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agreement", Path(__file__).with_name("test_agreement.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_predicate_of_failing_rows_is_true_or_false_and_never_null() -> None:
    module = agreement()
    connection = duckdb.connect()
    connection.register("given", pa.table(module.COLUMNS))
    connection.execute("CREATE TABLE rows AS FROM given")
    types = {row[0]: row[1] for row in connection.execute("DESCRIBE rows").fetchall()}
    compared = 0
    for kind, kwargs in module.CASES:
        item = Expectation(type=kind, kwargs=kwargs)
        predicate = failing_predicate(item, types, "rows")
        if predicate is None:
            continue
        rows = connection.execute(f"SELECT count(*) FROM rows WHERE ({predicate}) IS NOT NULL").fetchall()[0][0]  # noqa: S608
        assert rows == module.ROWS, (item, predicate)
        compared += 1
    assert compared > 300


def test_a_release_that_looks_for_other_figures_is_a_broken_check_and_no_pass() -> None:
    items = [
        {"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "n", "value_set": [1]}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "n"}},
    ]
    suite = Suite.from_document({"expectations": items}, "suite")
    with quietly():
        configurations = build_all(suite)
        figures = judge_figures(suite.expectations[0], configurations[0], {"column.renamed": 5})
        configurations[1].to_domain_obj = Renamed
        rows = judge_rows(
            suite.expectations[1], configurations[1], RowFigures(rows=9, looked_at=9, failing=9, sample=())
        )
    assert (figures.is_crashed, figures.success) == (True, False)
    assert (rows.is_crashed, rows.success) == (True, False)


class Renamed:
    map_metric = "renamed"

    def _validate(self, *_: object) -> dict[str, Any]:
        return {"success": True, "result": {"element_count": 0, "unexpected_count": None}}
