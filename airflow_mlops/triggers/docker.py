"""Wait for jobs on Docker hosts: any number of them, over one connection to each host and one to each log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlops.domain.job import JobHandle, JobLimits
from airflow_mlops.domain.job_figures import MetricStep
from airflow_mlops.domain.progress import JobProgress
from airflow_mlops.domain.secrets import hidden_texts, redact
from airflow_mlops.exceptions import DockerUnavailableError, MlopsError
from airflow_mlops.hooks.docker import DockerHostHook
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.salvage import AbandonedJob, end_abandoned

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine

_KILL_GRACE_SECONDS = 10.0  # ``on_kill`` has 30 s in all, see ``[triggerer] on_kill_timeout``.
_METRICS = ThreadPoolExecutor(1, thread_name_prefix="job-metrics")
"""One thread for the metrics of all jobs: an MLflow that is slow must not take those that others wait for."""


class DockerJobTrigger(BaseTrigger):
    """Wait until a job has ended, and hold it to its wall time limit. The job itself is collected by the task.

    Meanwhile its log goes to the task's log, its metrics to MLflow, and what it uses is measured.

    A restart of the triggerer stops nothing: another one goes on waiting, by the times of the job's host, and shows the
    log from its beginning. When a person marks the task failed or clears it, or its Dag run fails, the job is stopped
    and its MLflow run ended, with the log and partial results as artifacts, since no worker will come to do that.

    The event is ``{"error": None, "progress": {…}}``, where a worker goes on with
    :class:`~airflow_mlops.domain.progress.JobProgress`, or has an error in words when the host could not be asked for a
    while.

    :param handle: the job, a :class:`~airflow_mlops.domain.job.JobHandle` as a dict.
    :param limits: its :class:`~airflow_mlops.domain.job.JobLimits` as a dict.
    :param run_id: its MLflow run.
    :param docker_conn_id: connection of the Docker host; ``None`` is the triggerer's own engine.
    :param mlflow_conn_id: the MLflow connection.
    :param keep_on_failure: keep the container of a stopped job, under another name.
    :param secrets: where Airflow keeps what must not be seen in its log.
    """

    def __init__(
        self,
        *,
        handle: Mapping[str, Any],
        limits: Mapping[str, Any],
        run_id: str,
        docker_conn_id: str | None,
        mlflow_conn_id: str,
        keep_on_failure: bool = False,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.handle = JobHandle.from_dict(handle)
        self.limits = JobLimits.from_dict(limits)
        self.run_id = run_id
        self.docker_conn_id = docker_conn_id
        self.mlflow_conn_id = mlflow_conn_id
        self.keep_on_failure = keep_on_failure
        self.secrets = dict(secrets or {})
        self._mlflow: MlflowEngine | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as the triggerer stores them."""
        return f"{__name__}.{type(self).__name__}", {
            "handle": self.handle.to_dict(),
            "limits": self.limits.to_dict(),
            "run_id": self.run_id,
            "docker_conn_id": self.docker_conn_id,
            "mlflow_conn_id": self.mlflow_conn_id,
            "keep_on_failure": self.keep_on_failure,
            "secrets": self.secrets,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the job has ended, or its host is lost."""
        from airflow_mlops.engines.docker.watch import follow_job

        engine = await DockerHostHook(self.docker_conn_id).aengine()
        hidden = await self._hidden()
        error, progress = None, JobProgress()
        self.log.info("A triggerer follows the job %s. Its log, from the beginning:", self.handle.job_id[:12])
        try:
            progress = await follow_job(
                engine, self.handle, self.limits, log=lambda line: self.log.info(redact(line, hidden)), show=self._show
            )
        except DockerUnavailableError as lost:
            error = str(lost)
        yield TriggerEvent({"error": error, "progress": progress.to_dict()})  # type: ignore[no-untyped-call]  # Airflow's

    async def on_kill(self) -> None:
        """Stop the job, keep what it has left, and end its MLflow run as killed."""
        docker = await DockerHostHook(self.docker_conn_id).aengine()
        mlflow = await MlflowHook(self.mlflow_conn_id).aengine()
        abandoned = AbandonedJob(
            work_key=self.handle.work_key,
            limits=self.limits,
            run_id=self.run_id,
            reason="Its task was marked failed, cleared, or its Dag run ended",
            hidden=tuple(await self._hidden()),
            keep_container=self.keep_on_failure,
        )
        grace_seconds = min(docker.grace_seconds, _KILL_GRACE_SECONDS)
        docker = replace(docker, job_id=self.handle.job_id, grace_seconds=grace_seconds)
        await asyncio.to_thread(end_abandoned, abandoned, docker, mlflow)

    async def _hidden(self) -> list[str]:
        """Return what must not be seen of the job's secrets."""
        from airflow_mlops.hooks.secrets import read_secrets

        return hidden_texts(await asyncio.to_thread(read_secrets, self.secrets)) if self.secrets else []

    async def _show(self, steps: list[MetricStep]) -> None:
        """Log steps to MLflow. They are only shown early: the task logs them all when it collects the job."""
        try:
            self._mlflow = mlflow = self._mlflow or await MlflowHook(self.mlflow_conn_id).aengine()
            await asyncio.get_running_loop().run_in_executor(_METRICS, mlflow.log_metrics, self.run_id, {}, steps)
        except MlopsError as error:
            self.log.info("Metrics could not be shown at this moment: %s", error)
        except Exception:
            self.log.exception("Metrics are not shown while the job runs")
