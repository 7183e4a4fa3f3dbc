"""The MLflow engine on a real server: what is written twice is there once, and what is wrong is told apart."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job_figures import MetricStep
from airflow_mlops.domain.registry import TAG_MODEL_DIGEST, ModelVersion
from airflow_mlops.domain.training import RunRef
from airflow_mlops.engines.fsspec import tree_digest
from airflow_mlops.engines.mlflow import LoggedModel, MlflowEngine
from airflow_mlops.exceptions import InvalidInputError, MlflowUnavailableError, RegistryError

pytestmark = pytest.mark.integration

SNAPSHOT = Snapshot(dataset_name="flights", digest="f" * 64, uri="/data/f", rows=4, created=True)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has: the server is shared."""
    return str(request.node.name)


@pytest.fixture
def mlflow(mlflow_server: str) -> MlflowEngine:
    return MlflowEngine(tracking_uri=mlflow_server)


@pytest.fixture
def run(mlflow: MlflowEngine, name: str) -> RunRef:
    return mlflow.start_run(experiment_name=name, run_name="first", work_key="k" * 32, tags={"a": "1"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model directory: files are files to MLflow, the unpickling is the job's."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {python_function: {loader_module: x}}\nmodel_uuid: 1\n")
    (model / "weights.bin").write_bytes(bytes(range(256)))
    return model


@pytest.fixture
def logged(mlflow: MlflowEngine, run: RunRef, folder: Path) -> LoggedModel:
    return mlflow.log_model(run, folder, name="model", params={})


Register = Callable[[], tuple[ModelVersion, bool]]


@pytest.fixture
def register(mlflow: MlflowEngine, run: RunRef, logged: LoggedModel, name: str) -> Register:
    def call() -> tuple[ModelVersion, bool]:
        return mlflow.register(
            model_name=name,
            run_id=run.run_id,
            model_id=logged.model_id,
            source=logged.uri,
            tags={TAG_MODEL_DIGEST: logged.digest},
            description="",
        )

    return call


def test_retry_goes_on_with_the_run_of_the_first_try(mlflow: MlflowEngine, run: RunRef, name: str) -> None:
    assert mlflow.start_run(experiment_name=name, run_name="retry", work_key="k" * 32, tags={}) == run


def test_other_work_and_ended_work_get_runs_of_their_own(mlflow: MlflowEngine, run: RunRef, name: str) -> None:
    other = mlflow.start_run(experiment_name=name, run_name="other", work_key="o" * 32, tags={})
    mlflow.end_run(run.run_id, "FINISHED")
    again = mlflow.start_run(experiment_name=name, run_name="again", work_key="k" * 32, tags={})
    assert len({run.run_id, other.run_id, again.run_id}) == 3


def test_what_is_logged_twice_is_there_once(mlflow: MlflowEngine, run: RunRef, mlflow_server: str) -> None:
    from mlflow import MlflowClient

    steps = [MetricStep(name="loss", value=1 / (step + 1), step=step) for step in range(1500)]
    for _ in range(2):
        mlflow.log_params(run.run_id, {f"p{number}": "v" for number in range(150)})
        mlflow.log_metrics(run.run_id, {"auc": 0.7}, steps)
        mlflow.log_dataset(run.run_id, SNAPSHOT, "training")
        mlflow.set_tags(run.run_id, {"b": "2"})
    client = MlflowClient(mlflow_server)
    found = client.get_run(run.run_id)
    assert len(found.data.params) == 150
    assert found.data.metrics["auc"] == 0.7
    assert [metric.step for metric in client.get_metric_history(run.run_id, "loss")] == list(range(1500))
    assert found.inputs
    (dataset,) = found.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("flights", "f" * 36)
    assert found.data.tags["a"] == "1"
    assert found.data.tags["b"] == "2"


def test_same_model_directory_is_uploaded_once(
    mlflow: MlflowEngine, run: RunRef, logged: LoggedModel, folder: Path
) -> None:
    assert mlflow.log_model(run, folder, name="model", params={}) == logged
    (folder / "weights.bin").write_bytes(b"other")
    assert mlflow.log_model(run, folder, name="model", params={}).model_id != logged.model_id


def test_second_registration_of_a_run_finds_the_version(mlflow: MlflowEngine, register: Register, name: str) -> None:
    first, made = register()
    assert made
    assert register() == (first, False)
    assert mlflow.version(name, "1") == first


def test_downloaded_model_is_what_was_registered(
    mlflow: MlflowEngine, register: Register, folder: Path, tmp_path: Path
) -> None:
    version, _ = register()
    path = mlflow.download(version, tmp_path / "new" / "folder")
    assert tree_digest(path) == tree_digest(folder)


def test_artifacts_that_were_replaced_are_refused(
    mlflow: MlflowEngine,
    register: Register,
    logged: LoggedModel,
    folder: Path,
    tmp_path: Path,
) -> None:
    from mlflow import MlflowClient

    version, _ = register()
    (folder / "weights.bin").write_bytes(b"evil")
    MlflowClient(mlflow.tracking_uri).log_model_artifacts(logged.model_id, str(folder))
    with pytest.raises(RegistryError, match="have changed since it was registered"):
        mlflow.download(version, tmp_path / "copy")


def test_artifacts_that_are_gone_are_an_error_that_names_the_version(
    mlflow: MlflowEngine, register: Register, tmp_path: Path, name: str
) -> None:
    version, _ = register()
    with pytest.raises(RegistryError, match=f"{name} version 1 cannot be read"):
        mlflow.download(replace(version, source="models:/m-00000000000000000000000000000000"), tmp_path / "copy")


def test_aliases_move_and_a_missing_one_is_nothing(mlflow: MlflowEngine, register: Register, name: str) -> None:
    assert mlflow.version_by_alias(name, "champion") is None
    version, _ = register()
    assert mlflow.version_by_alias(name, "champion") is None
    mlflow.set_alias(version, "champion")
    found = mlflow.version_by_alias(name, "champion")
    assert found is not None
    assert found.version == version.version
    mlflow.delete_alias(name, "champion")
    mlflow.delete_alias(name, "champion")
    assert mlflow.version_by_alias(name, "champion") is None


def test_missing_version_is_an_error_that_names_it(mlflow: MlflowEngine) -> None:
    with pytest.raises(RegistryError, match=r"nosuch version 9 is not in the registry"):
        mlflow.version("nosuch", "9")


def test_deleted_experiment_is_an_error_with_the_remedy(mlflow: MlflowEngine, run: RunRef, name: str) -> None:
    from mlflow import MlflowClient

    MlflowClient(mlflow.tracking_uri).delete_experiment(run.experiment_id)
    with pytest.raises(InvalidInputError, match=r"was deleted\. Restore it"):
        mlflow.start_run(experiment_name=name, run_name="x", work_key="x" * 32, tags={})


def test_server_that_does_not_answer_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowUnavailableError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        MlflowEngine(tracking_uri="http://127.0.0.1:9").version("m", "1")


def test_login_is_in_the_environment_for_the_time_of_a_call_only(mlflow_server: str) -> None:
    before = dict(os.environ)
    mlflow = MlflowEngine(tracking_uri=mlflow_server, environment={"MLFLOW_TRACKING_PASSWORD": "secret"})
    assert mlflow.check() == f"MLflow answers at {mlflow_server}"
    assert dict(os.environ) == before
    assert "secret" not in repr(mlflow)


def test_what_the_server_refuses_is_not_tried_again(mlflow: MlflowEngine, run: RunRef) -> None:
    with pytest.raises(RegistryError, match=r"refuses: .*Invalid model name 'a/b'"):
        mlflow.register(
            model_name="a/b", run_id=run.run_id, model_id="m-1", source="models:/m-1", tags={}, description=""
        )
