"""Every expectation that Great Expectations ships, on DuckDB and on pandas: the same verdict and the same counts."""

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.validation import ExpectationOutcome, Suite
from airflow_mlops.engines.great_expectations import run_suite
from airflow_mlops.engines.great_expectations.frames import validate_frame
from airflow_mlops.engines.great_expectations.library import build_all, quietly

Case = tuple[str, dict[str, Any]]

DAY = dt.datetime(2013, 1, 1)  # noqa: DTZ001
TEXTS = ["JFK", "LGA", None, "", "it's", 'say "hi"', "👍🏽", "a\nb", "N123AA", "JFK\n", "٣", "100%"]
ROWS = len(TEXTS)
COLUMNS = {
    "i": pa.array([3, 1, 2, 2, 5, 8, 13, 21, 34, 55, 89, 144], pa.int64()),
    "n": pa.array([1, 2, None, 2, 5, 8, 13, None, 34, 55, 89, 144], pa.int32()),
    "up": pa.array([1, 2, 2, 3, None, 4, 5, 6, 7, 8, 9, 10], pa.int64()),
    "f": pa.array([0.5, math.nan, math.inf, -math.inf, 1.5, None, 0.1, 0.2, 0.3, -0.0, 0.0, 1e300], pa.float64()),
    "g": pa.array([0.5, 1.5, None, 2.5, 100.0, 0.25, 0.1, 0.2, 0.3, 0.7, 0.9, math.nan], pa.float64()),
    "h": pa.array([0.5, 1.5, 2.5, 3.5, 0.1, 0.2, 0.3, 0.7, 0.9, 1.0, 1.1, 1.2], pa.float32()),
    "s": pa.array(TEXTS),
    "u": pa.array([f"id-{i:03}" for i in range(ROWS)]),
    "full": pa.array([text or "x" for text in TEXTS]),
    "json": pa.array(['{"a": 1}', "[]", "{", None, "1", '"x"', "NaN", "", "{}", '{"a": "b"}', "null", "truth"]),
    "when": pa.array(["2013-01-01", "2013-13-01", None, "", "01/02/2013", *["2013-06-01"] * 7]),
    "t": pa.array([DAY + dt.timedelta(hours=7 * i) if i % 5 else None for i in range(ROWS)], pa.timestamp("us")),
    "z": pa.array([i * 3_600_000_000 for i in range(ROWS)], pa.timestamp("us", "Europe/Berlin")),
    "day": pa.array([DAY.date() + dt.timedelta(days=i % 4) for i in range(ROWS)]),
    "d": pa.array([Decimal(i) / 10 for i in range(ROWS)], pa.decimal128(10, 2)),
    "b": pa.array([i % 3 == 0 for i in range(ROWS)]),
    "maybe": pa.array([None if i == 4 else i % 3 == 0 for i in range(ROWS)]),
    "nothing": pa.array([None] * ROWS, pa.float64()),
    "no text": pa.array([None] * ROWS, pa.string()),
    "list": pa.array([[i, i + 1] if i % 4 else None for i in range(ROWS)]),
    'odd "name" 👍': pa.array(range(ROWS), pa.int64()),
}
DECIMALS, TIMES = ["d"], ["t", "z", "day"]
NUMBERS = ["i", "n", "f", "g", "h", "nothing", 'odd "name" 👍']
SCALARS = [*NUMBERS, *DECIMALS, *TIMES, "s", "u", "b", "maybe", "no text"]


def cases() -> Iterator[Case]:  # noqa: C901, PLR0912, PLR0915 - a table
    def of(kind: str, columns: list[str], **arguments: Any) -> Iterator[Case]:
        for column in columns:
            yield f"expect_column_{kind}", {"column": column, **arguments}

    everything = [*SCALARS, "list"]
    yield from of("values_to_not_be_null", everything)
    yield from of("values_to_not_be_null", ["n", "f", "s"], mostly=0.8)
    yield from of("values_to_be_null", everything)
    yield from of("values_to_be_null", ["nothing", "n"], mostly=0.1)
    yield from of("values_to_be_unique", SCALARS)
    yield from of("values_to_be_unique", ["n", "s"], mostly=0.5)
    for bounds in ({"min_value": 1}, {"max_value": 2.5}, {"min_value": 0.5, "max_value": 8}):
        yield from of("values_to_be_between", [*NUMBERS, *DECIMALS, "s"], **bounds)
        yield from of("values_to_be_between", ["i", "n", "g", "d"], strict_min=True, strict_max=True, **bounds)
    yield from of("values_to_be_between", ["i", "n", "f"], min_value=1, max_value=10, mostly=0.6)
    yield from of("values_to_be_between", ["i"], min_value=9, max_value=1)
    yield from of("values_to_be_between", TIMES, min_value="2013-01-01T14:00:00", max_value="2013-01-03")
    yield from of("values_to_be_between", TIMES, min_value="1970-01-01T05:00:00+01:00")
    yield from of("values_to_be_in_set", NUMBERS, value_set=[1, 2, 0.5, 13])
    yield from of("values_to_be_in_set", ["i", "n"], value_set=[1, None])
    yield from of("values_to_be_in_set", DECIMALS, value_set=[0, 1])
    yield from of("values_to_be_in_set", ["s", "u", "no text"], value_set=["JFK", "it's", "👍🏽", ""])
    yield from of("values_to_be_in_set", ["s", "i"], value_set=["JFK", 1])
    yield from of("values_to_be_in_set", ["b", "maybe"], value_set=[True])
    yield from of("values_to_be_in_set", ["i", "s"], value_set=[])
    yield from of("values_to_not_be_in_set", NUMBERS, value_set=[1, 2, 0.5, 13])
    yield from of("values_to_not_be_in_set", ["s", "u"], value_set=["JFK", "it's", 'say "hi"'])
    yield from of("values_to_not_be_in_set", ["t", "day"], value_set=["2013-01-02", "2013-01-01T07:00:00"])
    yield from of("value_lengths_to_be_between", ["s", "u", "i", "f", "b"], min_value=2, max_value=5)
    yield from of("value_lengths_to_be_between", ["s"], min_value=2, strict_min=True, mostly=0.5)
    yield from of("value_lengths_to_equal", ["s", "u", "i", "no text"], value=3)
    yield from of("values_to_match_regex", ["s", "u", "i", "f", "no text"], regex=r"^[A-Z]{3}$")
    for regex in (r"\d", r"^\w+$", "", r"(?i)^jfk", r"(?=J)", "'", r"(\w)\1", "("):
        yield from of("values_to_match_regex", ["s"], regex=regex)
        yield from of("values_to_not_match_regex", ["s"], regex=regex)
    yield from of("values_to_match_regex", ["s"], regex="JFK", mostly=0.1)
    for match_on in ("any", "all"):
        yield from of("values_to_match_regex_list", ["s", "u"], regex_list=["^J", "K$"], match_on=match_on)
    yield from of("values_to_not_match_regex_list", ["s", "u"], regex_list=["^J", "(?<=d)-"])
    for kind in ("increasing", "decreasing"):
        for strictly in (False, True):
            yield from of(f"values_to_be_{kind}", [*SCALARS, "up"], strictly=strictly)
    yield from of("values_to_be_json_parseable", ["json", "s"])
    yield from of("values_to_match_json_schema", ["full"], json_schema={"type": "object"})
    yield from of("values_to_be_dateutil_parseable", ["when", "s", "i"])
    yield from of("values_to_match_strftime_format", ["when", "i"], strftime_format="%Y-%m-%d")
    for kind in ("int64", "float64", "str", "datetime64[ns]"):
        yield from of("values_to_be_of_type", ["i", "n", "s", "t", "b", "maybe", "d"], type_=kind)
        yield from of("values_to_be_in_type_list", ["i", "n", "s", "d"], type_list=[kind, "int32"])
        yield from of("type_to_be", ["i", "n", "s", "t"], type_=kind)
    yield from of("value_z_scores_to_be_less_than", NUMBERS, threshold=1.5, double_sided=True)
    yield from of("value_z_scores_to_be_less_than", ["i", "g"], threshold=1, double_sided=False, mostly=0.5)
    for method in ("iqr", "std"):
        yield from of("values_to_not_be_outliers", NUMBERS, method=method, multiplier=1.5)
        yield from of("values_to_not_be_outliers", ["i", "g"], method=method, multiplier=0)
    for figure in ("min", "max", "mean", "median", "sum", "stdev"):
        columns = [*NUMBERS, *DECIMALS] if figure != "median" else NUMBERS
        yield from of(f"{figure}_to_be_between", columns, min_value=0.1, max_value=10)
        yield from of(f"{figure}_to_be_between", ["i", "g"], min_value=1, strict_min=True)
    yield from of("min_to_be_between", TIMES, min_value="2013-01-01", max_value="2013-01-02")
    yield from of("max_to_be_between", TIMES, min_value="2013-01-01", max_value="2013-01-02")
    for share in (0.2, 0.5, 1):
        yield from of("proportion_of_non_null_values_to_be_between", everything, min_value=share)
        yield from of("proportion_of_unique_values_to_be_between", SCALARS, min_value=share)
    yield from of("unique_value_count_to_be_between", SCALARS, min_value=4, max_value=11)
    for tolerance in (False, "linear", "lower", "higher", "midpoint", "nearest"):
        ranges = {"quantiles": [0, 0.05, 0.3, 0.5, 1], "value_ranges": [[None, 1], [0, 5], [0, 9], [0, 20], [1, None]]}
        yield from of(
            "quantile_values_to_be_between",
            ["i", "n", "g", "h"],
            quantile_ranges=ranges,
            allow_relative_error=tolerance,
        )
    for kind in ("be_in", "contain", "equal"):
        yield from of(f"distinct_values_to_{kind}_set", ["i", "n", "h"], value_set=[1, 2, 5, 8])
        yield from of(f"distinct_values_to_{kind}_set", ["n"], value_set=[1, 2, 5, 8, 13, 34, 55, 89, 144])
        yield from of(f"distinct_values_to_{kind}_set", ["s", "u"], value_set=["JFK", "it's", "nowhere"])
        yield from of(f"distinct_values_to_{kind}_set", ["b", "maybe"], value_set=[True, False])
        yield from of(f"distinct_values_to_{kind}_set", ["day"], value_set=["2013-01-01", "2013-01-02"])
    yield from of("most_common_value_to_be_in_set", ["i", "b", "s"], value_set=[2, True, "JFK"])
    yield from of("most_common_value_to_be_in_set", ["i", "n"], value_set=[2])
    yield from of("most_common_value_to_be_in_set", ["s"], value_set=["JFK"], ties_okay=True)
    yield from of("kl_divergence_to_be_less_than", ["b"], threshold=0.1, partition_object=CATEGORIES)
    yield from of("to_exist", ["i", "nope"])
    yield from of("to_exist", ["n"], column_index=1)
    for rule in ("both_values_are_missing", "either_value_is_missing", "neither"):
        for one, other in (("i", "n"), ("i", "g"), ("s", "full"), ("f", "g"), ("b", "maybe"), ("t", "day")):
            pair = {"column_A": one, "column_B": other, "ignore_row_if": rule}
            yield "expect_column_pair_values_to_be_equal", pair
            yield "expect_column_pair_values_a_to_be_greater_than_b", pair
            yield "expect_column_pair_values_a_to_be_greater_than_b", {**pair, "or_equal": True}
        yield (
            "expect_column_pair_values_to_be_in_set",
            {"column_A": "i", "column_B": "n", "ignore_row_if": rule, "value_pairs_set": [[3, 1], [2, None], [5, 5]]},
        )
        yield (
            "expect_column_pair_values_to_be_in_set",
            {"column_A": "s", "column_B": "i", "ignore_row_if": rule, "value_pairs_set": [["JFK", 3], ["it's", 1]]},
        )
    for rule in ("all_values_are_missing", "any_value_is_missing", "never"):
        for names in (["i", "n"], ["n", "g"], ["s", "full"], ["i", "n", "up"]):
            several = {"column_list": names, "ignore_row_if": rule}
            yield "expect_compound_columns_to_be_unique", several
            yield "expect_select_column_values_to_be_unique_within_record", several
            yield "expect_multicolumn_values_to_be_equal", several
            if "s" not in names:
                yield "expect_multicolumn_sum_to_equal", {**several, "sum_total": 4}
        yield "expect_compound_columns_to_be_unique", {"column_list": ["b", "day"], "ignore_row_if": rule}
    yield "expect_table_row_count_to_equal", {"value": ROWS}
    yield "expect_table_row_count_to_be_between", {"min_value": ROWS + 1}
    yield "expect_table_column_count_to_equal", {"value": len(COLUMNS)}
    yield "expect_table_column_count_to_be_between", {"max_value": 3}
    yield "expect_table_columns_to_match_ordered_list", {"column_list": list(COLUMNS)}
    yield "expect_table_columns_to_match_ordered_list", {"column_list": ["n", "i"]}
    yield "expect_table_columns_to_match_set", {"column_set": ["n", "i"], "exact_match": False}
    yield "expect_table_columns_to_match_set", {"column_set": ["n", "nope"]}
    yield "expect_table_row_count_to_equal_other_table", {"other_table_name": "other"}
    yield from conditions()


CATEGORIES = {"values": [True, False], "weights": [0.4, 0.6]}


def conditions() -> Iterator[Case]:
    for condition in (
        "n > 5",
        "i != 2",
        "n != 2",
        "not n > 5",
        's == "JFK" or i >= 89',
        "(n > 5) & (g < 1)",
        "i in [1, 2]",
        "n not in [2, 5]",
        "i % 2 == 0",
        "s.isnull()",
        "f == f",
        "5 < n",
    ):
        where = {"row_condition": condition, "condition_parser": "pandas"}
        yield "expect_column_values_to_not_be_null", {"column": "n", **where}
        yield "expect_column_values_to_be_unique", {"column": "i", **where}
        yield "expect_column_mean_to_be_between", {"column": "i", "max_value": 30, **where}
        yield "expect_column_values_to_be_between", {"column": "n", "min_value": 3, "mostly": 0.5, **where}
        yield "expect_column_pair_values_to_be_equal", {"column_A": "i", "column_B": "n", **where}
        yield "expect_column_median_to_be_between", {"column": "n", "max_value": 8, **where}
        yield "expect_table_row_count_to_be_between", {"max_value": 3, **where}
    for condition in ('col("n") > 5', 'col("n").notNull()', 'col("s") == "JFK"'):
        where = {"row_condition": condition, "condition_parser": "great_expectations"}
        yield "expect_column_values_to_be_unique", {"column": "i", **where}
    stored = {"type": "comparison", "column": {"name": "n"}, "operator": ">=", "parameter": 8}
    null = {"type": "nullity", "column": {"name": "s"}, "is_null": False}
    for mapping in (stored, null, {"type": "and", "conditions": [stored, null]}):
        yield "expect_column_values_to_be_unique", {"column": "s", "row_condition": mapping}


CASES = list(cases())
WITHOUT_PANDAS = {
    *("expect_column_values_to_match_like_pattern", "expect_column_values_to_match_like_pattern_list"),
    *("expect_column_values_to_not_match_like_pattern", "expect_column_values_to_not_match_like_pattern_list"),
    *("unexpected_rows_expectation", "expect_query_results_to_match_comparison"),
}
"""Great Expectations checks these in databases only: test_duckdb_validation.py."""


def kinds() -> list[str]:
    return sorted({kind for kind, _ in CASES})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[ExpectationOutcome, ExpectationOutcome]]:
    table = pa.table(COLUMNS)
    parts = []
    for start in range(0, ROWS, 5):
        parts.append(tmp_path_factory.mktemp("parts") / f"part-{start}.parquet")
        pq.write_table(table.slice(start, 5), parts[-1])
    suite = Suite.from_document({"expectations": [{"type": kind, "kwargs": given} for kind, given in CASES]}, "suite")
    ours = run_suite(suite, parts)
    with quietly():
        frame = table.to_pandas(date_as_object=False)
        theirs = validate_frame(suite, build_all(suite), range(len(CASES)), frame)
    return [(ours[number], theirs[number]) for number in range(len(CASES))]


def close(one: Any, other: Any, tolerance: float = 1e-12) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key], tolerance) for key in one)
    if isinstance(one, str) and isinstance(other, str) and "+" in one:
        return dt.datetime.fromisoformat(one) == dt.datetime.fromisoformat(other)
    return bool(one == other)


@pytest.mark.parametrize("kind", kinds())
def test_duckdb_and_pandas_agree(kind: str, outcomes: list[tuple[ExpectationOutcome, ExpectationOutcome]]) -> None:
    compared = [pair for pair in outcomes if pair[0].type == kind]
    assert compared
    for ours, theirs in compared:
        if theirs.is_crashed and not ours.is_crashed:
            assert "not supported between instances" in theirs.problem  # pandas compares objects with None.
            continue
        assert (ours.is_crashed, ours.success, ours.unexpected_count, ours.unexpected_percent) == (
            theirs.is_crashed,
            theirs.success,
            theirs.unexpected_count,
            theirs.unexpected_percent,
        ), (ours, theirs)
        single = ours.kwargs.get("column") == "h"  # DuckDB computes with 64 bits, pandas with 32.
        assert close(ours.observed, theirs.observed, 1e-6 if single else 1e-12), (ours, theirs)
        if not any(word in kind for word in ("unique", "type", "null")):  # Fewer show as much.
            assert len(ours.unexpected_sample) == len(theirs.unexpected_sample), (ours, theirs)


def test_most_of_them_need_no_pandas(outcomes: list[tuple[ExpectationOutcome, ExpectationOutcome]]) -> None:
    fallen = [ours for ours, theirs in outcomes if ours.fallback and not theirs.is_crashed]
    assert len(fallen) < len(outcomes) / 10


def test_every_expectation_that_is_shipped_is_compared() -> None:
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    shipped = {kind for kind in list_registered_expectation_implementations() if kind != "expect_nothing"}
    assert shipped == {*kinds(), *WITHOUT_PANDAS}
