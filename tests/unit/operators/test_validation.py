import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.exceptions import DatasetError, InvalidInputError, SuiteError, ValidationFailedError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator

GOOD: dict[str, Any] = {
    "name": "numbers",
    "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "n", "min_value": 0}}],
}
BAD: dict[str, Any] = {
    "name": "numbers",
    "expectations": [
        *GOOD["expectations"],
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "n", "max_value": 1}},
    ],
}
CRASHING: dict[str, Any] = {
    "name": "numbers",
    "expectations": [{"type": "expect_column_mean_to_be_between", "kwargs": {"column": "text", "min_value": 0}}],
}


@pytest.fixture
def dag_folder(tmp_path: Path) -> Path:
    (tmp_path / "dags").mkdir()
    return tmp_path / "dags"


@pytest.fixture
def context(dag_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return {
        "dag": SimpleNamespace(folder=str(dag_folder)),
        "ti": SimpleNamespace(
            dag_id="loop", run_id="manual__2013", task_id="validate", map_index=-1, xcom_push=lambda **_: None
        ),
        "outlet_events": {},
    }


@pytest.fixture
def dataset(context: Any, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "n.csv").write_text("n,text\n1,a\n2,b\n")
    operator = DatasetSnapshotOperator(task_id="snapshot", dataset_name="numbers", source=str(tmp_path / "n.csv"))
    context["outlet_events"][operator.asset] = SimpleNamespace(extra=None)
    return operator.execute(context)


@pytest.fixture
def validate(context: Any, dataset: dict[str, Any]) -> Callable[..., ValidationReport]:
    def run(suite: Any, **kwargs: Any) -> ValidationReport:
        operator = DataValidationOperator(task_id="validate", suite=suite, **{"dataset": dataset, **kwargs})
        return ValidationReport.from_dict(operator.execute(context))

    return run


def reports(tmp_path: Path) -> tuple[ValidationReport, str]:
    folder = tmp_path / "store/reports/loop/manual__2013/validate"
    document = json.loads((folder / "validation.json").read_text())
    return ValidationReport.from_dict(document), (folder / "validation.html").read_text()


def test_good_data_passes_and_leaves_its_report(
    validate: Callable[..., ValidationReport], dataset: dict[str, Any], tmp_path: Path
) -> None:
    report = validate(GOOD)
    assert report.success
    assert (report.dataset_digest, report.rows, report.outcomes) == (dataset["digest"], 2, ())
    full, html = reports(tmp_path)
    assert (
        full.report_uri
        == report.report_uri
        == str(tmp_path / "store/reports/loop/manual__2013/validate/validation.html")
    )
    assert len(full.outcomes) == 1
    assert "numbers" in html


def test_bad_data_fails_after_its_report_is_written(validate: Callable[..., ValidationReport], tmp_path: Path) -> None:
    with pytest.raises(ValidationFailedError, match=r"1 of 2 expectations .*\(n\): 1 unexpected values .*Report: /"):
        validate(BAD)
    full, _ = reports(tmp_path)
    assert [outcome.success for outcome in full.outcomes] == [True, False]
    assert full.outcomes[1].unexpected_sample == (2,)


def test_skip_skips_after_the_report_is_written(validate: Callable[..., ValidationReport], tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="1 of 2 expectations"):
        validate(BAD, on_failure="skip")
    assert reports(tmp_path)[0].failure_count == 1


def test_warn_goes_on_with_the_verdict(validate: Callable[..., ValidationReport]) -> None:
    report = validate(BAD, on_failure="warn")
    assert (report.success, report.expectation_count, report.failure_count) == (False, 2, 1)
    assert len(report.outcomes) == 1


@pytest.mark.parametrize("on_failure", ["fail", "warn", "skip"])
def test_a_check_that_breaks_fails_the_task_whatever_on_failure_says(
    on_failure: str, validate: Callable[..., ValidationReport], tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match="could not be checked"):
        validate(CRASHING, on_failure=on_failure)
    assert "Not checked" in reports(tmp_path)[1]


def test_a_suite_beside_the_dag_is_found_as_json_and_as_yaml_with_one_digest(
    validate: Callable[..., ValidationReport], dag_folder: Path
) -> None:
    (dag_folder / "suite.json").write_text(json.dumps(GOOD))
    (dag_folder / "suite.yaml").write_text(
        "name: numbers\nexpectations:\n"
        "- type: expect_column_values_to_be_between\n  kwargs: {column: n, min_value: 0}\n"
    )
    digests = {validate(suite).suite_digest for suite in ("suite.json", "suite.yaml", GOOD)}
    assert len(digests) == 1


def test_a_suite_in_the_working_directory_is_found_after_that(
    validate: Callable[..., ValidationReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.json").write_text(json.dumps(GOOD))
    assert validate("here.json").success


def test_a_suite_may_lie_in_any_storage(validate: Callable[..., ValidationReport], tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text(json.dumps(GOOD))
    assert validate(f"file://{tmp_path}/suite.json").success


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, r"suite\.json cannot be read"),
        ("{", r"suite\.json is not JSON"),
        ("[]", r"suite\.json is no expectation suite"),
        ('{"expectations": []}', r"suite\.json has no expectations"),
        ('{"expectations": [{"type": "expect_nothing"}]}', "expect_nothing, is not known"),
    ],
)
def test_a_suite_that_cannot_be_used_says_why(
    text: str | None, reason: str, validate: Callable[..., ValidationReport], dag_folder: Path
) -> None:
    if text is not None:
        (dag_folder / "suite.json").write_text(text)
    with pytest.raises(SuiteError, match=reason):
        validate("suite.json")


def test_a_snapshot_that_is_gone_is_named(validate: Callable[..., ValidationReport], dataset: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="holds no snapshot"):
        validate(GOOD, dataset=dataset | {"uri": "/nowhere"})


def test_what_is_no_snapshot_is_refused(validate: Callable[..., ValidationReport]) -> None:
    with pytest.raises(InvalidInputError, match="Snapshot must be a mapping"):
        validate(GOOD, dataset="flights")


def test_an_unknown_on_failure_fails_when_the_dag_is_read() -> None:
    with pytest.raises(ValueError, match="'ignore' is not a valid OnFailure"):
        DataValidationOperator(task_id="validate", dataset={}, suite={}, on_failure="ignore")  # type: ignore[arg-type] # the point


def test_the_path_of_a_json_suite_is_no_template_file() -> None:
    operator = DataValidationOperator(task_id="validate", dataset={}, suite="no/such/suite.json")
    operator.resolve_template_files()
    assert operator.suite == "no/such/suite.json"


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_what_is_not_critical_is_shown_and_passes(
    severity: str, validate: Callable[..., ValidationReport], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = {"expectations": [item | {"severity": severity} for item in BAD["expectations"]]}
    report = validate(suite)
    assert (report.success, report.failure_count, report.critical_count) == (True, 1, 0)
    assert [outcome.severity for outcome in report.outcomes] == [severity]
    assert "none of these is critical: 1 of 2 expectations" in capsys.readouterr().out
    assert severity in reports(tmp_path)[1]


def test_a_broken_check_that_is_not_critical_fails_nothing(validate: Callable[..., ValidationReport]) -> None:
    suite = {"expectations": [item | {"severity": "info"} for item in CRASHING["expectations"]]}
    report = validate(suite)
    assert (report.success, report.outcomes[0].is_crashed) == (True, True)


def test_a_suite_that_expects_nothing_is_refused_unless_that_is_allowed_in_words(
    validate: Callable[..., ValidationReport],
) -> None:
    with pytest.raises(SuiteError, match="allow_empty=True"):
        validate({"expectations": []})
    assert validate({"expectations": []}, allow_empty=True).success


def test_data_without_rows_is_refused_unless_that_is_allowed_in_words(
    validate: Callable[..., ValidationReport], dataset: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValidationFailedError, match="no rows"):
        validate(GOOD, dataset=dataset | {"rows": 0})
    assert "no rows" in reports(tmp_path)[1]
    assert validate(GOOD, dataset=dataset | {"rows": 0}, allow_empty=True).success


def test_the_memory_limit_is_airflows_setting(
    validate: Callable[..., ValidationReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__DUCKDB_MEMORY_LIMIT", "much")
    with pytest.raises(InvalidInputError, match="much"):
        validate(GOOD)
