"""A try of a training task in a process of its own, which may be killed at a named point, as a worker may."""

import json
import os
import signal
import textwrap
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_mlops.operators.training import DockerTrainingOperator

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(["tests.integration.faults", "mlflow", "docker"])

_STORE = "mlflow.store.artifact.mlflow_artifacts_repo.MlflowArtifactsRepository"
KILL_POINTS: dict[str, tuple[str, str]] = {
    "before the run is begun": ("before", "airflow_mlops.engines.mlflow.MlflowEngine.start_run"),
    "before the run is written down": ("after", "airflow_mlops.engines.mlflow.MlflowEngine.start_run"),
    "before submit": ("before", "airflow_mlops.engines.docker.DockerEngine.submit"),
    "before the inputs are copied": ("before", "docker.models.containers.Container.put_archive"),
    "before the container starts": ("before", "docker.models.containers.Container.start"),
    "as the container has started": ("after", "docker.models.containers.Container.start"),
    "before the run is known to Airflow": ("before", "airflow_mlops.operators.memory.TrainingMemory.remember"),
    "before parameters are logged": ("before", "airflow_mlops.engines.mlflow.MlflowEngine.log_params"),
    "before data are logged": ("before", "airflow_mlops.engines.mlflow.MlflowEngine.log_dataset"),
    "after submit": ("after", "airflow_mlops.engines.docker.DockerEngine.submit"),
    "while the job runs": ("before", "airflow_mlops.engines.docker.engine.follow"),
    "before collecting": ("before", "airflow_mlops.engines.docker.DockerEngine.collect"),
    "while collecting": ("after", "airflow_mlops.engines.docker.files.unpack_parts"),
    "after the metrics": ("after", "airflow_mlops.engines.mlflow.MlflowEngine.log_metrics"),
    "before the model is linked": ("before", "mlflow.MlflowClient.log_outputs"),
    "after the model is linked": ("after", "mlflow.MlflowClient.log_outputs"),
    "before the model is uploaded": ("before", f"{_STORE}.log_artifacts"),
    "before the model is ready": ("before", "mlflow.MlflowClient.finalize_logged_model"),
    "after the model": ("after", "airflow_mlops.engines.mlflow.MlflowEngine.log_model"),
    "after the result is written down": ("before", "airflow_mlops.operators.training.DockerTrainingOperator._finish"),
    "before the training is in the audit trail": ("before", "airflow_mlops.operators.training.ending.append_event"),
    "before the run has ended": ("before", "airflow_mlops.engines.mlflow.MlflowEngine.end_run"),
    "after the run has ended": ("after", "airflow_mlops.engines.mlflow.MlflowEngine.end_run"),
    "before the task returns": ("after", "airflow_mlops.engines.docker.DockerEngine.remove"),
}


class StateStore:
    """Airflow's task state store, at the border of the process: a file in place of the API server's table."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.file.read_text()).get(key, default) if self.file.exists() else default

    def set(self, key: str, value: Any) -> None:
        self.file.write_text(json.dumps({key: value}))

    def delete(self, key: str) -> None:
        self.file.unlink(missing_ok=True)


class Try:
    """One try of a training task."""

    def __init__(self, folder: Path, fields: dict[str, Any], **numbers: int) -> None:
        self.folder, self.fields = folder, fields
        self.numbers = {"try_number": 1, "max_tries": 3, "clear_number": 0, **numbers}

    @property
    def operator(self) -> DockerTrainingOperator:
        given = {**self.fields, "program": ("sh", "-c", textwrap.dedent(self.fields["program"]))}
        return DockerTrainingOperator(task_id="train", run_name="first", **given)

    @property
    def context(self) -> Any:
        ti = SimpleNamespace(
            dag_id="faults",
            run_id=self.fields["experiment_name"],
            task_id="train",
            map_index=-1,
            try_number=self.numbers["try_number"],
            max_tries=self.numbers["max_tries"],
            xcom_push=lambda key, value: None,
        )
        return {
            "ti": ti,
            "dag": SimpleNamespace(folder="/"),
            "dag_run": SimpleNamespace(clear_number=self.numbers["clear_number"]),
            "task_state_store": StateStore(self.folder / "state.json"),
        }

    def begin(self, *, kill_at: str | None = None, resume: bool = False) -> BaseProcess:
        """Start it in a process of its own, with Airflow's signal handler."""
        options = {"environment": dict(os.environ), "kill_at": kill_at, "resume": resume}
        process = SERVER.Process(target=_run, args=(self.folder, self.fields, self.numbers), kwargs=options)
        process.start()
        return process

    def die(self, at: str, *, resume: bool = False) -> None:
        """Run it in a process of its own, until SIGKILL ends that at a point."""
        process = self.begin(kill_at=at, resume=resume)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode}, and never was {at}"
        process.close()

    def execute(self) -> Any:
        return self.operator.execute(self.context)

    def resume(self, event: dict[str, Any]) -> Any:
        return self.operator.resume_execution("execute_complete", {"event": event}, self.context)

    def defer(self) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferred:
            self.execute()
        return deferred.value


def _run(
    folder: Path,
    fields: dict[str, Any],
    numbers: dict[str, int],
    *,
    environment: dict[str, str],
    kill_at: str | None,
    resume: bool,
) -> None:
    os.environ.update(environment)
    work = Try(folder, fields, **numbers)
    operator = work.operator
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    if kill_at:
        arm(*KILL_POINTS[kill_at])
    if resume:
        operator.resume_execution("execute_complete", {"event": {"error": None}}, work.context)
    else:
        operator.execute(work.context)


def arm(when: str, target: str) -> None:
    """Let this process kill itself before or after a function."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    owner, _, name = target.rpartition(".")
    from pkgutil import resolve_name

    where = resolve_name(owner)
    function: Callable[..., Any] = getattr(where, name)

    def afterwards(*arguments: Any, **keywords: Any) -> None:
        function(*arguments, **keywords)
        die()

    setattr(where, name, die if when == "before" else afterwards)
