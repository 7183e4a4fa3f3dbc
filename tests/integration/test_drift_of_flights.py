"""The months of 2013 after the champion's training, as docs/drift.md tells of them."""

import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift.report import DriftReport
from airflow_mlops.domain.monitoring import CheckVerdict, WindowCheck
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.drift import DriftCheckOperator
from dags.continuous_training import FEATURES, TARGET, TIME_COLUMN
from demo.flights import write_months

from .test_drift_operator import report_of
from .test_evaluation_operator import loop
from .test_promotion_operators import Loop

__all__ = ["loop"]  # a fixture
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

MONTHS = range(3, 13)
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
DOCS = Path(__file__).parents[2] / "docs" / "drift.md"


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    write_months(folder)
    return folder


def first_of(month: int) -> str:
    return datetime(2013 + month // 13, (month - 1) % 12 + 1, 1, tzinfo=UTC).isoformat()


def flights(months: Path, name: str, start: int, end: int) -> Snapshot:
    take = DatasetSnapshotOperator(
        task_id="take",
        dataset_name=name,
        source=[str(months / f"flights-2013-{month:02}.parquet") for month in range(start, end)],
        time_column=TIME_COLUMN,
        start=first_of(start),
        end=first_of(end),
    )
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


@pytest.fixture
def windows(loop: Loop, months: Path) -> dict[int, Snapshot]:
    """Make a champion that was trained on January and February, and take the months after as windows."""
    training = flights(months, "flights", 1, 3)
    known: dict[str, Any] = {
        "dataset_name": "flights",
        "dataset_digest": training.digest,
        "dataset_uri": training.uri,
    }
    loop.mlflow.set_alias(loop.register(loop.train(b"flights", **known)), CHAMPION)
    return {month: flights(months, "window", month, month + 1) for month in MONTHS}


def watch(loop: Loop, windows: dict[int, Snapshot], **spec: Any) -> dict[int, DriftReport]:
    found = {}
    for month, window in windows.items():
        operator = DriftCheckOperator(
            task_id=f"drift-{month}",
            model_name=loop.model_name,
            current=window.to_dict(),
            window_start=first_of(month),
            window_end=first_of(month + 1),
            spec={"columns": FEATURES, "label": [TARGET], **spec},
            evidently_report=False,
        )
        found[month] = report_of(WindowCheck.from_dict(operator.execute(loop.context(operator))))
    return found


def check_docs(month: int, report: DriftReport) -> None:
    """Hold a line of the table in the docs to what was measured; its last number is of another test."""
    values = {item.column: item.value for item in report.drift.all_columns}
    name = f"{datetime(2013, month, 1, tzinfo=UTC):%B}"
    [told] = re.findall(rf"^\| {name} \| (.*) \|$", DOCS.read_text(), flags=re.MULTILINE)
    rows, drifted, schedule, *numbers, _auc = told.split(" | ")
    assert rows == f"{report.drift.current.rows:,}"
    assert drifted == f"{len(report.drift.drifted)} of {report.drift.compared}"
    assert int(schedule) == sum(item.drifted for item in report.drift.columns if item.column not in WEATHER)
    found = [values[name] for name in ("temp", "dewp", "pressure", "dest", TARGET)]
    assert [float(number) for number in numbers] == pytest.approx(found, abs=0.01)


def test_weather_drifts_in_every_month_and_the_schedule_does_not_as_the_docs_tell(
    loop: Loop, windows: dict[int, Snapshot], months: Path
) -> None:
    found = watch(loop, windows)
    assert {report.verdict for report in found.values()} == {CheckVerdict.VIOLATED}
    assert all(0.5 <= report.drift.share < 0.7 for report in found.values())
    furthest = max(MONTHS, key=lambda month: _value(found[month], "temp"))
    assert (furthest, round(_value(found[7], "temp"), 1)) == (7, 5.2)
    moved = {item.column for report in found.values() for item in report.drift.drifted}
    assert moved - set(WEATHER) == {"minute", "dest"}  # barely, as the table shows
    assert not any(report.drift.label[0].drifted for report in found.values())
    assert [report.volume for report in found.values() if report.volume and not 0.9 < report.volume.ratio < 1.15] == []
    for month, report in found.items():
        check_docs(month, report)
    _agrees_with_evidently(found[7], months)
    [seasonal] = re.findall(r"SEASONAL = (\(.*?\))", DOCS.read_text())
    columns = [name for name in FEATURES if f'"{name}"' not in seasonal]
    assert {*FEATURES} - {*columns} == {*WEATHER}
    expected = watch(loop, {month: windows[month] for month in (4, 7, 12)}, columns=columns)
    assert {report.verdict for report in expected.values()} == {CheckVerdict.PASSED}


def _value(report: DriftReport, column: str) -> float:
    [value] = [item.value for item in report.drift.columns if item.column == column]
    assert value is not None
    return value


def _agrees_with_evidently(report: DriftReport, months: Path) -> None:
    """Hold July to Evidently's preset, which is left to choose and sees all rows."""
    names = ", ".join(FEATURES)
    with duckdb.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import Dataset, Report
        from evidently.presets import DataDriftPreset

        before, now = (
            connection.sql(f"select {names} from read_parquet({files})").df()  # noqa: S608 - own names
            for files in (
                [str(months / f"flights-2013-{month:02}.parquet") for month in (1, 2)],
                [str(months / "flights-2013-07.parquet")],
            )
        )
        result = Report([DataDriftPreset()]).run(Dataset.from_pandas(now), Dataset.from_pandas(before)).dict()
    theirs = {
        item["config"]["column"]: (item["config"]["method"], float(item["value"]))
        for item in result["metrics"]
        if "column" in item["config"]
    }
    [counted] = [item["value"] for item in result["metrics"] if "drift_share" in item["config"]]
    assert counted["count"] == len(report.drift.drifted)
    for item in report.drift.columns:
        assert item.value == pytest.approx(theirs[item.column][1], abs=0.003 + (item.error or 0)), item.column
        assert theirs[item.column][0].lower().startswith(item.method[:6]), (item.column, theirs[item.column][0])
