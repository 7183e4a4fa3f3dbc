"""Where a training waits for its job: in its worker, or freed while a triggerer waits; all else is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.sdk import Context
from airflow.sdk.configuration import conf

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import Job, JobEngine, JobHandle, JobResult
from airflow_mlops.domain.progress import JobProgress
from airflow_mlops.domain.secrets import hidden_texts
from airflow_mlops.domain.training import RunRef
from airflow_mlops.exceptions import DockerUnavailableError, TransientError
from airflow_mlops.hooks.docker import DockerHostHook
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.operators.memory import TrainingMemory
from airflow_mlops.operators.training.base import TrainModelOperator
from airflow_mlops.salvage import AbandonedJob, begin_salvage

if TYPE_CHECKING:
    from airflow_mlops.engines.docker import DockerEngine


class DeferrableTrainingOperator(TrainModelOperator):
    """A training whose job goes on without its worker, on a Docker host.

    Further parameters: see :class:`TrainModelOperator`.

    :param docker_conn_id: connection of the Docker host; ``None`` is the worker's own engine.
    :param deferrable: free the worker while the job runs; a triggerer then waits for it. Default is
        ``[operators] default_deferrable``.
    :param keep_on_failure: keep the container of a job that did not succeed, under another name. The task's log says
        how to remove it.
    """

    is_job_safe = True

    def __init__(
        self,
        *,
        docker_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        keep_on_failure: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.docker_conn_id = docker_conn_id
        self.deferrable = deferrable
        self.keep_on_failure = keep_on_failure
        self._handle: JobHandle | None = None
        self._progress: JobProgress | None = None

    def engine(self) -> DockerEngine:
        """Return the engine of the Docker host."""
        return DockerHostHook(self.docker_conn_id).engine()

    def submit(self, job: Job, engine: JobEngine) -> JobHandle | None:
        """Submit the job."""
        super().submit(job, engine)
        self._handle = cast("DockerEngine", engine).submit(job)  # It is what ``engine`` returns.
        return self._handle if self.deferrable else None

    def wait_deferred(self, job: Job, run: RunRef, handle: JobHandle) -> NoReturn:
        """Let a triggerer wait for the job."""
        from airflow_mlops.triggers.docker import DockerJobTrigger

        trigger = DockerJobTrigger(
            handle=handle.to_dict(),
            limits=job.limits.to_dict(),
            run_id=run.run_id,
            docker_conn_id=self.docker_conn_id,
            mlflow_conn_id=self.mlflow_conn_id,
            keep_on_failure=self.keep_on_failure,
            secrets=self.secrets,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on when the job has ended. When the trigger has timed out or failed, end the training as it is."""
        snapshot, engine = Snapshot.from_dict(self.dataset), self.engine()
        mlflow, memory = MlflowHook(self.mlflow_conn_id).engine(), TrainingMemory(context)
        state = memory.recall()
        if state is None or state.handle is None:
            msg = "What this task wrote down of its job is gone. A retry finds the job by its label."
            raise TransientError(msg)
        job = self.job(snapshot, Path(), context)  # Its inputs are in its container.
        run = RunRef(run_id=state.run_id, experiment_id=state.experiment_id)
        self._started, self._run, self._handle = (engine, job), (mlflow, run.run_id), state.handle
        with self._ended(job, engine, mlflow, memory) as output:
            event = super().resume_execution(next_method, next_kwargs, context)
            if event["error"]:
                raise DockerUnavailableError(event["error"])
            self._progress = JobProgress.from_dict(event["progress"]) if event.get("progress") else None
            return self.complete(
                job, snapshot=snapshot, run=run, engine=engine, mlflow=mlflow, context=context, output=output
            )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
        """Return the trigger's event to :meth:`resume_execution`, which also hears of a trigger without one."""
        return event

    def run_job(self, job: Job, engine: JobEngine, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run the job to its end, or go on where a triggerer has followed it to."""
        assert self._handle is not None  # noqa: S101 - submitted by this or another process
        return cast("DockerEngine", engine).resume(self._handle, job.limits, output, log, self._progress)

    def abandon(self) -> None:
        """Leave the job to a process that outlives the task's, and ends what the task has no time to end."""
        super().abandon()
        if self._started is None or self._run is None:
            return
        (engine, job), (mlflow, run_id) = self._started, self._run
        abandoned = AbandonedJob(
            work_key=job.work_key,
            limits=job.limits,
            run_id=run_id,
            reason="Its task was killed: marked failed, cleared, or its worker was shut down",
            hidden=tuple(hidden_texts(job.secrets)),
            keep_container=self.keep_on_failure,
        )
        docker = cast("DockerEngine", engine)  # what :meth:`engine` has returned
        begin_salvage(abandoned, replace(docker, job_id=self._handle.job_id if self._handle else None), mlflow)

    def _remove(self, job: Job, engine: JobEngine) -> None:
        if not self.keep_on_failure:
            engine.remove(job.work_key)
        elif name := engine.keep(job.work_key):
            self.log.info("The container is kept as %s. When you have seen it: docker rm --volumes %s", name, name)
