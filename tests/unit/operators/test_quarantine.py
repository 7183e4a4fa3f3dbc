"""Rows that fail go to a snapshot beside the one of those that pass."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.quarantine import Quarantine
from airflow_mlops.domain.timeliness import Timeliness
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.engines.snapshots import open_snapshot
from airflow_mlops.exceptions import InvalidInputError, SuiteError, ValidationFailedError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.storage import artifact_store, open_storage
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator

ROWS = pa.table({"n": [*range(100), None], "word": [f"w{i % 50}" for i in range(101)]})
BETWEEN = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "n", "max_value": 97}}
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "n"}}
IN_SET = {"type": "expect_column_values_to_not_be_in_set", "kwargs": {"column": "word", "value_set": ["w48", "w7"]}}
COUNT = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 101}}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


class FakeTask:
    """A task instance that remembers its XComs."""

    dag_id, run_id, task_id, map_index = "loop", "run", "validate", -1

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def take(tmp_path: Path, rows: pa.Table = ROWS) -> Snapshot:
    (tmp_path / "in").mkdir(exist_ok=True)
    pq.write_table(rows.slice(0, 60), tmp_path / "in/1.parquet")
    pq.write_table(rows.slice(60), tmp_path / "in/2.parquet")
    operator = DatasetSnapshotOperator(task_id="s", dataset_name="numbers", source=str(tmp_path / "in"))
    context: Any = {"ti": FakeTask(), "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}
    return Snapshot.from_dict(operator.execute(context))


def validate(snapshot: Snapshot, *expectations: Any, **kwargs: Any) -> tuple[ValidationReport, Snapshot]:
    task = FakeTask()
    operator = DataValidationOperator(
        task_id="validate",
        dataset=snapshot.to_dict(),
        suite={"name": "numbers", "expectations": list(expectations)},
        **({"on_failure": "quarantine"} | kwargs),
    )
    context: Any = {"dag": SimpleNamespace(folder="/nowhere"), "ti": task}
    report = operator.execute(context)
    assert len(json.dumps(report)) < 48_000
    return ValidationReport.from_dict(report), Snapshot.from_dict(task.xcoms["snapshot"])


def rows_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    with open_snapshot(open_storage(snapshot.uri)) as local:
        return [row for part in local.parts for row in pq.read_table(part).to_pylist()]


def test_failing_rows_are_put_aside_with_the_names_of_what_they_fail(tmp_path: Path) -> None:
    report, _ = validate(take(tmp_path), BETWEEN, NOT_NULL, IN_SET, max_quarantined=0.06)
    assert report.quarantine is not None
    aside = report.quarantine.quarantined
    assert aside is not None
    assert aside.dataset_name == "numbers.quarantine"
    between, null, word = (
        "expect_column_values_to_be_between(n)",
        "expect_column_values_to_not_be_null(n)",
        "expect_column_values_to_not_be_in_set(word)",
    )
    assert rows_of(aside) == [
        {"n": 7, "word": "w7", "failed_expectations": [word]},
        {"n": 48, "word": "w48", "failed_expectations": [word]},
        {"n": 57, "word": "w7", "failed_expectations": [word]},
        {"n": 98, "word": "w48", "failed_expectations": [between, word]},
        {"n": 99, "word": "w49", "failed_expectations": [between]},
        {"n": None, "word": "w0", "failed_expectations": [null]},
    ]


def test_downstream_gets_the_rows_that_pass(tmp_path: Path) -> None:
    taken = take(tmp_path)
    report, passing = validate(taken, BETWEEN, NOT_NULL)
    assert [row["n"] for row in rows_of(passing)] == list(range(98))
    assert passing.dataset_name == "numbers"
    assert passing.digest != taken.digest
    assert (report.success, report.failure_count) == (False, 2)
    assert validate(passing, BETWEEN, NOT_NULL)[0].success


@pytest.mark.parametrize("on_failure", ["fail", "warn", "quarantine"])
def test_where_all_is_well_downstream_gets_the_snapshot_itself(on_failure: str, tmp_path: Path) -> None:
    taken = take(tmp_path)
    report, passing = validate(taken, COUNT, on_failure=on_failure)
    assert report.quarantine is None
    assert passing == taken


def test_repeating_it_writes_nothing_twice(tmp_path: Path, store: Path) -> None:
    taken = take(tmp_path)
    _, first = validate(taken, BETWEEN)
    before = {path: path.stat().st_mtime_ns for path in (store / "datasets").rglob("*") if path.is_file()}
    report, second = validate(taken, BETWEEN)
    assert (first.created, second.created, second.digest) == (True, False, first.digest)
    assert report.quarantine is not None
    assert report.quarantine.quarantined is not None
    assert not report.quarantine.quarantined.created
    assert {path: path.stat().st_mtime_ns for path in (store / "datasets").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("expectations", "kwargs", "reason"),
    [
        ([BETWEEN], {"max_quarantined": 0.01}, r"2 of 101 rows fail \(1\.98%\), and max_quarantined is 1\.00%"),
        ([COUNT | {"kwargs": {"min_value": 102}}, BETWEEN], {}, "expect_table_row_count_to_be_between says nothing"),
        ([BETWEEN, COUNT], {}, "the rows that are left fail expect_table_row_count_to_be_between: observed 99"),
        ([BETWEEN | {"kwargs": {"column": "n", "min_value": 200}}, NOT_NULL], {"max_quarantined": 1}, "no row passes"),
    ],
)
def test_a_disaster_fails_the_task_and_puts_nothing_aside(
    expectations: Any, kwargs: Any, reason: str, tmp_path: Path, store: Path
) -> None:
    taken = take(tmp_path)
    with pytest.raises(ValidationFailedError, match=f"No rows were quarantined: {reason}"):
        validate(taken, *expectations, **kwargs)
    assert [path.name for path in (store / "datasets").iterdir() if any(path.iterdir())] == ["numbers"]
    assert [path.name for path in (store / "datasets/numbers").iterdir()] == [taken.digest]
    report = (artifact_store() / "reports/loop/run/validate/validation.json").read_json()
    assert Quarantine.from_dict(report["quarantine"]).refusal


@pytest.mark.parametrize("timely", [{"max_age": timedelta(hours=1)}, {"min_rows": 24}])
def test_rows_that_are_left_must_still_be_fresh_and_many(timely: Any, tmp_path: Path) -> None:
    newest = datetime(2026, 1, 2, tzinfo=UTC)
    times = [newest - timedelta(hours=hours) for hours in range(100, -1, -1)]
    taken = take(tmp_path, ROWS.append_column("at", pa.array(times)))
    with pytest.raises(ValidationFailedError, match="the rows that are left fail"):
        validate(
            taken,
            BETWEEN,
            timeliness=Timeliness(time_column="at", **timely),
            as_of=(newest - timedelta(hours=1, minutes=-1)).isoformat(),
        )


def test_every_row_of_a_duplicate_is_put_aside(tmp_path: Path) -> None:
    unique = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "n"}}
    rows = pa.table({"n": [1, 2, 3, 2, 4, None, None], "word": list("abcdefg")})
    _, passing = validate(take(tmp_path, rows), unique, max_quarantined=0.5)
    assert [row["word"] for row in rows_of(passing)] == ["a", "c", "e", "f", "g"]


def test_a_check_that_breaks_puts_nothing_aside(tmp_path: Path) -> None:
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "word", "min_value": 1}}
    with pytest.raises(SuiteError):
        validate(take(tmp_path), mean, BETWEEN)


def test_both_snapshots_stand_in_the_audit_trail(tmp_path: Path) -> None:
    report, passing = validate(take(tmp_path), BETWEEN)
    assert report.quarantine is not None
    assert report.quarantine.quarantined is not None
    for snapshot in (passing, report.quarantine.quarantined):
        trail = audit_trail().trail(Chain.of_dataset(snapshot.dataset_name))
        entries = trail.entries(Chain.of_dataset(snapshot.dataset_name))
        assert entries[-1].happening.digests == {"dataset": snapshot.digest}


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_between_none_and_all(share: float) -> None:
    with pytest.raises(InvalidInputError, match="must be a share"):
        DataValidationOperator(task_id="v", dataset={}, suite="s.json", max_quarantined=share)


def test_a_name_of_the_data_is_not_taken_for_the_labels(tmp_path: Path) -> None:
    rows = pa.table({"n": [*range(100)], "failed_expectations": ["x"] * 100})
    report, _ = validate(take(tmp_path, rows), BETWEEN)
    assert report.quarantine is not None
    assert report.quarantine.quarantined is not None
    first = rows_of(report.quarantine.quarantined)[0]
    assert first == {
        "n": 98,
        "failed_expectations": "x",
        "_failed_expectations": ["expect_column_values_to_be_between(n)"],
    }
