from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window
from airflow_mlops.domain.prediction_log import may_hold
from airflow_mlops.engines.snapshots import read_manifest
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.hooks.monitoring import monitoring_records
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.prediction_window import PredictionWindowOperator, production_dataset
from airflow_mlops.prediction_log import PredictionLog

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two versions answered once every six hours, for three days."""
    for version in ("1", "2"):
        with PredictionLog(
            tmp_path / "log", model_name="late", model_version=version, features={"x": float}, flush_seconds=999
        ) as log:
            for number in range(12):
                log.write({"x": 1.0}, prediction=0.5, predicted_at=START + number * DAY / 4)
    return tmp_path / "log"


def take(log: Path, start: datetime = START, end: datetime = START + DAY, **more: Any) -> dict[str, Any]:
    task = PredictionWindowOperator(
        task_id="window", model_name="late", log=str(log), window_start=str(start), window_end=str(end), **more
    )
    ti = SimpleNamespace(dag_id="watch", run_id="run", task_id="window", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}
    return task.execute(context)


def quality(start: datetime = START, end: datetime = START + DAY) -> Any:
    return monitoring_records("late").checks(Window(start=start, end=end))[CheckKind.QUALITY]


def test_window_holds_the_answers_of_its_time_and_reads_the_files_of_its_days_alone(log: Path) -> None:
    snapshot = take(log)
    assert snapshot["dataset_name"] == "production-late"
    assert snapshot["rows"] == 8
    sources = read_manifest(open_storage(snapshot["uri"])).sources
    assert {Path(source.uri).parent.name for source in sources} == {"2026-03-01"}
    assert quality().verdict is CheckVerdict.PASSED


def test_version_with_other_features_has_a_window_of_its_own(log: Path) -> None:
    with PredictionLog(
        log, model_name="late", model_version="3", features={"y": str}, flush_seconds=999, prediction=float
    ) as other:
        other.write({"y": "new"}, prediction=0.5, predicted_at=START)
    with pytest.raises(DatasetError, match="All files of a dataset need the same columns"):
        take(log)
    assert take(log, model_version="3")["rows"] == 1
    assert take(log, model_version="2")["rows"] == 4
    with pytest.raises(AirflowSkipException, match="lies in a folder v4"):
        take(log, model_version="4")


def test_window_across_midnight_reads_both_days(log: Path) -> None:
    assert take(log, START + DAY / 2, START + DAY * 3 / 2)["rows"] == 8


def test_log_without_folders_of_days_is_read_as_a_whole(log: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(log.rglob("*.parquet"))):
        file.rename(flat / f"{number}.parquet")
    assert take(flat)["rows"] == 8


@pytest.mark.parametrize("later", [DAY * 10, timedelta(minutes=1)])
def test_window_without_an_answer_is_bad_data_and_skips_what_follows(log: Path, later: timedelta) -> None:
    start, end = START + later, START + later + timedelta(hours=1)
    with pytest.raises(AirflowSkipException, match="late gave no answer from"):
        take(log, start, end)
    found = quality(start, end)
    assert found.verdict is CheckVerdict.VIOLATED
    assert found.rows == 0
    assert "gave no answer" in found.reasons[0]


def test_log_that_is_not_there_is_bad_data_too(tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="Nothing is at"):
        take(tmp_path / "nowhere")


def test_answers_that_arrive_late_replace_the_record_that_there_were_none(log: Path, tmp_path: Path) -> None:
    hidden = log.rename(tmp_path / "hidden")
    with pytest.raises(AirflowSkipException):
        take(log)
    hidden.rename(log)
    take(log)
    assert quality().verdict is CheckVerdict.PASSED


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("v1/2026-03-01/part.parquet", True),
        ("v1/2026-03-02/part.parquet", False),
        ("v1/2026-02-28/part.parquet", False),
        ("v1/part-2026-03-09.parquet", True),
        ("2020-01-01/v1/2026-03-01/part.parquet", True),
        ("v1/2026-02-30/part.parquet", True),
    ],
)
def test_folder_that_is_called_after_a_day_holds_that_day(path: str, holds: bool) -> None:
    assert may_hold(path, Window(start=START, end=START + DAY)) is holds


def test_model_of_any_name_has_a_dataset() -> None:
    assert production_dataset("Flights: late?") == "production-Flights--late-"
