"""What nobody wants in a table or a suite: each ends in a verdict or in a clear error."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.validation import ExpectationOutcome, Suite
from airflow_mlops.engines.duckdb import DuckDbLimits, validation
from airflow_mlops.engines.great_expectations import frames, run_suite, running
from airflow_mlops.engines.great_expectations.frames import validate_frame
from airflow_mlops.engines.great_expectations.library import build_all, quietly
from airflow_mlops.exceptions import DatasetError, InvalidInputError, StorageUnavailableError

Items = Sequence[tuple[str, dict[str, Any]]]


def suite_of(items: Items) -> Suite:
    return Suite.from_document(
        {"expectations": [{"type": f"expect_{kind}", "kwargs": kwargs} for kind, kwargs in items]}, "suite"
    )


def check(table: pa.Table, folder: Path, items: Items, limits: DuckDbLimits | None = None) -> list[ExpectationOutcome]:
    file = folder / "part.parquet"
    pq.write_table(table, file)
    return list(run_suite(suite_of(items), [file], limits))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    for names in (["n", "n"], ["n", "N"]):
        table = pa.table([[1], [2]], names=names)
        with pytest.raises(DatasetError, match="differ in case at most"):
            check(table, tmp_path, [("column_values_to_not_be_null", {"column": "n"})])


@pytest.mark.parametrize("name", ['"', "'", "a b", "select", "👍🏽", "a.b", "{batch}", "%s", "a;--", "0", "a\nb", "ÄÖ"])
def test_any_name_of_a_column_will_do(name: str, tmp_path: Path) -> None:
    table = pa.table({name: [1, 2, None, 4], "other": ["a", 'b"', "c'", None]})
    found = check(
        table,
        tmp_path,
        [
            ("column_values_to_be_between", {"column": name, "max_value": 3}),
            ("column_values_to_be_unique", {"column": name}),
            ("compound_columns_to_be_unique", {"column_list": [name, "other"]}),
            ("column_median_to_be_between", {"column": name, "max_value": 3}),
            ("column_values_to_be_json_parseable", {"column": name}),
            ("column_values_to_match_regex", {"column": "other", "regex": "[\"']$|^a$"}),
        ],
    )
    assert not any(outcome.is_crashed for outcome in found), found
    assert [outcome.success for outcome in found] == [False, True, True, True, False, True]


def test_a_column_that_the_data_lacks_is_bad_data_and_the_others_are_checked(tmp_path: Path) -> None:
    items: Items = [
        ("column_values_to_not_be_null", {"column": "nope"}),
        ("column_values_to_not_be_null", {"column": "n"}),
        ("column_type_to_be", {"column": "nope", "type_": "int64"}),
    ]
    missing, there, typed = check(pa.table({"n": [1]}), tmp_path, items)
    assert (missing.success, missing.is_crashed, there.success, typed.is_crashed) == (False, False, True, False)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([None] * 3),
        pa.array([None] * 3, pa.int64()),
        pa.array([{"a": 1}, None, {"a": 2}]),
        pa.array([[1], [], None]),
        pa.array([b"\x00", None, b"\xff"]),
        pa.array([dt.time(1), None, dt.time(2)]),
        pa.array([dt.timedelta(1), None, dt.timedelta(2)]),
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.array([Decimal("1.5"), None, Decimal("99999999999999999999999999.5")], pa.decimal128(38, 5)),
        pa.array([2**64 - 1, None, 1], pa.uint64()),
        pa.array([1, None, 2], pa.timestamp("ns", "Asia/Tokyo")),
        pa.array([float("nan"), float("inf"), -0.0]),
    ],
    ids=str,
)
def test_every_type_ends_in_a_verdict_or_says_that_it_cannot_be_checked(values: pa.Array, tmp_path: Path) -> None:
    items: Items = [
        ("column_values_to_not_be_null", {"column": "x"}),
        ("column_values_to_be_null", {"column": "x", "mostly": 0.1}),
        ("column_proportion_of_non_null_values_to_be_between", {"column": "x", "min_value": 0.1}),
        *((kind, {"column": "x"}) for kind in ("column_values_to_be_unique", "column_values_to_be_increasing")),
        ("column_values_to_be_between", {"column": "x", "min_value": 1}),
        ("column_values_to_be_in_set", {"column": "x", "value_set": ["a", 1]}),
        ("column_values_to_match_regex", {"column": "x", "regex": "a"}),
        ("column_max_to_be_between", {"column": "x", "min_value": 1}),
        ("column_mean_to_be_between", {"column": "x", "min_value": 1}),
        ("column_median_to_be_between", {"column": "x", "min_value": 1}),
        ("column_unique_value_count_to_be_between", {"column": "x", "min_value": 1}),
        ("column_values_to_be_of_type", {"column": "x", "type_": "float64"}),
        ("column_value_z_scores_to_be_less_than", {"column": "x", "threshold": 3, "double_sided": True}),
    ]
    found = check(pa.table({"x": values}), tmp_path, items)
    assert not any(outcome.is_crashed for outcome in found[:3]), found
    for outcome in found:
        assert not (outcome.is_crashed and outcome.success)
        assert ExpectationOutcome.from_dict(outcome.to_dict()) == outcome


def test_five_thousand_columns_are_checked_in_a_few_scans(tmp_path: Path) -> None:
    table = pa.table({f"c{number}": [number, None] for number in range(5000)})
    items = [("column_values_to_not_be_null", {"column": f"c{number}"}) for number in range(0, 5000, 10)]
    found = check(table, tmp_path, items)
    assert [outcome.unexpected_count for outcome in found] == [1] * 500


def test_many_checks_that_fail_on_many_columns_each_read_their_own_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "_SAMPLED_CHECKS", 50)
    table = pa.table({f'c"{number}': [number / 2, 1e9] for number in range(3000)})
    within = [("column_values_to_be_between", {"column": f'c"{number}', "max_value": 1e6}) for number in range(40)]
    unique: Items = [("column_values_to_be_unique", {"column": f'c"{number}'}) for number in range(20)]
    median = [("column_median_to_be_between", {"column": f'c"{number}', "max_value": 1}) for number in range(20)]
    late = [("column_values_to_be_in_set", {"column": f'c"{number}', "value_set": [1e9]}) for number in range(20)]
    found = check(table, tmp_path, [*within, *unique, *median, *late])
    assert [outcome.success for outcome in found] == [False] * 40 + [True] * 20 + [False] * 40
    assert [outcome.unexpected_sample for outcome in found[:40]] == [(1e9,)] * 40
    assert [outcome.unexpected_count for outcome in found[80:]] == [1] * 20
    assert [outcome.unexpected_sample for outcome in found[80:]] == [(n / 2,) for n in range(10)] + [()] * 10


def test_a_regular_expression_that_backtracks_forever_has_its_answer_at_once(tmp_path: Path) -> None:
    table = pa.table({"x": ["a" * 40 + "!"] * 10})
    (found,) = check(table, tmp_path, [("column_values_to_match_regex", {"column": "x", "regex": "^(a+)+$"})])
    assert (found.success, found.unexpected_count, found.fallback) == (False, 10, "")


def test_a_regular_expression_that_only_python_knows_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_BATCH_SECONDS", 0.5)
    table = pa.table({"x": ["a" * 40 + "!"] * 10})
    found = check(
        table,
        tmp_path,
        [
            ("column_values_to_match_regex", {"column": "x", "regex": "^(a+)+$(?!b)"}),
            ("column_values_to_match_regex", {"column": "x", "regex": "^a(?=a)"}),
        ],
    )
    assert found[0].is_crashed
    assert "repeats within repeats" in found[0].problem
    assert "which RE2 lacks" in found[0].fallback
    assert found[1].success


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_gives_no_verdict(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "part.parquet"
    run = running._run

    def meanwhile(*args: Any) -> Any:
        found = run(*args)
        if change == "append":
            with file.open("ab") as stream:
                stream.write(b"x")
        else:
            file.unlink()
        if change == "replace":
            pq.write_table(pa.table({"n": [2]}), file)
        return found

    monkeypatch.setattr(running, "_run", meanwhile)
    error = StorageUnavailableError if change == "remove" else DatasetError
    with pytest.raises(error, match=r"cannot be read|changed while it was validated"):
        check(pa.table({"n": [1]}), tmp_path, [("column_values_to_not_be_null", {"column": "n"})])


def test_a_file_that_is_gone_is_an_error_that_a_retry_may_cure(tmp_path: Path) -> None:
    items: Items = [("column_values_to_not_be_null", {"column": "n"})]
    with pytest.raises(StorageUnavailableError, match="nowhere"):
        run_suite(suite_of(items), [tmp_path / "nowhere.parquet"])


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    file.write_text("n\n1\n")
    with pytest.raises(DatasetError, match=r"part\.parquet is no whole Parquet file"):
        run_suite(suite_of([("column_values_to_not_be_null", {"column": "n"})]), [file])


def test_a_query_of_a_suite_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("password\n1234\n")
    query = f"SELECT * FROM '{tmp_path}/secret.csv'"  # noqa: S608 - what the suite's author wrote
    file = tmp_path / "part.parquet"
    pq.write_table(pa.table({"n": [1, 2]}), file)
    items = [
        {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": query}},
        {
            "type": "unexpected_rows_expectation",
            "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch} WHERE n > 1"},
        },
    ]
    stolen, honest = run_suite(Suite.from_document({"expectations": items}, "suite"), [file])
    assert stolen.is_crashed
    assert "1234" not in str(stolen)
    assert (honest.success, honest.observed, honest.unexpected_sample) == (False, 1, ([2],))


def test_too_little_memory_is_said_and_nothing_is_judged(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(range(2_000_000)), "y": [f"text {number}" for number in range(2_000_000)]})
    items: Items = [("compound_columns_to_be_unique", {"column_list": ["x", "y"]})]
    with pytest.raises(InvalidInputError, match="duckdb_memory_limit"):
        check(table, tmp_path, items, DuckDbLimits(memory="1MB"))


def test_a_whole_column_in_pandas_is_refused_where_it_would_not_fit(tmp_path: Path) -> None:
    table = pa.table({"x": ["text"] * 1_000_000})
    partition = {"values": ["text"], "weights": [1.0]}
    items: Items = [
        ("column_kl_divergence_to_be_less_than", {"column": "x", "threshold": 1, "partition_object": partition})
    ]
    (found,) = check(table, tmp_path, items, DuckDbLimits(memory="100MB"))
    assert found.is_crashed
    assert "duckdb_memory_limit" in found.problem


def test_rows_are_compared_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = []
    for number in range(20):
        files.append(tmp_path / f"part-{number:03}.parquet")
        start = number * 20_000
        pq.write_table(pa.table({"n": range(start, start + 20_000)}), files[-1], row_group_size=2_000)
    up: Items = [("column_values_to_be_increasing", {"column": "n", "strictly": True})]
    assert run_suite(suite_of(up), files)[0].success
    assert run_suite(suite_of(up), files[::-1])[0].unexpected_count == 19


VALUES = st.one_of(
    st.lists(st.none() | st.integers(-(2**40), 2**40), max_size=12).map(lambda x: pa.array(x, pa.int64())),
    st.lists(st.none() | st.floats(width=64), max_size=12).map(lambda x: pa.array(x, pa.float64())),
    st.lists(st.none() | st.text(max_size=5), max_size=12).map(lambda x: pa.array(x, pa.string())),
    st.lists(st.none() | st.booleans(), max_size=12).map(lambda x: pa.array(x, pa.bool_())),
)
BOUND = st.none() | st.integers(-100, 100) | st.floats(-1e6, 1e6)
CHECKS = st.one_of(
    st.fixed_dictionaries({"min_value": BOUND, "max_value": BOUND, "mostly": st.floats(0, 1)}).map(
        lambda x: ("column_values_to_be_between", x)
    ),
    st.fixed_dictionaries(
        {"value_set": st.lists(st.integers(-5, 5) | st.text(max_size=2), min_size=1, max_size=4)}
    ).map(lambda x: ("column_values_to_be_in_set", x)),
    st.fixed_dictionaries({"regex": st.sampled_from(["^a", r"\d+", r"[^\w]", ".$", "(?=b)"])}).map(
        lambda x: ("column_values_to_match_regex", x)
    ),
    st.fixed_dictionaries({"min_value": BOUND, "max_value": BOUND}).flatmap(
        lambda x: st.sampled_from(
            ["column_min_to_be_between", "column_mean_to_be_between", "column_unique_value_count_to_be_between"]
        ).map(lambda kind: (kind, x))
    ),
    st.sampled_from(
        [
            ("column_values_to_be_unique", {}),
            ("column_values_to_not_be_null", {}),
            ("column_values_to_be_increasing", {}),
            ("column_value_lengths_to_be_between", {"min_value": 1, "max_value": 2}),
        ]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, checks=st.lists(CHECKS, min_size=1, max_size=4))
def test_whatever_is_in_it_duckdb_counts_what_pandas_counts(
    values: pa.Array, checks: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    table = pa.table({"x": values})
    suite = suite_of([(kind, {"column": "x", **kwargs}) for kind, kwargs in checks])
    try:
        with quietly():
            theirs = validate_frame(suite, build_all(suite), range(len(checks)), table.to_pandas())
    except InvalidInputError:
        return
    file = tmp_path / "part.parquet"
    pq.write_table(table, file)
    written_otherwise = pa.types.is_integer(values.type) and values.null_count  # 1 is "1.0" to pandas then
    for ours, their in zip(run_suite(suite, [file]), theirs.values(), strict=True):
        if their.is_crashed or (written_otherwise and "regex" in ours.type):
            continue
        assert (ours.success, ours.unexpected_count, ours.is_crashed) == (their.success, their.unexpected_count, False)
