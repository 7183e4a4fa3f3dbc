"""Wait for jobs on Docker hosts: any number of them over one connection to each host."""

import asyncio
import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlops.domain.job import JobHandle, JobLimits
from airflow_mlops.domain.polling import afollow
from airflow_mlops.domain.registry import TAG_FAILURE
from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.exceptions import DockerUnavailableError
from airflow_mlops.hooks.docker import DockerHostHook
from airflow_mlops.hooks.mlflow import MlflowHook

_log = logging.getLogger(__name__)
_RECONNECT_SECONDS = 1.0
_LIST_SECONDS = 30.0
_KILL_GRACE_SECONDS = 10.0  # ``on_kill`` has 30 s in all, see ``[triggerer] on_kill_timeout``.


class DockerJobTrigger(BaseTrigger):
    """Wait until a job has ended, and hold it to its wall time limit. The job itself is collected by the task.

    A restart of the triggerer stops nothing: another one goes on waiting, by the times of the job's host. When a person
    marks the task failed or clears it, or its Dag run fails, the job is stopped and its MLflow run ended, with the log
    and partial results as artifacts, since no worker will come to do that.

    The event is ``{"error": None}``, or with an error in words when the host could not be asked for a while.

    :param handle: the job, a :class:`~airflow_mlops.domain.job.JobHandle` as a dict.
    :param limits: its :class:`~airflow_mlops.domain.job.JobLimits` as a dict.
    :param run_id: its MLflow run.
    :param docker_conn_id: connection of the Docker host; ``None`` is the triggerer's own engine.
    :param mlflow_conn_id: the MLflow connection.
    :param keep_on_failure: keep the container of a stopped job, under another name.
    :param keep_log: save the log of a stopped job. Not for a job with secrets: only its task knows what to redact.
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
        keep_log: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.handle = JobHandle.from_dict(handle)
        self.limits = JobLimits.from_dict(limits)
        self.run_id = run_id
        self.docker_conn_id = docker_conn_id
        self.mlflow_conn_id = mlflow_conn_id
        self.keep_on_failure = keep_on_failure
        self.keep_log = keep_log

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as the triggerer stores them."""
        return f"{__name__}.{type(self).__name__}", {
            "handle": self.handle.to_dict(),
            "limits": self.limits.to_dict(),
            "run_id": self.run_id,
            "docker_conn_id": self.docker_conn_id,
            "mlflow_conn_id": self.mlflow_conn_id,
            "keep_on_failure": self.keep_on_failure,
            "keep_log": self.keep_log,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the job has ended, or its host is lost."""
        engine = await DockerHostHook(self.docker_conn_id).aengine()
        job_id = self.handle.job_id
        error = None
        try:
            async with HostWatch.of(engine).job(job_id) as job:
                await afollow(
                    engine.wall_limit(self.limits.wall_seconds),
                    elapsed=lambda: job.elapsed(self.handle.started_at),
                    wait=job.wait,
                    stop=lambda: asyncio.to_thread(engine.signal, job_id, "SIGTERM"),
                    kill=lambda: asyncio.to_thread(engine.signal, job_id, "SIGKILL"),
                )
        except DockerUnavailableError as lost:
            error = str(lost)
        yield TriggerEvent({"error": error})  # type: ignore[no-untyped-call]  # Airflow's

    async def on_kill(self) -> None:
        """Stop the job, keep what it has left, and end its MLflow run as killed."""
        docker = await DockerHostHook(self.docker_conn_id).aengine()
        mlflow = await MlflowHook(self.mlflow_conn_id).aengine()

        def kill() -> None:
            work_key = self.handle.work_key
            try:
                docker.stop(work_key, grace_seconds=min(docker.grace_seconds, _KILL_GRACE_SECONDS))
                with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
                    docker.salvage(work_key, self.limits, Path(folder), with_log=self.keep_log)
                    mlflow.log_files(self.run_id, Path(folder), "job")
            finally:
                mlflow.set_tags(self.run_id, {TAG_FAILURE: "Its task was marked failed, cleared, or its Dag run ended"})
                mlflow.end_run(self.run_id, "KILLED")
            if self.keep_on_failure:
                docker.keep(work_key)
            else:
                docker.remove(work_key)

        await asyncio.to_thread(kill)


class WatchedJob:
    """One job of a watched host."""

    def __init__(self, watch: "HostWatch") -> None:
        self._watch = watch
        self._changed = asyncio.Event()
        self._error: DockerUnavailableError | None = None

    def elapsed(self, started_at: datetime) -> float:
        """Return for how long it has run, by its host's clock."""
        return self._watch.elapsed(started_at)

    async def wait(self, seconds: float) -> bool:
        """Return whether it has ended within this time.

        :raises DockerUnavailableError: when its host has not answered for long.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        if self._error is not None:
            raise self._error
        return self._changed.is_set()

    def end(self, error: DockerUnavailableError | None = None) -> None:
        """Tell that it has ended, or that nobody knows."""
        self._error = error
        self._changed.set()


class HostWatch:
    """Follows the events of one Docker host, for all jobs that this process waits for.

    A thread reads the events from one connection that stays open. Whenever a job is added, the connection was lost, or
    half a minute has passed, the running jobs are listed with one request, so that no end is missed, whatever happens
    to an event, and a host that is gone is noticed.
    """

    _watches: "dict[tuple[int, DockerEngine], HostWatch]" = {}  # noqa: RUF012 - one for each event loop and host

    @classmethod
    def of(cls, engine: DockerEngine) -> "HostWatch":
        """Return the one watch of this host in this event loop."""
        key = (id(asyncio.get_running_loop()), engine)
        return cls._watches.setdefault(key, cls(engine, key))

    def __init__(self, engine: DockerEngine, key: "tuple[int, DockerEngine]") -> None:
        self._engine = engine
        self._key = key
        self._jobs: dict[str, set[WatchedJob]] = {}
        self._is_unlisted = asyncio.Event()
        self._known = asyncio.Event()
        self._ahead = 0.0
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def job(self, job_id: str) -> AsyncIterator[WatchedJob]:
        """Give a job to wait for. The host is watched for as long as there is one."""
        job = WatchedJob(self)
        self._jobs.setdefault(job_id, set()).add(job)
        self._is_unlisted.set()
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="docker-host-watch")
        try:
            await self._clock(job)
            yield job
        finally:
            self._jobs[job_id].discard(job)
            if not self._jobs[job_id]:
                del self._jobs[job_id]
            if not self._jobs and self._task is not None:
                self._watches.pop(self._key, None)
                self._task.cancel()
                self._task = None

    def elapsed(self, started_at: datetime) -> float:
        """Return the seconds since a time of the host's clock."""
        return time.time() + self._ahead - started_at.timestamp()

    async def _clock(self, job: WatchedJob) -> None:
        """Wait until the host's clock is known, or the host is lost."""
        while not self._known.is_set():
            if await job.wait(_RECONNECT_SECONDS / 10):
                return

    async def _watch(self) -> None:
        """Follow the host until nobody waits any more. Connect again when it is lost, with patience."""
        lost_at: float | None = None
        while True:
            try:
                now = await asyncio.to_thread(self._engine.now)
                self._ahead = (now - datetime.now(now.tzinfo)) / timedelta(seconds=1)
                self._known.set()
                lost_at = None
                await self._follow(now)
            except DockerUnavailableError as error:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > self._engine.patience_seconds:
                    self._end(list(self._jobs), error)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _follow(self, now: datetime) -> None:
        """Tell jobs of their ends until the connection is lost."""
        loop = asyncio.get_running_loop()
        lost = asyncio.Event()
        events = _Events(self._engine, int(now.timestamp()), loop, self._end, lost)
        try:
            while not lost.is_set():
                self._is_unlisted.clear()
                known = list(self._jobs)
                running = await asyncio.to_thread(self._engine.running)
                self._end([job_id for job_id in known if job_id not in running])
                wakers = [asyncio.create_task(event.wait()) for event in (lost, self._is_unlisted)]
                await asyncio.wait(wakers, timeout=_LIST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for waker in wakers:
                    waker.cancel()
        finally:
            events.close()

    def _end(self, job_ids: list[str], error: DockerUnavailableError | None = None) -> None:
        for job_id in job_ids:
            for job in self._jobs.get(job_id, ()):
                job.end(error)


class _Stream(Protocol):
    def close(self) -> None: ...


class _Events:
    """The thread that reads a host's events."""

    def __init__(
        self, engine: DockerEngine, since: int, loop: asyncio.AbstractEventLoop, end: Any, lost: asyncio.Event
    ) -> None:
        self._engine, self._since, self._loop, self._end, self._lost = engine, since, loop, end, lost
        self._stream: _Stream | None = None
        self._is_closed = False
        threading.Thread(target=self._read, name="docker-events", daemon=True).start()

    def close(self) -> None:
        self._is_closed = True
        if self._stream is not None:
            with contextlib.suppress(Exception):  # It may be half open.
                self._stream.close()

    def _read(self) -> None:
        with contextlib.suppress(RuntimeError):  # The event loop has been closed: nobody waits any more.
            try:
                with self._engine.ends(self._since) as stream:
                    self._stream = stream
                    for event in stream:
                        if self._is_closed:
                            return
                        self._loop.call_soon_threadsafe(self._end, [event["Actor"]["ID"]])
            except Exception as error:  # noqa: BLE001 - whatever it is, the connection is made again
                _log.info("The events of the Docker host %s break off: %s", self._engine.address, error)
            self._loop.call_soon_threadsafe(self._lost.set)
