"""What the process is told that ends a job for a task which was killed."""

import json

import pytest

from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.salvage import _settings


@pytest.mark.parametrize(
    "engine",
    [
        DockerEngine(url="tcp://host:2376", username="me", grace_seconds=7.0),
        MlflowEngine(tracking_uri="http://mlflow", environment={"MLFLOW_TRACKING_TOKEN": "t"}),
    ],
)
def test_engine_is_made_again_from_what_crosses_the_pipe(engine: DockerEngine | MlflowEngine) -> None:
    crossed = json.loads(json.dumps(_settings(engine)))
    assert type(engine)(**crossed) == engine
