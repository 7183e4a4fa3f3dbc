"""End a job that nobody waits for any more: stop it, keep what it has left, end its MLflow run, and remove it.

``python -m airflow_mlops.salvage`` does that in a process of its own, for a task that was killed. It reads the job from
the first line of its standard input, and begins when that is closed, which is when the task's process has gone. Airflow
gives a task 5 seconds to end, and a job may need longer. It imports no Airflow.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.job import MODEL, SALVAGED_LOG, JobEngine, JobLimits
from airflow_mlops.domain.registry import TAG_FAILURE
from airflow_mlops.domain.secrets import redact
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import TransientError

if TYPE_CHECKING:
    from airflow_mlops.engines.docker import DockerEngine
    from airflow_mlops.engines.mlflow import MlflowEngine

_ATTEMPTS = 10
_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonedJob(Document):
    """A job in a container whose task has gone, and what is to be done with it."""

    work_key: str
    limits: JobLimits
    run_id: str
    reason: str
    """Why nobody waits for it, for the MLflow run."""
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """What must not be seen in its log."""
    keep_container: bool = False


def end_abandoned(job: AbandonedJob, docker: "DockerEngine", mlflow: "MlflowEngine") -> None:
    """Stop an abandoned job, keep what it has left, and end its run, which ends whatever became of the container.

    :raises TransientError: when the Docker host or MLflow does not answer. Then call it again.
    """
    is_there = False
    try:
        if is_there := docker.has(job.work_key):
            docker.stop(job.work_key)
            keep_remains(job.work_key, job.limits, docker, mlflow, run_id=job.run_id, hidden=job.hidden)
    finally:
        if is_there or mlflow.is_running(job.run_id):  # Else its task has ended both itself.
            mlflow.set_tags(job.run_id, {TAG_FAILURE: job.reason})
            mlflow.end_run(job.run_id, "KILLED")
    if not is_there:
        return
    if job.keep_container:
        docker.keep(job.work_key)
    else:
        docker.remove(job.work_key)


def keep_remains(
    work_key: str, limits: JobLimits, engine: JobEngine, mlflow: "MlflowEngine", *, run_id: str, hidden: Iterable[str]
) -> None:
    """Keep the log and the results of a job that did not succeed as artifacts of its run, below ``job/``.

    :param hidden: what must not be seen in the log.
    """
    hidden = list(hidden)
    with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as name:
        folder = Path(name)
        engine.salvage(work_key, limits, folder)
        shutil.rmtree(folder / MODEL, ignore_errors=True)
        log = folder / SALVAGED_LOG
        if log.is_file() and hidden:
            log.write_text(redact(log.read_text(errors="replace"), hidden))
        mlflow.log_files(run_id, folder, "job")


def begin_salvage(job: AbandonedJob, docker: "DockerEngine", mlflow: "MlflowEngine") -> None:
    """Start the process that ends the job when this one has gone. It is in a session of its own, to outlive that.

    What it is told, secrets included, goes through a pipe, and is seen by no one else. The pipe stays open for as long
    as this process lives.
    """
    told = {"job": job.to_dict(), "docker": _settings(docker), "mlflow": _settings(mlflow)}
    reading, writing = os.pipe()
    os.posix_spawn(
        sys.executable,
        # -P: the folder that the task happens to be in is no place for modules.
        [sys.executable, "-P", "-m", "airflow_mlops.salvage"],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reading, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),  # Airflow waits for whoever holds a task's output.
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
    )
    os.close(reading)
    with os.fdopen(writing, "wb", closefd=False) as pipe:
        pipe.write(json.dumps(told).encode() + b"\n")


def _settings(engine: "DockerEngine | MlflowEngine") -> dict[str, Any]:
    """Return what makes an engine of the same kind in another process: its parameters, without what it remembers."""
    return {item.name: getattr(engine, item.name) for item in fields(engine) if item.init}


def main() -> None:
    """Do what the module's docstring says."""
    from airflow_mlops.engines.docker import DockerEngine  # noqa: PLC0415 - who imports this file needs other engines
    from airflow_mlops.engines.mlflow import MlflowEngine  # noqa: PLC0415

    told: dict[str, Any] = json.loads(sys.stdin.readline())
    job = AbandonedJob.from_dict(told["job"])
    docker, mlflow = DockerEngine(**told["docker"]), MlflowEngine(**told["mlflow"])
    sys.stdin.read()
    for _ in range(_ATTEMPTS):
        try:
            end_abandoned(job, docker, mlflow)
        except TransientError:
            time.sleep(_RETRY_SECONDS)
        else:
            return


if __name__ == "__main__":
    main()
