"""Validation of a Spark DataFrame, on PySpark in local mode. Who has no PySpark or no Java skips this, but not CI."""

import importlib.util
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.exceptions import DatabaseUnavailableError, InvalidInputError, SuiteError, ValidationFailedError
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.spark import SparkValidationOperator

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]  # Spark has warnings of its own.


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    if reason := _what_is_missing():
        if os.environ.get("CI"):
            pytest.fail(f"CI must not skip the tests of Spark, but {reason}")
        pytest.skip(reason)
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.WARNING)  # It has words of farewell for a log that is closed by then.
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


def _what_is_missing() -> str:
    if importlib.util.find_spec("pyspark") is None:
        return "PySpark is not installed: make setup SPARK=1"
    java = Path(os.environ["JAVA_HOME"]) / "bin/java" if os.environ.get("JAVA_HOME") else "java"
    return "" if shutil.which(java) else "there is no Java: apt-get install default-jre-headless"


@pytest.fixture
def frame(spark: Any) -> Any:
    return spark.createDataFrame(
        [(i, f"w{i}", None if i % 4 == 0 else float(i)) for i in range(100)], "n int, word string, x double"
    )


def validate(frame: Any, *expectations: tuple[str, dict[str, Any]], **kwargs: Any) -> ValidationReport:
    operator = SparkValidationOperator(
        task_id="validate",
        frame=lambda: frame,
        dataset_name="words",
        suite={"name": "words", "expectations": [{"type": name, "kwargs": given} for name, given in expectations]},
        **({"on_failure": "warn"} | kwargs),
    )
    task = SimpleNamespace(dag_id="loop", run_id="run", task_id="validate", map_index=-1, xcom_push=lambda **_: None)
    context: Any = {"dag": SimpleNamespace(folder="/nowhere"), "ti": task}
    operator.execute(context)
    return ValidationReport.from_dict((artifact_store() / "reports/loop/run/validate/validation.json").read_json())


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))


def test_every_kind_of_check_runs_in_spark(frame: Any) -> None:
    checks: list[tuple[str, dict[str, Any], int]] = [
        ("expect_column_values_to_be_between", {"column": "n", "max_value": 95}, 4),
        ("expect_column_values_to_match_regex", {"column": "word", "regex": "^w[0-8]"}, 11),
        ("expect_column_values_to_not_be_null", {"column": "x"}, 25),
        ("expect_column_values_to_be_unique", {"column": "word"}, 0),
        (
            "expect_column_pair_values_to_be_equal",
            {"column_A": "n", "column_B": "x", "ignore_row_if": "either_value_is_missing"},
            0,
        ),
    ]
    report = validate(frame, *[(name, kwargs) for name, kwargs, _ in checks])
    assert [outcome.unexpected_count for outcome in report.outcomes] == [count for _, _, count in checks]
    assert sorted(report.outcomes[0].unexpected_sample) == [96, 97, 98, 99]
    assert (report.rows, report.dataset_name, report.failure_count) == (100, "words", 3)


def test_bad_data_fails_the_task_and_a_missing_column_is_bad_data(frame: Any) -> None:
    with pytest.raises(ValidationFailedError, match="no column 'nn'"):
        validate(frame, ("expect_column_values_to_not_be_null", {"column": "nn"}), on_failure="fail")


def test_a_check_that_does_not_fit_is_no_verdict_and_a_frame_that_cannot_be_computed_is_retried(frame: Any) -> None:
    with pytest.raises(SuiteError, match="could not be checked"):
        validate(frame, ("expect_column_stdev_to_be_between", {"column": "word", "min_value": 1}))
    broken = frame.selectExpr("n", "raise_error('away') AS x").filter("x IS NULL")
    with pytest.raises(DatabaseUnavailableError, match="Spark cannot count"):
        validate(broken, ("expect_column_values_to_not_be_null", {"column": "n"}))


def test_a_quarantine_needs_a_snapshot(frame: Any) -> None:
    with pytest.raises(InvalidInputError, match="take a snapshot"):
        validate(frame, ("expect_column_values_to_not_be_null", {"column": "x"}), on_failure="quarantine")
