"""Jobs in containers of a Docker host, local or remote: inputs go in and results come out through its API.

A job has a read-only root file system, no network, no capabilities, no way to new privileges, and hard limits. What it
writes is bounded in four ways, because Docker can limit a volume as a whole on few file systems only, and a volume in
memory is empty as soon as no container runs with it: ``/tmp`` is a file system of the given size in memory, no file
grows beyond that size, a job whose files hold more in all is killed when that is seen, and no more is collected.
"""

import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.domain.collection import LogLines, OutputBudget
from airflow_mlops.domain.job import (
    BASE_DIR,
    METRIC_STEPS,
    RESULTS,
    SALVAGED_LOG,
    Job,
    JobHandle,
    JobLimits,
    JobResult,
    JobState,
)
from airflow_mlops.domain.polling import WallLimit, follow
from airflow_mlops.domain.progress import JobProgress
from airflow_mlops.engines.docker.collecting import collect_output
from airflow_mlops.engines.docker.connection import open_client
from airflow_mlops.engines.docker.containers import (
    UNSTARTED,
    find_containers,
    is_gone,
    kill_overdue,
    parse_time,
    remove_container,
    remove_unstarted,
    signal_container,
    stop_overfull,
    waiting_seconds,
)
from airflow_mlops.engines.docker.files import fetch_folder, read_file, wipe_secrets
from airflow_mlops.engines.docker.following import Patience, open_log, read_tail, save_log
from airflow_mlops.engines.docker.images import Origin
from airflow_mlops.engines.docker.log import LogReader, TimedLog
from airflow_mlops.engines.docker.scratch import guard
from airflow_mlops.engines.docker.settings import container_name
from airflow_mlops.engines.docker.starting import ContainerStart
from airflow_mlops.engines.docker.usage import UsageMeter, sample
from airflow_mlops.exceptions import (
    JobOutOfDiskError,
    JobOutputError,
    MlopsError,
)

if TYPE_CHECKING:
    from docker import DockerClient

_LOG_SECONDS = 30.0  # for the rest of the log, once the job has ended


@dataclass(frozen=True, kw_only=True)
class DockerEngine:
    """Runs jobs on one Docker host.

    :param url: address of the host, such as ``tcp://host:2376``; ``None`` for the one that ``DOCKER_HOST`` names, or
        the local one.
    :param ca_certificate: path of the certificate that the host's own is signed with.
    :param client_certificate: path of this client's certificate.
    :param client_key: path of this client's key.
    :param username: login at the registry that images are pulled from.
    :param password: its password.
    :param grace_seconds: how long a job may take to stop, before it is killed.
    :param patience_seconds: how long the host may not answer while a job is followed, until that is an error.
    :param job_id: act on this container alone, even if a later one has the same work key.
    """

    url: str | None = None
    ca_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    grace_seconds: float = 30.0
    patience_seconds: float = 60.0
    job_id: str | None = None
    _prepared: dict[str, str] = field(default_factory=dict, repr=False, compare=False, init=False)
    """Work key to the container that :meth:`prepare` made."""

    def run(self, job: Job, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run ``job``, or attach to its container, and collect ``model/`` and ``output/`` into ``output``.

        Each line of the log begins with the time at which the job printed it. Raises what :meth:`submit`,
        :meth:`follow` and :meth:`collect` raise.
        """
        handle = self.submit(job)
        meter = self.follow(handle, job.limits, log)
        return self.collect(handle, job.limits, output, meter)

    def prepare(self, job: Job) -> None:
        """Make the container of ``job`` with its inputs, and do not start it, unless an earlier try has left one.

        :meth:`submit` of this engine then has less to do, and raises the same as this. What is never submitted is to be
        removed by :meth:`discard`; if its task dies, the retry does, or some later submission to the host.
        """
        with self._client() as client:
            container = self._start(client, job).obtain()
            if container.status == UNSTARTED:
                self._prepared[job.work_key] = str(container.id)

    def discard(self, job: Job) -> None:
        """Remove what :meth:`prepare` has made, when it is not to be submitted. Any other job stays as it is."""
        if prepared := self._prepared.pop(job.work_key, ""):
            with self._client() as client:
                remove_container(client, prepared)

    def submit(self, job: Job) -> JobHandle:
        """Start ``job`` unless an earlier try has, and return without waiting for it.

        :raises ImageNotFoundError: when the image is neither there nor to be pulled.
        :raises DockerUnavailableError: when the host does not answer. A retry attaches to the job.
        :raises InvalidInputError: when the host refuses the job, such as for a network that it does not have.
        """
        with self._client() as client:
            start = self._start(client, job)
            container = start.obtain(self._prepared.pop(job.work_key, ""))
            if container.status == UNSTARTED:
                start.start(container)
                remove_unstarted(client)  # The job runs by now.
                kill_overdue(client)
            container.reload()
            origin = Origin.of(client.images.get(container.attrs["Image"]), job.image or "")
            return JobHandle(
                work_key=job.work_key,
                job_id=str(container.id),
                started_at=parse_time(container.attrs["State"]["StartedAt"]),
                image_digest=origin.digest,
                code_version=origin.revision,
            )

    def follow(
        self, handle: JobHandle, limits: JobLimits, log: Callable[[str], None], progress: JobProgress | None = None
    ) -> UsageMeter:
        """Pass on the log until the job has ended, by itself or at its wall time limit, and measure what it uses.

        Of a job that has ended, the log is passed on whole, and nothing can be measured any more.

        :param progress: where another process has stopped to follow it.
        :raises DockerUnavailableError: when the host has not answered for :attr:`patience_seconds`.
        """
        progress = progress or JobProgress()
        lines = LogLines(log, progress.log)
        with self._client() as client:
            # Both times are the host's: its clock may differ from the worker's, and the job may run since long ago.
            elapsed = self._elapsed(client, handle)  # before the clock is read: no job is stopped before its time
            begun = time.monotonic() - elapsed
            patience = Patience(self.patience_seconds)
            meter, ended = UsageMeter(handle.started_at, progress.usage), threading.Event()
            arguments = (handle.job_id, meter, lambda: time.monotonic() - begun, ended)
            threading.Thread(target=self._sample, args=arguments, name="job-usage", daemon=True).start()
            threading.Thread(target=self._guard, args=(ended,), name="job-scratch", daemon=True).start()
            timed = TimedLog(lines, progress.log)
            reader = LogReader(timed, lambda since, live: open_log(client, handle.job_id, since, live=live))
            try:
                follow(
                    self.wall_limit(limits.wall_seconds),
                    elapsed=lambda: time.monotonic() - begun,
                    wait=lambda seconds: patience.wait(client, handle.job_id, seconds),
                    stop=lambda: signal_container(client, handle.job_id, "SIGTERM"),
                    kill=lambda: signal_container(client, handle.job_id, "SIGKILL"),
                )
                reader.finish(_LOG_SECONDS)
            finally:
                ended.set()
                reader.close()  # which also ends a reader that still waits
            if lines.is_full:
                lines.show_end(read_tail(client, handle.job_id))
            return meter

    def collect(self, handle: JobHandle, limits: JobLimits, output: Path, meter: UsageMeter | None = None) -> JobResult:
        """Copy what the ended job left into the empty local folder ``output``, and say how it ended.

        Its own times tell whether its limit ended it, so that the answer is the same whoever asks, and when.

        :param meter: what was measured while it was followed.
        :raises JobOutputError: when the job left what must not be collected, such as a link.
        """
        from docker.errors import APIError

        with self._client() as client:
            try:
                container = client.containers.get(handle.job_id)
                wipe_secrets(container)
                result = collect_output(container, limits, output, handle, self.wall_limit(limits.wall_seconds))
                usage = (meter or UsageMeter(result.started_at)).usage(
                    waiting_seconds=waiting_seconds(container), finished_at=result.finished_at
                )
                if container.attrs["State"]["OOMKilled"]:  # The kernel kills at the limit: no sample tells as much.
                    reached = max(usage.peak_memory_bytes or 0, limits.memory_mb * 2**20)
                    usage = replace(usage, peak_memory_bytes=reached)
                return replace(result, usage=usage)
            except APIError:
                if not is_gone(client, handle.job_id):
                    raise
                return JobResult(
                    state=JobState.STOPPED,
                    exit_code=None,
                    reason="its container was removed before it was collected",
                    image_digest=handle.image_digest,
                    code_version=handle.code_version,
                    started_at=handle.started_at,
                    finished_at=max(handle.started_at, parse_time(client.info()["SystemTime"])),
                )

    def stop(self, work_key: str, *, grace_seconds: float | None = None) -> None:
        """Ask the job of this key to stop, and kill it when its grace is over. Its container stays.

        The host itself waits and kills, so the job ends even if whoever asked has gone by then.
        """
        grace = self.grace_seconds if grace_seconds is None else grace_seconds
        with self._client() as client:
            for container in find_containers(client, work_key, self.job_id):
                container.stop(timeout=math.ceil(grace))

    def keep(self, work_key: str) -> str:
        """Set the container of this key aside under another name, so that no retry finds it, and return that name."""
        with self._client() as client:
            for container in find_containers(client, work_key, self.job_id):
                wipe_secrets(container)
                name = f"{container.name}-kept-{str(container.id)[:12]}"
                container.rename(name)
                return name
        return ""

    def resume(
        self,
        handle: JobHandle,
        limits: JobLimits,
        output: Path,
        log: Callable[[str], None],
        progress: JobProgress | None = None,
    ) -> JobResult:
        """Follow and collect a job that was submitted earlier, by this or another process, see :meth:`run`.

        :param progress: where another process has stopped to follow it.
        """
        return self.collect(handle, limits, output, self.follow(handle, limits, log, progress))

    def has(self, work_key: str) -> bool:
        """Whether there is a container of this key, running or not."""
        with self._client() as client:
            return bool(find_containers(client, work_key, self.job_id))

    def salvage(self, work_key: str, limits: JobLimits, folder: Path) -> None:
        """Copy what a job has left into ``folder``: ``output/``, and the end of its log with times."""
        with self._client() as client:
            for container in find_containers(client, work_key, self.job_id):
                folder.mkdir(parents=True, exist_ok=True)
                save_log(container, folder / SALVAGED_LOG)
                with contextlib.suppress(JobOutOfDiskError, JobOutputError):  # A part of it is better than nothing.
                    fetch_folder(container, RESULTS, folder, OutputBudget(limits))

    def stop_overfull(self) -> None:
        """Kill the running jobs of this host, whoever started them, whose files hold more than their scratch space."""
        with self._client() as client:
            stop_overfull(client)

    def wall_limit(self, wall_seconds: float) -> WallLimit:
        """Return the decisions about a job's wall time, the same for each way of waiting."""
        return WallLimit(wall_seconds=wall_seconds, grace_seconds=self.grace_seconds)

    def read_metrics_file(self, work_key: str, *, longer_than: int, most: int) -> bytes:
        """Return the file as it is now, if it has more than ``longer_than`` bytes and at most ``most``."""
        with self._client() as client:
            for container in find_containers(client, work_key, self.job_id):
                return read_file(container, f"{BASE_DIR}/{METRIC_STEPS}", longer_than=longer_than, most=most)
        return b""

    def remove(self, work_key: str) -> None:
        """Remove the container of this key with its volume, running or not. Does nothing when there is none."""
        with self._client() as client:
            if self.job_id is None:
                remove_container(client, container_name(work_key))
                return
            for container in find_containers(client, work_key, self.job_id):
                remove_container(client, str(container.id))

    def check(self) -> str:
        """Ask the host for its version, and return what to tell the person who asked whether it works."""
        with self._client() as client:
            return f"Docker {client.version()['Version']} answers at {self.address}"

    @property
    def address(self) -> str:
        """The host's address, in words."""
        return self.url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    @staticmethod
    def _elapsed(client: "DockerClient", handle: JobHandle) -> float:
        return float((parse_time(client.info()["SystemTime"]) - handle.started_at).total_seconds())

    def _sample(self, job_id: str, meter: UsageMeter, elapsed: Callable[[], float], ended: threading.Event) -> None:
        """Measure until the job has ended. Nobody waits for the last answer, which may come late and is empty."""
        with contextlib.suppress(MlopsError), self._client() as client:
            stats = functools.partial(client.api.stats, job_id, stream=False, one_shot=True)
            sample(meter, stats=stats, elapsed=elapsed, ended=ended)

    def _guard(self, ended: threading.Event) -> None:
        """Hold jobs to their scratch space until this one has ended."""
        with contextlib.suppress(MlopsError), self._client() as client:
            guard(lambda: stop_overfull(client), ended)

    def _start(self, client: "DockerClient", job: Job) -> ContainerStart:
        return ContainerStart(
            client=client,
            job=job,
            address=self.address,
            login={"username": self.username, "password": self.password} if self.username else None,
            wall_limit=self.wall_limit(job.limits.wall_seconds),
            job_id=self.job_id,
        )

    def _client(self) -> contextlib.AbstractContextManager["DockerClient"]:
        tls = self.ca_certificate, self.client_certificate, self.client_key
        return open_client(self.url, self.address, tls)
