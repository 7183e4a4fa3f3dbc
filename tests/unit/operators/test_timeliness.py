"""Freshness and volume, judged from the day of the run and not from today."""

import datetime as dt
import json
import sqlite3
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.timeliness import FoundTimes, Timeliness
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.exceptions import DatasetError, InvalidInputError, ValidationFailedError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator

DAY = dt.timedelta(days=1)
SUITE = {"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "at"}}]}


def at(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2026, 1, day, hour, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """One row on the 1st, two on the 2nd, none on the 3rd, four on the 4th."""
    days = [1, 2, 2, 4, 4, 4, 4]
    file = tmp_path / "t.csv"
    file.write_text("at,n\n" + "".join(f"2026-01-{day:02}T10:00:00,{i}\n" for i, day in enumerate(days)))
    return file


def context(moment: dt.datetime) -> Any:
    """A run of Airflow 3's own timetable of a cron expression: its interval begins and ends at the logical date."""
    return {
        "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, xcom_push=lambda **_: None),
        "dag": SimpleNamespace(folder="/nowhere"),
        "dag_run": SimpleNamespace(data_interval_end=moment, logical_date=moment, run_after=moment, run_type="x"),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None)),
    }


def validate(csv: Path, moment: dt.datetime, timeliness: Timeliness, **kwargs: Any) -> ValidationReport:
    snapshot = DatasetSnapshotOperator(task_id="s", dataset_name="t", source=str(csv)).execute(context(moment))
    operator = DataValidationOperator(
        task_id="t", dataset=snapshot, suite=SUITE, timeliness=timeliness, **({"on_failure": "warn"} | kwargs)
    )
    return ValidationReport.from_dict(operator.execute(context(moment)))


@pytest.mark.parametrize(
    ("moment", "is_fresh", "newest"),
    [
        (at(2), True, "01T10"),
        (at(3), True, "02T10"),
        (at(4), False, "02T10"),
        (at(5), True, "04T10"),
        (at(1), False, None),
    ],
)
def test_a_backfill_is_judged_by_its_own_day(
    moment: dt.datetime, is_fresh: bool, newest: str | None, csv: Path
) -> None:
    report = validate(csv, moment, Timeliness(time_column="at", max_age=DAY))
    assert report.success is is_fresh
    for outcome in report.failed:
        expected = f"2026-01-{newest}:00:00+00:00" if newest else None
        assert (outcome.type, outcome.observed["newest"]) == ("freshness", expected)


@pytest.mark.parametrize(
    ("moment", "passes"),
    [(at(2), False), (at(3), True), (at(4), False), (at(5), False), (at(2, 10), False), (at(2, 11), True)],
)
def test_volume_counts_the_rows_of_the_day_before_the_moment(moment: dt.datetime, passes: bool, csv: Path) -> None:
    assert validate(csv, moment, Timeliness(time_column="at", min_rows=2, max_rows=3)).success is passes


def test_as_of_names_another_moment(csv: Path) -> None:
    fresh = Timeliness(time_column="at", max_age=DAY)
    assert not validate(csv, at(10), fresh).success
    assert validate(csv, at(10), fresh, as_of="2026-01-05").success
    with pytest.raises(DatasetError, match="as_of is 'soon'"):
        validate(csv, at(10), fresh, as_of="soon")


def test_stale_data_fails_the_task_and_is_never_quarantined(csv: Path) -> None:
    fresh = Timeliness(time_column="at", max_age=DAY)
    with pytest.raises(ValidationFailedError, match=r"freshness\(at\): observed .*02T10"):
        validate(csv, at(4), fresh, on_failure="fail")
    with pytest.raises(ValidationFailedError, match="freshness says nothing about single rows"):
        validate(csv, at(4), fresh, on_failure="quarantine")


@pytest.mark.parametrize(("column", "reason"), [("att", "no time column 'att'"), ("n", "'n' of The dataset is BIGINT")])
def test_a_column_without_times_is_an_error(column: str, reason: str, csv: Path) -> None:
    with pytest.raises(DatasetError, match=reason):
        validate(csv, at(2), Timeliness(time_column=column, max_age=DAY))


def test_the_same_is_asked_of_a_table_in_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "d")}))
    connection = sqlite3.connect(tmp_path / "d")
    with connection:
        connection.execute("CREATE TABLE t (at TEXT)")
        times = ["2026-01-01T10:00:00", "2026-01-02 10:00:00", "2026-01-02T12:00:00+02:00", None]
        connection.executemany("INSERT INTO t VALUES (?)", [(time,) for time in times])
    connection.close()

    def failed(moment: dt.datetime) -> list[str]:
        operator = DataValidationOperator(
            task_id="t",
            conn_id="lite",
            table="t",
            suite=SUITE,
            timeliness=Timeliness(time_column="at", max_age=DAY, min_rows=2),
            on_failure="warn",
        )
        return [outcome.type for outcome in ValidationReport.from_dict(operator.execute(context(moment))).failed]

    assert failed(at(3)) == []
    assert failed(at(2)) == ["volume"]
    assert failed(at(4)) == ["freshness", "volume"]


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"max_age": -DAY}, {"min_rows": 3, "max_rows": 2}, {"min_rows": 1, "period": dt.timedelta(0)}],
)
def test_what_asks_for_nothing_or_can_never_be_is_refused(kwargs: Any) -> None:
    with pytest.raises(InvalidInputError):
        Timeliness(time_column="at", **kwargs)


def test_a_row_of_just_the_greatest_age_is_fresh() -> None:
    fresh = Timeliness(time_column="at", max_age=DAY)
    assert fresh.judge(FoundTimes(newest=at(1), rows=0), at(2))[0].success
    assert not fresh.judge(FoundTimes(newest=at(1), rows=0), at(2, 1))[0].success
