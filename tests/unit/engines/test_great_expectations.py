import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.validation import ExpectationOutcome, Suite
from airflow_mlops.engines.great_expectations import run_suite
from airflow_mlops.exceptions import SuiteError


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("month=1")  # The name of a folder is no column.
    files = []
    for number, start in enumerate((0, 50)):
        numbers = range(start, start + 50)
        columns = {
            "n": pa.array([None if i == 7 else i for i in numbers], pa.int64()),
            "text": pa.array([f"t{i % 3}" for i in numbers]),
            "time": pa.array([dt.datetime(2013, 1, 1) + dt.timedelta(hours=i) for i in numbers]),  # noqa: DTZ001
            "zone": pa.array([i * 3_600_000_000 for i in numbers], pa.timestamp("us", "UTC")),
            "day": pa.array([dt.date(2013, 1, 1 + i % 9) for i in numbers]),
            "price": pa.array([Decimal(i) / 10 for i in numbers], pa.decimal128(10, 2)),
            "long": pa.array(["x" * 5000] * 50),
        }
        files.append(folder / f"part-{number}.parquet")
        pq.write_table(pa.table(columns), files[-1])
    return files


def run(parts: Sequence[Path], kind: str, **kwargs: Any) -> ExpectationOutcome:
    suite = Suite.from_document({"expectations": [{"type": kind, "kwargs": kwargs}]}, "suite")
    (outcome,) = run_suite(suite, parts)
    return outcome


def test_all_parts_are_looked_at_and_outcomes_keep_the_order_of_the_suite(parts: list[Path]) -> None:
    items: list[dict[str, Any]] = [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "n"}, "severity": "warning"},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "nope"}},
        {"type": "expect_table_column_count_to_equal", "kwargs": {"value": 7}},
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 100}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "text", "min_value": 1}},
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 100}},
    ]
    outcomes = run_suite(Suite.from_document({"expectations": items}, "suite"), parts)
    assert [outcome.type for outcome in outcomes] == [item["type"] for item in items]
    assert [outcome.success for outcome in outcomes] == [False, False, True, True, False, True]
    assert [outcome.is_crashed for outcome in outcomes] == [False, False, False, False, True, False]
    assert outcomes[0].severity == "warning"
    assert (outcomes[0].unexpected_count, outcomes[0].unexpected_percent) == (1, 1.0)


def test_a_sample_of_failing_values_is_small_and_json(parts: list[Path]) -> None:
    outcome = run(parts, "expect_column_values_to_be_between", column="n", min_value=1000)
    assert outcome.unexpected_count == 99
    assert len(outcome.unexpected_sample) == 20
    outcome = run(parts, "expect_column_values_to_be_in_set", column="long", value_set=["a"])
    assert all(len(value) <= 1000 for value in outcome.unexpected_sample)
    assert ExpectationOutcome.from_dict(outcome.to_dict()) == outcome


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("expect_column_values_to_be_between", {"column": "time", "max_value": "2013-01-02T00:00:00"}),
        ("expect_column_values_to_be_between", {"column": "time", "max_value": dt.date(2013, 1, 2)}),
        ("expect_column_values_to_be_between", {"column": "zone", "max_value": "1970-01-02T01:00:00+01:00"}),
        ("expect_column_values_to_be_between", {"column": "zone", "max_value": "1970-01-02"}),
        ("expect_column_max_to_be_between", {"column": "time", "max_value": "2013-01-02"}),
        ("expect_column_values_to_be_between", {"column": "day", "max_value": "2013-01-02"}),
        ("expect_column_values_to_be_between", {"column": "price", "max_value": 1}),
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "n", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]}},
        ),
        ("expect_compound_columns_to_be_unique", {"column_list": ["text", "long"]}),
        ("expect_column_pair_values_to_be_equal", {"column_A": "text", "column_B": "long"}),
        ("expect_column_to_exist", {"column": "nope"}),
        ("expect_table_columns_to_match_set", {"column_set": ["n"]}),
        (
            "expect_column_values_to_be_in_set",
            {"column": "text", "value_set": ["t0"], "row_condition": "n > 20", "condition_parser": "pandas"},
        ),
    ],
)
def test_bad_data_is_a_failure_and_no_crash(kind: str, kwargs: dict[str, Any], parts: list[Path]) -> None:
    outcome = run(parts, kind, **kwargs)
    assert not outcome.success
    assert not outcome.is_crashed, outcome.problem
    assert ExpectationOutcome.from_dict(outcome.to_dict()) == outcome


@pytest.mark.parametrize("keys", [{"column": "nope"}, {"column_list": ["n", "nope"]}])
def test_a_column_that_the_data_lacks_is_bad_data(keys: dict[str, Any], parts: list[Path]) -> None:
    kind = "expect_column_values_to_be_unique" if "column" in keys else "expect_compound_columns_to_be_unique"
    outcome = run(parts, kind, **keys)
    assert (outcome.success, outcome.is_crashed) == (False, False)
    assert outcome.problem == "The dataset has no column 'nope'. It has: n, text, time, zone, day, price, long."


@pytest.mark.parametrize(
    ("kind", "kwargs", "reason"),
    [
        (
            "expect_column_values_to_be_between",
            {"column": "text", "min_value": 1},
            "must either be None or of the same",
        ),
        ("expect_column_values_to_match_regex", {"column": "text", "regex": "("}, "unterminated subpattern"),
        ("unexpected_rows_expectation", {"unexpected_rows_query": "select nope from {batch}"}, '"nope" not found'),
        (
            "expect_query_results_to_match_comparison",
            {"base_query": "select 1", "comparison_data_source_name": "other", "comparison_query": "select 1"},
            "No provider found",
        ),
    ],
)
def test_a_check_that_breaks_is_no_verdict_on_the_data(
    kind: str, kwargs: dict[str, Any], reason: str, parts: list[Path]
) -> None:
    outcome = run(parts, kind, **kwargs)
    assert outcome.is_crashed
    assert reason in outcome.problem


@pytest.mark.parametrize(
    ("kind", "kwargs", "reason"),
    [
        ("expect_column_values_to_not_be_nul", {"column": "n"}, "Did you mean expect_column_values_to_not_be_null"),
        ("frobnicate", {}, "frobnicate, is not known to Great Expectations. See"),
        ("expect_column_values_to_be_between", {"column": "n", "min_valu": 1}, "min_valu: extra fields not permitted"),
        ("expect_column_values_to_be_unique", {}, "column: field required"),
    ],
)
def test_a_suite_that_cannot_be_built_names_the_expectation_and_the_reason(
    kind: str, kwargs: dict[str, Any], reason: str, parts: list[Path]
) -> None:
    with pytest.raises(SuiteError, match=f"Expectation 1 of the suite.*{reason}"):
        run(parts, kind, **kwargs)


def test_an_unknown_severity_is_a_suite_error(parts: list[Path]) -> None:
    item = {"type": "expect_column_to_exist", "kwargs": {"column": "n"}, "severity": "fatal"}
    with pytest.raises(SuiteError, match=r"unknown severity 'fatal'\. Known are: critical, warning, info"):
        run_suite(Suite.from_document({"expectations": [item]}, "suite"), parts)


def test_nothing_is_written_to_the_working_directory_or_home(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("home", "cwd", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path / "cwd")
    run(parts, "expect_column_values_to_be_unique", column="n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list((tmp_path / "tmp").iterdir())


def test_no_progress_bar_is_drawn(parts: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    run(parts, "expect_column_values_to_be_unique", column="n")
    captured = capsys.readouterr()
    assert "Calculating" not in captured.out + captured.err
