"""A deferred training in a real Dag run: the task, its state store, its trigger, and the task again."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.docker,
    pytest.mark.filterwarnings("ignore"),  # Airflow's own API server, which runs within, has warnings of its own.
]

SCRIPT = """
sleep 2
echo '{"auc": 0.7}' > /opt/ml/output/data/metrics.json
echo > /opt/ml/model/MLmodel
"""
DAG = """
from airflow.sdk import DAG
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.training import DockerTrainingOperator

with DAG(dag_id="deferred_training", schedule=None):
    snapshot = DatasetSnapshotOperator(task_id="snapshot", dataset_name="numbers", source=SOURCE)
    DockerTrainingOperator(
        task_id="train",
        dataset=snapshot.output,
        experiment_name="deferred in Airflow",
        image=IMAGE,
        program=("sh", "-c", SCRIPT),
        limits={"memory_mb": 64},
        deferrable=True,
    )
"""


@pytest.fixture
def dag(airflow_db: None, shell_image: str, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    (tmp_path / "n.csv").write_text("n\n1\n2\n")
    (tmp_path / "dags").mkdir()
    code = DAG.replace("SOURCE", repr(str(tmp_path / "n.csv"))).replace("IMAGE", repr(shell_image))
    code = code.replace("SCRIPT", repr(SCRIPT))
    (tmp_path / "dags/dag.py").write_text(code)
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    bag = DagBag(dag_folder=tmp_path / "dags", bundle_path=tmp_path / "dags", bundle_name="tests")
    assert not bag.import_errors
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)
    return bag.dags["deferred_training"]


def test_a_deferred_training_is_one_task_one_run_and_one_model(dag: Any, mlflow_server: str) -> None:
    from mlflow import MlflowClient

    result = dag.test(logical_date=dt.datetime.now(dt.UTC))
    instances = {ti.task_id: ti for ti in result.get_task_instances()}
    assert {name: str(ti.state) for name, ti in instances.items()} == {"snapshot": "success", "train": "success"}
    training = instances["train"].xcom_pull(task_ids="train")
    run = MlflowClient(mlflow_server).get_run(training["run_id"])
    assert (run.info.status, run.data.metrics["auc"]) == ("FINISHED", 0.7)
