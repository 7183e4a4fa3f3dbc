"""The history of a watched model is kept in its champion's MLflow run, where a browser can open it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.links.mlflow import HistoryLink
from airflow_mlops.operators.retraining import RetrainDecisionOperator

pytestmark = pytest.mark.integration


def test_history_is_linked_in_the_run_of_the_champion(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    client, name = MlflowClient(mlflow_server, mlflow_server), "model-history"
    run = client.create_run(client.create_experiment(name))
    client.create_registered_model(name)
    version = client.create_model_version(name, "s3://nowhere/model", run_id=run.info.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    check = WindowCheck(
        kind=CheckKind.DATA_DRIFT,
        window=Window.parse("2026-03-01", "2026-03-02"),
        verdict=CheckVerdict.PASSED,
        model_name=name,
        model_version="1",
        rows=100,
    )
    links: dict[str, str] = {}
    ti = SimpleNamespace(
        dag_id="watch",
        run_id="r",
        task_id="decide",
        map_index=-1,
        xcom_push=lambda key, value: links.update({key: value}),
    )
    context: Any = {"ti": ti, "outlet_events": {}}
    RetrainDecisionOperator(task_id="decide", model_name=name, checks=[check.to_dict()]).execute(context)
    assert [item.path for item in client.list_artifacts(run.info.run_id, "monitoring")] == ["monitoring/history.html"]
    experiment = run.info.experiment_id
    place = f"#/experiments/{experiment}/runs/{run.info.run_id}/artifacts/monitoring/history.html"
    assert links[HistoryLink.key] == f"{mlflow_server}/{place}"
