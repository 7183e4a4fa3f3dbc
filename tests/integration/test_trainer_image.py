"""The trainer image, as an engine runs it: no network, no root, nothing writable but its own volume."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pandas as pd
import pytest
from docker import DockerClient
from docker.models.containers import Container
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from airflow_mlops.domain.explanation import ExplanationSpec, ModelExplanation
from airflow_mlops.domain.job import (
    EXPLANATION,
    MLMODEL,
    PREDICTIONS,
    SCORE_CHANNEL,
    SERVING,
    TRAIN_CHANNEL,
    Job,
    JobCommand,
    JobLimits,
    JobState,
)
from airflow_mlops.domain.job_figures import read_figures, read_metrics
from airflow_mlops.domain.registry import TAG_BACKEND, TAG_IMAGE_DIGEST, TAG_MODEL_DIGEST, ModelVersion
from airflow_mlops.domain.serving import ModelServing, ServingSpec
from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.jobs import SCORER, job_hyperparameters, scorer_program
from airflow_mlops.operators.scoring import Bench
from demo.flights import write_months

from .conftest import BUILD_TRAINER, TRAINER_IMAGE, build_trainer

CreateJob = Callable[[str, Mapping[str, bytes]], Container]

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.usefixtures("docker_engine")]

USER = 1000
HYPERPARAMETERS = {
    "target": "late",
    "features": "carrier,origin,dest,distance,hour,weekday,temp,wind_gust,pressure",
    "time_column": "scheduled_departure",
    "max_iterations": "20",
}


@pytest.fixture(scope="module")
def image(trainer_image: str) -> str:
    return trainer_image


@pytest.fixture
def bare_image(engine: DockerClient, image: str) -> Iterator[str]:
    """The trainer image without the trainer."""
    tag = "airflow-mlops/bare:test"
    recipe = f"FROM {image}\nUSER root\nRUN rm -r /app\nENTRYPOINT []\nUSER 1000\n"
    engine.images.build(fileobj=io.BytesIO(recipe.encode()), tag=tag, rm=True)
    yield tag
    engine.images.remove(tag, force=True)


@pytest.fixture
def image_with_shap(engine: DockerClient, image: str, tmp_path: Path) -> Iterator[str]:
    """The trainer image, and what `shap` needs beside it: 190 MB that no other test has to carry."""
    folder, tag = tmp_path / "with-shap", "airflow-mlops/shap:test"
    python = f"{sys.base_prefix}/bin/python3"
    wanted = ["shap==0.51.0", "numba==0.68.1", "llvmlite==0.50.0", "slicer==0.0.8", "tqdm==4.70.1"]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    subprocess.run([*pip, "--no-deps", "--target", str(folder / "shap"), *wanted], check=True)
    (folder / "Dockerfile").write_text(f"FROM {image}\nCOPY shap /opt/shap\nENV PYTHONPATH=/opt/shap\n")
    engine.images.build(path=str(folder), tag=tag, rm=True)
    yield tag
    engine.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_months(tmp_path_factory.mktemp("months"))


@pytest.fixture
def engine(docker_engine: None) -> Iterator[DockerClient]:

    client = docker.from_env(timeout=240)  # A loaded host takes its time to build or to remove an image.
    yield client
    client.close()


@pytest.fixture
def create_job(engine: DockerClient, image: str) -> Iterator[CreateJob]:
    """Create a container with files in `/opt/ml`, not started. It is removed with its volume."""
    created: list[Container] = []

    def create(command: str, files: Mapping[str, bytes]) -> Container:
        container = engine.containers.create(
            image,
            command,
            network_mode="none",
            user=str(USER),
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit="1g",
            pids_limit=128,
        )
        created.append(container)
        # Copying into a container with a read-only root works in its volume, and nowhere else.
        assert container.put_archive("/opt/ml", pack(files))
        return container

    yield create
    for container in created:
        container.remove(v=True, force=True)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Pack files and their folders as the user of the job owns them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {str(folder): None for name in files for folder in reversed(Path(name).parents[:-1])}
        for folder in folders:
            member = tarfile.TarInfo(folder)
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, 0o755, USER, USER
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.gid = len(content), USER, USER
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def run(container: Container) -> int:
    container.start()
    status: int = container.wait(timeout=120)["StatusCode"]
    sys.stdout.write(container.logs().decode())
    return status


def take(container: Container, path: str) -> dict[str, bytes]:
    """Copy a file or folder out of a container, and return the files by their names in the archive."""
    blocks, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: content.read() for member in members if (content := archive.extractfile(member))}


def test_model_that_one_container_trains_is_scored_in_an_image_that_knows_no_more_than_mlflow(
    create_job: CreateJob, months: list[Path], tmp_path: Path, bare_image: str
) -> None:
    training = create_job(
        "train",
        {
            "input/config/hyperparameters.json": json.dumps(HYPERPARAMETERS).encode(),
            "input/data/train/01.parquet": months[0].read_bytes(),
            "input/data/train/02.parquet": months[1].read_bytes(),
        },
    )
    assert run(training) == 0
    metrics = json.loads(take(training, "/opt/ml/output/data/metrics.json")["metrics.json"])
    assert metrics["train_rows"] + metrics["validation_rows"] == 26_398 + 23_611
    model = take(training, "/opt/ml/model")
    assert "model/MLmodel" in model

    for name, content in model.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "03.parquet").symlink_to(months[2])
    job = Job(
        work_key=uuid.uuid4().hex,
        command=JobCommand.SCORE,
        hyperparameters={},
        channels={SCORE_CHANNEL: tmp_path / "rows"},
        model=tmp_path / "model",
        code=SCORER,
        image=bare_image,
        program=scorer_program(in_image=True),
    )
    result = DockerEngine().run(job, tmp_path / "result", print)
    DockerEngine().remove(job.work_key)
    assert (result.state, result.reason) == (JobState.SUCCEEDED, "")
    predictions = pd.read_parquet(tmp_path / "result" / PREDICTIONS)
    march = pd.read_parquet(months[2])
    assert len(predictions) == len(march)
    assert 0.65 < roc_auc_score(march["late"], predictions["probability"]) < 0.75


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # MLflow's own, when it saves a model
@pytest.mark.timeout(900)
def test_model_is_timed_and_explained_in_its_image_within_its_limits(
    months: list[Path], tmp_path: Path, image_with_shap: str
) -> None:
    import mlflow.sklearn

    features = ["carrier", "origin", "hour", "temp"]
    january = pd.read_parquet(months[0])
    numbers = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), features[:2]),
        (make_pipeline(SimpleImputer(), StandardScaler()), features[2:]),
    )
    model = make_pipeline(numbers, LogisticRegression()).fit(january[features], january["late"])
    mlflow.sklearn.save_model(model, tmp_path / "model", serialization_format="cloudpickle", pip_requirements=[])
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "02.parquet").symlink_to(months[1])
    asked = {
        "target": "late",
        "task": "binary",
        "serving": ServingSpec(calls=20, seconds=60.0).to_dict(),
        "explanation": ExplanationSpec(rows=500, repeats=2, seconds=120.0).to_dict(),
    }
    job = Job(
        work_key=uuid.uuid4().hex,
        command=JobCommand.SCORE,
        hyperparameters=job_hyperparameters(asked),
        channels={SCORE_CHANNEL: tmp_path / "rows"},
        model=tmp_path / "model",
        code=SCORER,
        image=image_with_shap,
        program=scorer_program(in_image=True),
        limits=JobLimits(memory_mb=1024, cpus=1.0, processes=64),
    )
    result = DockerEngine().run(job, tmp_path / "result", print)
    DockerEngine().remove(job.work_key)
    assert (result.state, result.reason) == (JobState.SUCCEEDED, "")

    serving = ModelServing.read(read_figures(tmp_path / "result", SERVING), model_bytes=1, place="docker")
    assert (serving.calls, serving.rows, serving.notes) == (20, 23_611, ())
    assert serving.cold_start_seconds is not None
    assert serving.p50_ms is not None
    assert serving.cold_start_seconds * 1000 > serving.p50_ms
    assert serving.peak_memory_bytes is not None
    assert serving.peak_memory_bytes < 1024 * 2**20
    explanation = ModelExplanation.read(read_figures(tmp_path / "result", EXPLANATION))
    assert explanation.notes == ()
    assert [item.feature for item in explanation.importances] == features
    assert explanation.shap_rows == 100
    # Texts are among the features, and by both ways to ask they and the hour of departure say something about a delay.
    shap = {item.feature: item.shap or 0.0 for item in explanation.importances}
    assert explanation.ranked[0].mean > 0
    assert 0 < shap["carrier"] < 1
    assert 0 < shap["hour"] < 1


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # MLflow's own, when it saves a model
@pytest.mark.parametrize("backend", ["docker", "process"])
def test_evaluation_scores_any_version_by_the_same_program(
    bare_image: str, mlflow_server: str, months: list[Path], tmp_path: Path, backend: str
) -> None:
    import mlflow.sklearn

    rows = pd.read_parquet(months[0])[["distance", "hour", "late"]].astype(float)
    model = LogisticRegression().fit(rows[["distance", "hour"]], rows["late"])
    mlflow.sklearn.save_model(model, tmp_path / "model", serialization_format="cloudpickle", pip_requirements=[])
    server = MlflowEngine(tracking_uri=mlflow_server)
    run = server.start_run(experiment_name="scoring", run_name=backend, work_key=uuid.uuid4().hex, tags={})
    logged = server.log_model(run, tmp_path / "model", name="model", params={})
    tags = {TAG_MODEL_DIGEST: logged.digest, TAG_BACKEND: backend, TAG_IMAGE_DIGEST: bare_image}
    version = ModelVersion(model_name="late", version="1", run_id=run.run_id, source=logged.uri, tags=tags)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "01.parquet").symlink_to(months[0])

    operator = EvaluateModelOperator(task_id="evaluate", model_version={}, holdout={}, target="late")
    ti = SimpleNamespace(dag_id="loop", run_id=uuid.uuid4().hex, task_id="evaluate", map_index=-1)
    context: Any = {"ti": ti, "dag": SimpleNamespace(folder="/")}
    bench = Bench(channel=tmp_path / "rows", folder=tmp_path / "bench", mlflow=server, context=context)
    scored = operator.score(version, "candidate", operator.fetch(version, "candidate", bench), bench)
    figures = ModelServing.read(read_figures(scored.output, SERVING), model_bytes=1, place=backend)
    assert figures.rows == len(rows)
    explanation = ModelExplanation.read(read_figures(scored.output, EXPLANATION))
    assert [item.feature for item in explanation.importances] == ["distance", "hour"]
    said = scored.predictions
    assert said.probability is not None
    expected = model.predict_proba(rows[["distance", "hour"]])[:, 1]
    assert said.probability.tolist() == pytest.approx(expected.tolist())


def test_trainer_of_a_team_is_one_file_on_top_of_the_image(
    engine: DockerClient, image: str, months: list[Path], tmp_path: Path
) -> None:
    folder, tag = tmp_path / "own", "airflow-mlops/own:test"
    folder.mkdir()
    shutil.copy(BUILD_TRAINER.parents[1] / "docs" / "examples" / "logistic.py", folder)
    (folder / "Dockerfile").write_text(f"FROM {image}\nCOPY logistic.py /app/\nENV JOB_TRAINER=logistic\n")
    engine.images.build(path=str(folder), tag=tag, rm=True)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "01.parquet").symlink_to(months[0])
    job = Job(
        work_key=uuid.uuid4().hex,
        command=JobCommand.TRAIN,
        hyperparameters={"target": "late", "features": "distance,hour,temp"},
        channels={TRAIN_CHANNEL: tmp_path / "rows"},
        image=tag,
    )
    result = DockerEngine().run(job, tmp_path / "result", print)
    DockerEngine().remove(job.work_key)
    engine.images.remove(tag, force=True)
    assert (result.state, result.reason) == (JobState.SUCCEEDED, "")
    assert 0.5 < read_metrics(tmp_path / "result")["train_accuracy"] < 1
    assert (tmp_path / "result" / MLMODEL).is_file()
    assert result.usage is not None
    assert result.usage.cpu_seconds is not None
    assert result.usage.cpu_seconds > 1  # the imports alone


def test_failure_leaves_its_reason(create_job: CreateJob) -> None:
    container = create_job("train", {"input/config/hyperparameters.json": b'{"learning_rate": "fast"}'})
    assert run(container) == 1
    reason = take(container, "/opt/ml/output/failure")["failure"].decode()
    assert reason == "Hyperparameter 'target': required, but not given\n"


def test_job_that_runs_ends_when_it_is_stopped(create_job: CreateJob, months: list[Path]) -> None:
    slow = HYPERPARAMETERS | {"max_iterations": "100000", "learning_rate": "0.0001"}
    container = create_job(
        "train",
        {
            "input/config/hyperparameters.json": json.dumps(slow).encode(),
            "input/data/train/01.parquet": months[0].read_bytes(),
        },
    )
    container.start()
    # A stream of the log that is left early keeps its socket open, hence the polling.
    while b"step=0 " not in container.logs():
        container.reload()
        assert container.status == "running"
        time.sleep(0.2)
    container.stop(timeout=60)
    assert container.wait()["StatusCode"] == 143
    assert b"asked to stop" in take(container, "/opt/ml/output/failure")["failure"]


def test_image_runs_as_an_unprivileged_user_by_itself(engine: DockerClient, image: str) -> None:
    configuration = engine.images.get(image).attrs["Config"]
    assert configuration["User"] == f"{USER}:{USER}"
    assert configuration["Entrypoint"] == ["python3", "/app"]
    assert list(configuration["Volumes"]) == ["/opt/ml"]


def test_second_build_of_the_same_files_keeps_the_image(engine: DockerClient, image: str) -> None:
    before = engine.images.get(image).id
    assert "is up to date" in build_trainer()
    assert engine.images.get(image).id == before


def test_build_without_an_engine_says_so(tmp_path: Path) -> None:
    environment = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    finished = subprocess.run(
        [BUILD_TRAINER, TRAINER_IMAGE], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert f"no Docker engine answers at unix://{tmp_path}/nothing.sock" in finished.stderr
