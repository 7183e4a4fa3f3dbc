import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_mlops.exceptions import DatasetError
from airflow_mlops.prediction_log import PredictionLog
from airflow_mlops.sensors.ground_truth import GroundTruthSensor
from airflow_mlops.triggers.files import NewFilesTrigger, listing

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
CONTEXT: Any = {}


def answer(log: Path, *ids: str, at: datetime = START, model_name: str = "late", version: str = "1") -> None:
    with PredictionLog(log, model_name=model_name, model_version=version, features={"x": float}) as written:
        for name in ids:
            written.write({"x": 1.0}, prediction=0.5, prediction_id=name, predicted_at=at)


def label(labels: Path, name: str, **by_id: float | None) -> None:
    labels.mkdir(exist_ok=True)
    pq.write_table(
        pa.table({"prediction_id": list(by_id), "label": pa.array(by_id.values())}), labels / f"{name}.parquet"
    )


def sensor(folder: Path, **kwargs: Any) -> GroundTruthSensor:
    return GroundTruthSensor(
        task_id="wait",
        model_name="late",
        log=str(folder / "log"),
        labels=str(folder / "labels"),
        window_start=str(START),
        window_end=str(START + DAY),
        **{"deferrable": False, **kwargs},
    )


def look(folder: Path, **kwargs: Any) -> tuple[bool, Any]:
    found = sensor(folder, **kwargs).poke(CONTEXT)
    return found.is_done, found.xcom_value


def test_before_there_are_answers_and_labels_it_waits(tmp_path: Path) -> None:
    assert look(tmp_path) == (False, {"answers": 0, "labelled": 0})
    answer(tmp_path / "log", "a", "b")
    assert look(tmp_path) == (False, {"answers": 2, "labelled": 0})


@pytest.mark.parametrize(("share", "is_done"), [(0.5, True), (0.51, False)])
def test_it_goes_on_from_the_share_on_that_was_asked_for(tmp_path: Path, share: float, is_done: bool) -> None:
    answer(tmp_path / "log", "a", "b")
    label(tmp_path / "labels", "first", a=1.0)
    assert look(tmp_path, share=share) == (is_done, {"answers": 2, "labelled": 1})


def test_labels_of_other_answers_twice_or_empty_do_not_count(tmp_path: Path) -> None:
    answer(tmp_path / "log", "a", "b", "c")
    answer(tmp_path / "log", "other", model_name="churn")
    answer(tmp_path / "log", "later", at=START + DAY)
    label(tmp_path / "labels", "first", a=1.0, other=1.0, later=1.0, nobody=1.0)
    label(tmp_path / "labels", "second", a=0.0, b=None)
    assert look(tmp_path) == (False, {"answers": 3, "labelled": 1})


def test_answers_of_all_versions_count(tmp_path: Path) -> None:
    answer(tmp_path / "log", "a")
    answer(tmp_path / "log", "b", version="2")
    label(tmp_path / "labels", "first", a=1.0, b=0.0)
    assert look(tmp_path) == (True, {"answers": 2, "labelled": 2})


def test_labels_may_be_csv(tmp_path: Path) -> None:
    answer(tmp_path / "log", "007")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "labels.csv").write_text("prediction_id,label\n007,1\n")
    assert look(tmp_path)[0]


def test_labels_without_their_columns_are_an_error(tmp_path: Path) -> None:
    answer(tmp_path / "log", "a")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "labels.csv").write_text("id,label\na,1\n")
    with pytest.raises(DatasetError, match="prediction_id"):
        look(tmp_path)


@pytest.mark.parametrize("labels", ["", "None", None])
def test_model_without_labels_is_not_held_up(tmp_path: Path, labels: str | None) -> None:
    waiting = sensor(tmp_path, deferrable=True)
    waiting.labels = labels
    assert waiting.execute(CONTEXT) is None


def test_deferred_it_waits_for_files_and_looks_again_until_its_deadline(tmp_path: Path) -> None:
    waiting = sensor(tmp_path, deferrable=True, timeout=3600, poke_interval=0.01)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(CONTEXT)
    trigger, resumed = deferred.value.trigger, deferred.value.kwargs or {}
    assert isinstance(trigger, NewFilesTrigger)
    assert timedelta(seconds=3500) < (deferred.value.timeout or timedelta()) <= timedelta(seconds=3600)

    answer(tmp_path / "log", "a")
    asyncio.run(first_event(trigger))
    with pytest.raises(TaskDeferred) as again:
        waiting.execute_complete(CONTEXT, {}, **resumed)
    assert again.value.kwargs == resumed

    label(tmp_path / "labels", "first", a=1.0)
    assert again.value.trigger is not None
    asyncio.run(first_event(again.value.trigger))
    assert waiting.execute_complete(CONTEXT, {}, **resumed) == {"answers": 1, "labelled": 1}


def test_labels_that_came_during_the_look_end_the_wait_at_once(tmp_path: Path) -> None:
    seen = listing([str(tmp_path / "labels")])
    label(tmp_path / "labels", "first", a=1.0)
    asyncio.run(first_event(NewFilesTrigger(addresses=[str(tmp_path / "labels")], seen=seen, poll_interval=999)))


def test_trigger_survives_the_triggerer() -> None:
    name, arguments = NewFilesTrigger(addresses=["/a/*.csv"], seen="x", poll_interval=5).serialize()
    assert name == "airflow_mlops.triggers.files.NewFilesTrigger"
    assert NewFilesTrigger(**arguments).serialize() == (name, arguments)


async def first_event(trigger: Any) -> Any:
    return await asyncio.wait_for(anext(trigger.run()), 10)
