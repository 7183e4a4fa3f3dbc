"""The Dag of monitoring can be read by Airflow, says which windows it looks at, and closes the loop on small data."""

import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.engines.mlflow import MlflowEngine
from tests.dags.watched import MONTHS, promote_champion, serve
from tests.integration.test_promotion_operators import Loop

DAGS = Path(__file__).parents[2] / "dags"
SOURCE = (DAGS / "model_monitoring.py").read_text()


@pytest.fixture(scope="module")
def dag(airflow_db: None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS / "model_monitoring.py"))
    assert bag.import_errors == {}
    return bag.get_dag("model_monitoring")


def read(folder: Path, source: str) -> Any:
    """Read a variant of the Dag as Airflow does, and give it to the scheduler."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    (folder / "dags").mkdir()
    (folder / "dags/model_monitoring.py").write_text(source)
    bag = DagBag(dag_folder=folder / "dags", bundle_path=folder / "dags", bundle_name="tests")
    assert bag.import_errors == {}
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)
    return bag.get_dag("model_monitoring")


def test_checks_of_a_window_follow_each_other(dag: Any) -> None:
    follows = {task.task_id.removeprefix("watch."): set(task.downstream_task_ids) for task in dag.tasks}
    checks = {"watch.drift", "watch.performance", "watch.bias"}
    assert follows == {
        "labels": {"watch.window"},
        "window": {"watch.validate", "watch.decide", *checks},
        "validate": {"watch.decide"},
        **{check.removeprefix("watch."): {"watch.decide"} for check in checks},
        "decide": set(),
    }


def test_missed_months_are_caught_up_one_after_the_other(dag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    serialized: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    windows = list(serialized.iter_dagrun_infos_between(None, datetime(2026, 1, 1, tzinfo=UTC), align=True))
    spans = [(f"{info.data_interval.start:%m-%d}", f"{info.data_interval.end:%m-%d}") for info in windows]
    assert spans[:2] == [("04-01", "05-01"), ("05-01", "06-01")]
    assert len(spans) == 9
    assert serialized.catchup
    assert serialized.max_active_runs == 1


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # Airflow's own API server, which runs within, has warnings of its own.
def test_two_bad_months_of_one_model_ask_for_one_training(
    airflow_db: None, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    name = f"watched-{zlib.crc32(str(tmp_path).encode()):08x}"
    promote_champion(Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path))
    for month, skill in ((4, 0.8), (5, 0.1), (6, 0.1), (7, 0.1)):
        serve(tmp_path / "production", name, MONTHS[month], 600, skill=skill)
    dag = read(
        tmp_path, SOURCE.replace("/data/production", str(tmp_path / "production")).replace("flight-delays", name)
    )

    for month in (4, 5, 6, 7):
        run = dag.test(logical_date=MONTHS[month])
        print({(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()})
        for ti in run.get_task_instances():
            print(ti.task_id, ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index))
    raise AssertionError
