"""Training as a process and in a container, against a real MLflow server: what a run then holds, and when it fails."""

import json
import logging
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import JobLimits
from airflow_mlops.domain.registry import (
    TAG_CODE_VERSION,
    TAG_DAG_ID,
    TAG_DATASET_DIGEST,
    TAG_FAILURE,
    TAG_IMAGE_DIGEST,
    TAG_WORK_KEY,
)
from airflow_mlops.domain.training import Backend, TrainingResult
from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.engines.process import ProcessEngine, default_root
from airflow_mlops.exceptions import (
    DatasetError,
    DockerUnavailableError,
    ImageNotFoundError,
    InvalidInputError,
    JobFailedError,
    JobOutOfDiskError,
    JobOutOfMemoryError,
    JobOutputError,
    JobStoppedError,
    JobTimeoutError,
    MlflowUnavailableError,
    MlopsError,
    RegistryError,
)
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.training import DockerTrainingOperator, ProcessTrainingOperator

from .conftest import SHELL_IMAGE, SHELL_REVISION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = pytest.mark.integration

GOOD = """
    echo training
    cd $SAGEMAKER_BASE_DIR
    echo '{"auc": 0.7}' > output/data/metrics.json
    echo '{"step": 1, "loss": 0.5}' > output/data/metrics.jsonl
    echo '{"step": 2, "loss": 0.25}' >> output/data/metrics.jsonl
    echo 'flavors: {}' > model/MLmodel
"""


class StateStore(dict[str, Any]):
    """Airflow's task state store, which is a server's table: JSON in, JSON out."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Task:
    """A training operator in a Dag run of its own, as one try after another."""

    def __init__(self, run_id: str, mlflow: "MlflowClient") -> None:
        self.run_id, self.mlflow = run_id, mlflow
        self.links: list[str] = []
        self.store = StateStore()
        self.try_number, self.max_tries = 1, 0

    def execute(self, operator: Any) -> TrainingResult:
        ti = SimpleNamespace(
            dag_id="loop",
            run_id=self.run_id,
            task_id=operator.task_id,
            map_index=-1,
            try_number=self.try_number,
            max_tries=self.max_tries,
            xcom_push=lambda key, value: self.links.append(value),
            bundle_instance=SimpleNamespace(version="bundle-7"),
        )
        context = {
            "ti": ti,
            "dag": SimpleNamespace(folder="/"),
            "dag_run": SimpleNamespace(clear_number=0),
            "task_state_store": self.store,
        }
        answer = operator.execute(context)
        return TrainingResult.from_dict(json.loads(json.dumps(answer)))

    def runs(self) -> list["Run"]:
        """Return the MLflow runs of all tries, the latest first."""
        experiment = self.mlflow.get_experiment_by_name(self.run_id)
        return list(self.mlflow.search_runs([experiment.experiment_id])) if experiment else []


@pytest.fixture
def mlflow(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    from mlflow import MlflowClient

    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    return MlflowClient(mlflow_server)


@pytest.fixture
def task(request: pytest.FixtureRequest, tmp_path: Path, mlflow: "MlflowClient") -> Task:
    return Task(f"{request.node.name} {tmp_path}", mlflow)


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    (tmp_path / "source.csv").write_text("n\n1\n2\n")
    operator = DatasetSnapshotOperator(task_id="take", dataset_name="numbers", source=str(tmp_path / "source.csv"))
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {operator.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(operator.execute(context))


@pytest.fixture
def process(snapshot: Snapshot, task: Task) -> Callable[..., ProcessTrainingOperator]:
    def make(script: str, **fields: Any) -> ProcessTrainingOperator:
        return ProcessTrainingOperator(
            task_id="train",
            program=("sh", "-c", textwrap.dedent(script)),
            **{"dataset": snapshot.to_dict(), "experiment_name": task.run_id, "run_name": "first", **fields},
        )

    return make


@pytest.fixture
def docker(snapshot: Snapshot, task: Task, shell_image: str) -> Callable[..., DockerTrainingOperator]:
    def make(script: str, **fields: Any) -> DockerTrainingOperator:
        limits = JobLimits(memory_mb=64, cpus=1, scratch_mb=4, wall_seconds=fields.pop("wall_seconds", 60))
        given = {"image": shell_image, "limits": limits, "dataset": snapshot.to_dict(), **fields}
        return DockerTrainingOperator(
            task_id="train",
            program=("sh", "-c", textwrap.dedent(script)),
            experiment_name=task.run_id,
            run_name="first",
            **given,
        )

    return make


def test_a_run_holds_everything_that_its_training_was(
    process: Callable[..., Any], task: Task, snapshot: Snapshot, mlflow: "MlflowClient"
) -> None:
    result = task.execute(process(GOOD, hyperparameters={"depth": 3, "none": None}))
    (run,) = task.runs()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.data.params == {"depth": "3"}
    assert run.data.metrics["auc"] == 0.7
    assert [(point.step, point.value) for point in mlflow.get_metric_history(run.info.run_id, "loss")] == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert run.data.metrics["system/job_seconds"] == pytest.approx(result.job_seconds)
    assert run.data.tags[TAG_DAG_ID] == "loop"
    assert run.data.tags[TAG_WORK_KEY] == result.work_key
    assert run.data.tags[TAG_DATASET_DIGEST] == snapshot.digest
    assert run.inputs is not None
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("numbers", snapshot.digest[:36])
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]
    assert [artifact.path for artifact in mlflow.list_logged_model_artifacts(result.model_id)] == ["MLmodel"]
    assert task.links == [f"{mlflow.tracking_uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"]


def test_the_result_says_where_the_model_came_from(process: Callable[..., Any], task: Task, snapshot: Snapshot) -> None:
    result = task.execute(process(GOOD))
    (run,) = task.runs()
    assert result.run_id == run.info.run_id
    assert result.metrics == {"auc": 0.7}
    assert (result.dataset_name, result.dataset_digest) == ("numbers", snapshot.digest)
    assert (result.backend, result.image, result.image_digest) == (Backend.PROCESS, None, None)
    assert result.code_version == "bundle-7"
    assert result.model_uri == f"models:/{result.model_id}"


def test_a_finished_training_leaves_nothing_on_the_worker(process: Callable[..., Any], task: Task) -> None:
    result = task.execute(process(GOOD))
    assert not (default_root() / result.work_key).exists()


@pytest.mark.docker
def test_a_container_is_known_by_its_image_and_its_source_and_removed(docker: Callable[..., Any], task: Task) -> None:
    from docker import from_env

    result = task.execute(docker(GOOD))
    (run,) = task.runs()
    assert run.data.tags[TAG_CODE_VERSION] == result.code_version == SHELL_REVISION
    assert run.data.tags[TAG_IMAGE_DIGEST] == result.image_digest
    assert (result.backend, result.image) == (Backend.DOCKER, SHELL_IMAGE)
    client = from_env()
    assert (
        client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"airflow-mlops.work-key={result.work_key}"}
        )
        == []
    )
    client.close()


@pytest.mark.docker
@pytest.mark.parametrize(
    ("script", "fields", "expected"),
    [
        (
            "echo no such column > /opt/ml/output/failure; exit 3",
            {},
            (JobFailedError, "exit status 3 .* no such column"),
        ),
        ("exec dd if=/dev/zero of=/dev/null bs=200M count=1", {}, (JobOutOfMemoryError, "may use 64 MiB")),
        ("exec dd if=/dev/zero of=/opt/ml/model/x bs=1M count=5", {}, (JobOutOfDiskError, "may use 4 MiB")),
        ("sleep 60", {"wall_seconds": 1}, (JobTimeoutError, "may run 1 s")),
        ("kill -9 $$", {}, (JobStoppedError, "stopped from outside")),
        ("true", {}, (JobOutputError, "its model/ is empty")),
        ("touch /opt/ml/model/model.pkl", {}, (JobOutputError, r"has no MLmodel, only model/model\.pkl")),
        (f"{GOOD}echo '{{\"auc\": NaN}}' > output/data/metrics.json", {}, (JobOutputError, "auc = nan .* finite")),
        ("", {"image": f"sha256:{'0' * 64}"}, (ImageNotFoundError, "0000 is not on")),
    ],
    ids=["exit", "memory", "disk", "time", "stopped", "no model", "no MLmodel", "NaN", "no image"],
)
def test_a_failed_training_says_why_in_the_task_and_in_its_run(
    docker: Callable[..., Any],
    task: Task,
    script: str,
    fields: dict[str, Any],
    expected: tuple[type[MlopsError], str],
) -> None:
    error, words = expected
    with pytest.raises(error, match=words) as raised:
        task.execute(docker(script, **fields))
    (run,) = task.runs()
    assert run.info.status == ("KILLED" if error is JobStoppedError else "FAILED")
    assert run.data.tags[TAG_FAILURE] == f"{error.__name__}: {raised.value}"


def test_a_failed_training_keeps_the_metrics_that_it_had(process: Callable[..., Any], task: Task) -> None:
    with pytest.raises(JobFailedError):
        task.execute(process(f"{GOOD}exit 1"))
    (run,) = task.runs()
    assert (run.data.metrics["auc"], run.data.metrics["loss"]) == (0.7, 0.25)
    assert not run.outputs or not run.outputs.model_outputs


def test_metrics_that_cannot_be_read_do_not_hide_why_the_job_failed(process: Callable[..., Any], task: Task) -> None:
    with pytest.raises(JobFailedError, match="no such column"):
        task.execute(process("echo '{' > output/data/metrics.json; echo no such column; exit 1"))


def test_a_retry_after_a_failed_try_has_a_run_of_its_own(process: Callable[..., Any], task: Task) -> None:
    with pytest.raises(JobFailedError):
        task.execute(process("exit 1"))
    task.execute(process(GOOD))
    assert [run.info.status for run in task.runs()] == ["FINISHED", "FAILED"]


@pytest.mark.docker
def test_a_retry_records_the_job_that_an_earlier_try_could_not(
    docker: Callable[..., Any], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        msg = "MLflow does not answer"
        raise MlflowUnavailableError(msg)

    task.max_tries = 1
    with monkeypatch.context() as patch:
        patch.setattr("airflow_mlops.engines.mlflow.MlflowEngine.log_model", unavailable)
        with pytest.raises(MlflowUnavailableError):
            task.execute(docker(GOOD))
    (begun,) = task.runs()
    task.try_number = 2
    result = task.execute(docker(GOOD))
    (run,) = task.runs()
    assert (begun.info.status, run.info.status) == ("RUNNING", "FINISHED")
    assert result.run_id == begun.info.run_id
    assert result.job_seconds == begun.data.metrics["system/job_seconds"]


@pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_a_killed_task_stops_its_job_and_ends_its_run(request: pytest.FixtureRequest, task: Task, engine: str) -> None:
    operator = request.getfixturevalue(engine)("echo begun; exec sleep 60")
    run_job = operator.run_job
    killed: list[str] = []

    def run_and_kill(job: Any, engine: Any, output: Path, log: Callable[[str], None]) -> Any:
        """Run it, with a user who kills the task when the job has begun."""

        def kill(line: str) -> None:
            log(line)
            killed.append(line)
            operator.on_kill()

        return run_job(job, engine, output, kill)

    operator.run_job = run_and_kill
    with pytest.raises(JobStoppedError):
        task.execute(operator)
    assert [line.split()[-1] for line in killed] == ["begun"]
    assert task.runs()[0].info.status == "KILLED"


def test_a_task_killed_before_its_job_has_nothing_to_stop(process: Callable[..., Any]) -> None:
    process("").on_kill()


def test_an_unreachable_mlflow_is_told_before_anything_is_trained(
    process: Callable[..., Any], task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": "http://127.0.0.1:1"}))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowUnavailableError, match=r"http://127\.0\.0\.1:1 does not answer"):
        task.execute(process(f"touch {tmp_path}/trained"))
    assert not (tmp_path / "trained").exists()


@pytest.mark.docker
def test_an_unreachable_docker_host_fails_the_run_and_is_worth_a_retry(
    docker: Callable[..., Any], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FARM", json.dumps({"conn_type": "docker_host", "host": "tcp://127.0.0.1:1"}))
    with pytest.raises(DockerUnavailableError, match=r"tcp://127\.0\.0\.1:1 does not answer"):
        task.execute(docker(GOOD, docker_conn_id="farm"))
    assert task.runs()[0].info.status == "FAILED"


@pytest.mark.docker
def test_a_run_that_cannot_take_its_parameters_ends(docker: Callable[..., Any], task: Task) -> None:
    """MLflow refuses the name: that is seen when the run has been begun, and no try will do better."""
    task.max_tries = 1
    with pytest.raises(RegistryError, match=r'Invalid value "depth\(m\)"'):
        task.execute(docker(GOOD, hyperparameters={"depth(m)": 1}))
    (run,) = task.runs()
    assert run.info.status == "FAILED"
    assert "depth(m)" in run.data.tags[TAG_FAILURE]


@pytest.mark.docker
def test_a_run_ends_when_the_policy_allows_no_retry(
    docker: Callable[..., Any], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FARM", json.dumps({"conn_type": "docker_host", "host": "tcp://127.0.0.1:1"}))
    rule = RetryRule(exception=DockerUnavailableError, action=RetryAction.FAIL)
    task.max_tries = 1
    for policy, status in ((ExceptionRetryPolicy(rules=[rule]), "FAILED"), (None, "RUNNING")):
        with pytest.raises(DockerUnavailableError):
            task.execute(docker(GOOD, docker_conn_id="farm", retry_policy=policy))
        assert task.runs()[0].info.status == status


def test_a_snapshot_that_was_changed_is_not_trained_on(
    process: Callable[..., Any], task: Task, snapshot: Snapshot
) -> None:
    next(Path(snapshot.uri).glob("*.parquet")).write_bytes(b"other")
    with pytest.raises(DatasetError, match="was changed after it was written"):
        task.execute(process(GOOD))
    assert task.runs() == []


def test_the_engines_are_those_of_the_backends(process: Callable[..., Any], snapshot: Snapshot) -> None:
    assert isinstance(process("").engine(), ProcessEngine)
    operator = DockerTrainingOperator(task_id="train", dataset=snapshot.to_dict(), experiment_name="x", image="x")
    assert isinstance(operator.engine(), DockerEngine)


# Metrics while the job runs, and secrets -----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_metrics_show_in_mlflow_while_the_job_runs_and_each_step_once(
    request: pytest.FixtureRequest, task: Task, mlflow: "MlflowClient", engine: str
) -> None:
    operator = request.getfixturevalue(engine)(
        """
        cd $SAGEMAKER_BASE_DIR
        printf '{"step": 1, "loss": 0.5}\\n{"step": 2, "lo' > output/data/metrics.jsonl
        sleep 7
        printf 'ss": 0.25}\\n' >> output/data/metrics.jsonl
        echo 'flavors: {}' > model/MLmodel
        """
    )
    worker = threading.Thread(target=task.execute, args=(operator,))
    worker.start()
    while not (runs := task.runs()) or "loss" not in runs[0].data.metrics:
        assert worker.is_alive()
        time.sleep(0.3)
    assert runs[0].info.status == "RUNNING"
    assert runs[0].data.metrics["loss"] == 0.5
    worker.join(60)
    (run,) = task.runs()
    assert run.info.status == "FINISHED"
    history = mlflow.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]


@pytest.mark.docker
@pytest.mark.parametrize("end", ["exit 3", "true"])
def test_a_secret_is_seen_by_the_job_alone(
    docker: Callable[..., Any],
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    end: str,
) -> None:
    from docker import from_env

    monkeypatch.setenv("AIRFLOW_VAR_API_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://me:s3cret-word@db/lake")
    operator = docker(
        f"{GOOD}cat input/secrets/token; cat input/secrets/token input/secrets/db > output/failure; sleep 3; {end}",
        secrets={"token": "var:api_token", "db": "conn:warehouse#password"},
    )
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(type(operator), "log", logging.getLogger("task"))
    seen: list[str] = []

    def inspect() -> None:
        client = from_env()
        while not (
            found := client.containers.list(
                ignore_removed=True, filters={"label": f"airflow-mlops.run-id={task.run_id}"}
            )
        ):
            time.sleep(0.1)
        seen.extend(json.dumps(container.attrs) for container in found)
        client.close()

    inspector = threading.Thread(target=inspect)
    inspector.start()
    answer = ""
    if end == "true":
        answer = json.dumps(task.execute(operator).to_dict())
    else:
        with pytest.raises(JobFailedError, match=r"\*\*\*") as raised:
            task.execute(operator)
        answer = str(raised.value)
    inspector.join(20)
    (run,) = task.runs()
    kept = Path(task.mlflow.download_artifacts(run.info.run_id, ""))
    everywhere = [
        answer,
        caplog.text,
        *seen,
        json.dumps(run.to_dictionary()),
        json.dumps(task.store.__dict__, default=str),
    ]
    everywhere += [file.read_text(errors="replace") for file in kept.rglob("log*") if file.is_file()]
    assert "***" in caplog.text
    assert seen
    assert not [text for text in everywhere if "hunter2hunter2" in text or "s3cret-word" in text]


@pytest.mark.docker
def test_a_tag_is_resolved_once_and_refused_where_a_digest_is_required(docker: Callable[..., Any], task: Task) -> None:
    with pytest.raises(InvalidInputError, match="require_digest refuses"):
        task.execute(docker(GOOD, require_digest=True))
    digest = task.execute(docker(GOOD)).image_digest
    assert task.execute(docker(GOOD, image=digest, require_digest=True)).image_digest == digest


def test_what_a_job_used_is_in_its_run_and_its_result(process: Callable[..., Any], task: Task) -> None:
    result = task.execute(process(GOOD))
    (run,) = task.runs()
    assert result.usage is not None
    assert run.data.metrics["system/cpu_seconds"] == pytest.approx(result.usage.cpu_seconds)
    assert run.data.metrics["system/waiting_seconds"] == pytest.approx(result.usage.waiting_seconds)
    assert run.data.metrics["system/written_bytes"] == result.usage.written_bytes
