"""The writer of the prediction log, as a serving process has it, and its files as a Dag reads them."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.prediction_log import PredictionSchema, ValueType
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.prediction_log import PredictionLog

FEATURES = {"age": int, "income": float, "plan": str, "student": bool, "since": datetime}
SOMEONE = {"age": 33, "income": 1.5, "plan": "basic", "student": False, "since": datetime(2020, 1, 1, tzinfo=UTC)}


def open_log(folder: Path | str, **kwargs: Any) -> PredictionLog:
    settings: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "7",
        "features": FEATURES,
        "prediction": int,
        "has_probability": True,
        "flush_seconds": 3600.0,
    }
    return PredictionLog(folder, **settings | kwargs)


def answer(log: PredictionLog, **kwargs: Any) -> str:
    given: dict[str, Any] = {"features": SOMEONE, "prediction": 1, "probability": 0.8}
    return log.write(**given | kwargs)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(folder.rglob("*.parquet")) for row in pq.ParquetFile(file).read().to_pylist()]


def snapshot_of(source: str, store: Path, monkeypatch: pytest.MonkeyPatch, **window: Any) -> list[dict[str, Any]]:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(store))
    ti = SimpleNamespace(dag_id="watch", run_id="run", task_id="window", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}
    operator = DatasetSnapshotOperator(
        task_id="window", dataset_name="churn_log", source=source, time_column="predicted_at", **window
    )
    return rows_of(Path(operator.execute(context)["uri"]))


def test_what_is_written_is_read_back_as_the_contract_has_it(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        known = answer(log, prediction_id="a", predicted_at=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
        made = answer(log, features=dict.fromkeys(FEATURES), predicted_at=datetime(2026, 3, 2))  # noqa: DTZ001
    first, second = rows_of(tmp_path)
    assert known == "a"
    assert first == {
        "prediction_id": "a",
        "predicted_at": datetime(2026, 3, 1, 23, 30, tzinfo=UTC),
        "model_name": "churn",
        "model_version": "7",
        **SOMEONE,
        "prediction": 1,
        "probability": 0.8,
    }
    assert second["prediction_id"] == made
    assert {second[name] for name in FEATURES} == {None}
    assert sorted(path.name for path in (tmp_path / "v7").iterdir()) == ["2026-03-01", "2026-03-02"]
    assert (log.written, log.refused, log.dropped) == (2, 0, 0)


def test_snapshot_takes_the_window_out_of_the_log_of_all_versions_and_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = timezone(timedelta(hours=5))
    for version in ("7", "8"):
        with open_log(tmp_path / "log", model_version=version) as log:
            for hour in range(0, 72, 6):
                moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hour)
                answer(log, prediction_id=f"{version}-{hour}", predicted_at=moment.astimezone(zone))
    window = {"start": "2026-03-01T12:00", "end": "2026-03-02T12:00"}
    whole = snapshot_of(str(tmp_path / "log"), tmp_path / "store", monkeypatch, **window)
    assert sorted(row["prediction_id"] for row in whole) == sorted(f"{v}-{h}" for v in "78" for h in (12, 18, 24, 30))
    pattern = f"{tmp_path}/log/v8/2026-03-02/*.parquet"
    some = snapshot_of(pattern, tmp_path / "store", monkeypatch, **window)
    assert sorted(row["prediction_id"] for row in some) == ["8-24", "8-30"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"features": SOMEONE | {"age": "33"}}, "age is '33'"),
        ({"features": SOMEONE | {"age": True}}, "integer"),
        ({"features": SOMEONE | {"age": 2**63}}, "integer"),
        ({"features": SOMEONE | {"since": "2020-01-01"}}, "time"),
        ({"features": {**SOMEONE, "extra": 1}}, "extra"),
        ({"features": {"age": 3}}, "lack"),
        ({"features": None}, "keys"),
        ({"prediction": None}, "prediction is missing"),
        ({"prediction": float("nan")}, "prediction is missing"),
        ({"probability": float("nan")}, "from 0 to 1"),
        ({"probability": 1.2}, "from 0 to 1"),
        ({"predicted_at": "today"}, "type time"),
        ({"features": SOMEONE | {"plan": "\ud800"}}, "surrogates"),
    ],
)
def test_row_that_is_wrong_is_told_and_left_out_and_the_answer_goes_out(
    tmp_path: Path, wrong: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_log(tmp_path) as log:
        answer(log, prediction_id="before")
        assert answer(log, prediction_id="wrong", **wrong) == "wrong"
        answer(log, prediction_id="after")
    assert [row["prediction_id"] for row in rows_of(tmp_path)] == ["before", "after"]
    assert (log.written, log.refused, log.dropped) == (2, 1, 0)
    assert why in caplog.text


def test_numpy_values_are_those_of_python(tmp_path: Path) -> None:
    import numpy as np

    with open_log(tmp_path) as log:
        answer(
            log,
            features=SOMEONE | {"age": np.int32(4), "income": np.float32(0.5), "student": np.True_},
            prediction=np.int64(1),
            probability=np.float32(0.25),
        )
    (row,) = rows_of(tmp_path)
    assert (row["age"], row["income"], row["student"], row["probability"]) == (4, 0.5, True, 0.25)


def test_trouble_that_goes_on_is_told_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_log(tmp_path) as log:
        for _ in range(100):
            answer(log, prediction=None)
    assert log.refused == 100
    assert len(caplog.records) == 1


def test_rows_wait_while_the_place_cannot_be_written_to(tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_text("in the way")
    log = open_log(place)
    ids = [answer(log) for _ in range(5)]
    assert not log.flush()
    place.unlink()
    ids.append(answer(log))
    assert log.flush()
    assert [row["prediction_id"] for row in rows_of(place)] == ids
    assert log.dropped == 0


def test_oldest_rows_are_dropped_when_too_many_wait(tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_text("in the way")
    log = open_log(place, flush_rows=3, max_rows=3)
    for number in range(5):
        answer(log, prediction_id=number)
    place.unlink()
    log.close()
    assert [row["prediction_id"] for row in rows_of(place)] == ["2", "3", "4"]
    assert log.dropped == 2


def test_full_buffer_is_written_by_the_log_itself(tmp_path: Path) -> None:
    log = open_log(tmp_path, flush_rows=10)
    ids = [answer(log) for _ in range(10)]
    for _ in range(3000):
        if log.written:
            break
        threading.Event().wait(0.01)
    assert [row["prediction_id"] for row in rows_of(tmp_path)] == ids
    log.close()


def test_threads_lose_nothing_and_write_nothing_twice(tmp_path: Path) -> None:
    ids: list[str] = []
    with open_log(tmp_path, flush_rows=50) as log:
        threads = [threading.Thread(target=lambda: ids.extend(answer(log) for _ in range(500))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(row["prediction_id"] for row in rows_of(tmp_path)) == sorted(ids)
    assert log.written == 4000


def test_closed_log_takes_no_rows(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.close()
    log.close()
    answer(log)
    assert (log.written, log.dropped) == (0, 1)


def in_a_process(code: str, folder: Path) -> subprocess.Popen[str]:
    head = (
        "import os, sys\nfrom airflow_mlops.prediction_log import PredictionLog\n"
        f"def log(**more): return PredictionLog({str(folder)!r}, model_name='m', model_version='1', "
        "features={'x': int}, **more)\n"
    )
    return subprocess.Popen([sys.executable, "-c", head + code], stdout=subprocess.PIPE, text=True)


def test_process_that_ends_without_closing_the_log_has_written_it(tmp_path: Path) -> None:
    with in_a_process("log().write({'x': 1}, prediction=1.0)", tmp_path) as process:
        assert process.wait() == 0
    assert len(rows_of(tmp_path)) == 1


def test_killed_process_leaves_whole_files_only(tmp_path: Path) -> None:
    code = """
log, number = log(flush_rows=20), 0
while True:
    log.write({'x': number}, prediction=1.0)
    number += 1
    if log.written > 200: print(log.written, flush=True)
"""
    with in_a_process(code, tmp_path) as process:
        assert process.stdout is not None
        told = int(process.stdout.readline())
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
    numbers = sorted(row["x"] for row in rows_of(tmp_path))
    assert len(numbers) >= told
    assert numbers == list(range(len(numbers)))


def test_forked_process_has_an_empty_log_of_its_own(tmp_path: Path) -> None:
    code = """
log = log()
log.write({'x': 1}, prediction=1.0)
if os.fork() == 0:
    log.write({'x': 2}, prediction=1.0)
    sys.exit()
os.wait()
"""
    with in_a_process(code, tmp_path) as process:
        assert process.wait() == 0
    assert sorted(row["x"] for row in rows_of(tmp_path)) == [1, 2]


def test_serving_process_imports_neither_airflow_nor_what_measures(tmp_path: Path) -> None:
    code = "import json; log().close(); print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    with in_a_process(code, tmp_path) as process:
        out, _ = process.communicate()
    loaded = set(json.loads(out))
    assert not loaded & {"airflow", "duckdb", "mlflow", "scipy", "evidently"}
    assert "pyarrow" in loaded


def test_object_store_gets_whole_objects() -> None:
    import fsspec

    with open_log("memory://predictions/churn") as log:
        made = answer(log, predicted_at=datetime(2026, 3, 1, tzinfo=UTC))
    filesystem = fsspec.filesystem("memory")
    (file,) = filesystem.find("/predictions/churn/v7/2026-03-01")
    with filesystem.open(file) as content:
        assert [row["prediction_id"] for row in pq.read_table(content).to_pylist()] == [made]
    filesystem.rm("/predictions", recursive=True)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"features": {"label": int}}, "cannot be called 'label'"),
        ({"features": {"Age": int, "age": int}}, "cannot be called 'age'"),
        ({"features": {"x": list}}, "no type"),
        ({"prediction": "complex"}, "no type"),
        ({"flush_rows": 0}, "flush_rows"),
        ({"flush_seconds": 0}, "flush_seconds"),
        ({"folder": "relative"}, "absolute"),
    ],
)
def test_mistake_of_the_author_is_raised_at_once(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        open_log(settings.pop("folder", tmp_path), **settings)


def test_sql_tables_take_the_same_rows_and_refuse_an_id_twice() -> None:
    schema = PredictionSchema(features={"Plan of 2026": ValueType.TEXT}, has_probability=True)
    with sqlite3.connect(":memory:") as database:
        database.execute(schema.ddl("churn_predictions"))
        database.execute(schema.labels_ddl("churn_labels"))
        row = ("a", "2026-03-01T00:00:00+00:00", "churn", "7", "basic", 1.0, 0.8)
        insert = "INSERT INTO churn_predictions VALUES (?, ?, ?, ?, ?, ?, ?)"
        database.execute(insert, row)
        names = [item[0] for item in database.execute("SELECT * FROM churn_predictions").description]
        assert names == list(schema.columns)
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(insert, row)
        for moment in ("2026-03-02", "2026-03-05"):
            database.execute("INSERT INTO churn_labels VALUES ('a', 1, ?)", (moment,))
    database.close()


def test_file_of_a_process_that_died_while_writing_it_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path / "log") as log:
        made = answer(log, predicted_at=datetime(2026, 3, 1, tzinfo=UTC))
    (tmp_path / "log/v7/2026-03-01" / f".part-1.parquet.{os.getpid()}").write_bytes(b"PAR1 and no more")
    found = snapshot_of(str(tmp_path / "log"), tmp_path / "store", monkeypatch)
    assert [row["prediction_id"] for row in found] == [made]
