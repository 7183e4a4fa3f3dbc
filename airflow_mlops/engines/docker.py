"""Jobs in containers of a Docker host, local or remote: inputs go in and results come out through its API.

A job has a read-only root file system, no network, no capabilities, no way to new privileges, and hard limits. What it
writes is bounded in four ways, because Docker can limit a volume as a whole on few file systems only, and a volume in
memory is empty as soon as no container runs with it: ``/tmp`` is a file system of the given size in memory, no file
grows beyond that size, a job whose files hold more in all is killed when that is seen, and no more is collected.
"""

import base64
import contextlib
import functools
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow_mlops.domain.collection import LOG_TAIL_LINES, LogLines, OutputBudget
from airflow_mlops.domain.job import (
    BASE_DIR,
    FAILURE,
    LABEL_FINGERPRINT,
    LABEL_INPUT_BYTES,
    LABEL_PREPARED_SECONDS,
    LABEL_SCRATCH_BYTES,
    LABEL_SECRETS,
    LABEL_WORK_KEY,
    METRIC_STEPS,
    MODEL,
    RESULTS,
    SALVAGED_LOG,
    Job,
    JobHandle,
    JobLimits,
    JobResult,
    JobState,
    judge_end,
    read_reason,
)
from airflow_mlops.domain.polling import WallLimit, follow
from airflow_mlops.domain.progress import JobProgress
from airflow_mlops.engines.archive import CHUNK_BYTES, pack, pack_file, pack_wiped, read_member, unpack
from airflow_mlops.engines.docker_log import LogReader, TimedLog
from airflow_mlops.engines.docker_scratch import find_overfull, guard
from airflow_mlops.engines.docker_usage import UsageMeter, sample
from airflow_mlops.exceptions import (
    DockerUnavailableError,
    ImageNotFoundError,
    InvalidInputError,
    JobOutOfDiskError,
    JobOutputError,
    MlopsError,
    TransientError,
)

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container
    from docker.models.images import Image
    from docker.types import CancellableStream
    from requests import Response

REVISION_LABEL = "org.opencontainers.image.revision"

_USER = 1000
_LOG_SECONDS = 30.0  # for the rest of the log, once the job has ended
_SAVED_LINES = 50_000
_REASON_BYTES = 2**20
_NEWEST_DF_API = (1, 44)  # From 1.52 on, the answer has another form.
_UNSTARTED_SECONDS = 3600.0  # Copying the inputs in takes no longer.
_RECONNECT_SECONDS = 1.0
_NOT_FOUND = 404
_API_VERSIONS: dict[str, str] = {}
"""What each host speaks, by its address: asking costs a request for each connection."""
_CONFLICT = 409


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
            _sweep(client)
            if self._attachable(client, job) is None:
                self._prepared[job.work_key] = str(self._create(client, job).id)

    def discard(self, job: Job) -> None:
        """Remove what :meth:`prepare` has made, when it is not to be submitted. Any other job stays as it is."""
        from docker.errors import NotFound

        if prepared := self._prepared.pop(job.work_key, ""):
            with self._client() as client, contextlib.suppress(NotFound):
                _remove(client.containers.get(prepared))

    def submit(self, job: Job) -> JobHandle:
        """Start ``job`` unless an earlier try has, and return without waiting for it.

        :raises ImageNotFoundError: when the image is neither there nor to be pulled.
        :raises DockerUnavailableError: when the host does not answer. A retry attaches to the job.
        :raises InvalidInputError: when the host refuses the job, such as for a network that it does not have.
        """
        with self._client() as client:
            container = self._attachable(client, job)
            if container is None:
                _sweep(client)
                container = self._create(client, job)
            if container.status == "created":
                self._start(container, job)
            container.reload()
            origin = _Origin.of(client.images.get(container.attrs["Image"]), job.image or "")
            return JobHandle(
                work_key=job.work_key,
                job_id=str(container.id),
                started_at=_time(container.attrs["State"]["StartedAt"]),
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
            begun = time.monotonic() - self._elapsed(client, handle)
            patience = _Patience(self.patience_seconds)
            meter, ended = UsageMeter(handle.started_at, progress.usage), threading.Event()
            arguments = (handle.job_id, meter, lambda: time.monotonic() - begun, ended)
            threading.Thread(target=self._sample, args=arguments, name="job-usage", daemon=True).start()
            threading.Thread(target=self._guard, args=(ended,), name="job-scratch", daemon=True).start()
            timed = TimedLog(lines, progress.log)
            reader = LogReader(timed, lambda since, live: _open_log(client, handle.job_id, since, live=live))
            try:
                follow(
                    self.wall_limit(limits.wall_seconds),
                    elapsed=lambda: time.monotonic() - begun,
                    wait=lambda seconds: patience.wait(client, handle.job_id, seconds),
                    stop=lambda: _signal(client, handle.job_id, "SIGTERM"),
                    kill=lambda: _signal(client, handle.job_id, "SIGKILL"),
                )
                reader.finish(_LOG_SECONDS)
            finally:
                ended.set()
                reader.close()  # which also ends a reader that still waits
            if lines.is_full:
                lines.show_end(_tail(client, handle.job_id))
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
                _wipe_secrets(container)
                result = _collect(container, limits, output, handle, self.wall_limit(limits.wall_seconds))
                usage = (meter or UsageMeter(result.started_at)).usage(
                    waiting_seconds=_waiting_seconds(container), finished_at=result.finished_at
                )
                return replace(result, usage=usage)
            except APIError:
                if not _is_gone(client, handle.job_id):
                    raise
                return JobResult(
                    state=JobState.STOPPED,
                    exit_code=None,
                    reason="its container was removed before it was collected",
                    image_digest=handle.image_digest,
                    code_version=handle.code_version,
                    started_at=handle.started_at,
                    finished_at=max(handle.started_at, _time(client.info()["SystemTime"])),
                )

    def stop(self, work_key: str, *, grace_seconds: float | None = None) -> None:
        """Ask the job of this key to stop, and kill it when its grace is over. Its container stays.

        The host itself waits and kills, so the job ends even if whoever asked has gone by then.
        """
        grace = self.grace_seconds if grace_seconds is None else grace_seconds
        with self._client() as client:
            for container in _find(client, work_key, self.job_id):
                container.stop(timeout=math.ceil(grace))

    def keep(self, work_key: str) -> str:
        """Set the container of this key aside under another name, so that no retry finds it, and return that name."""
        with self._client() as client:
            for container in _find(client, work_key, self.job_id):
                _wipe_secrets(container)
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
            return bool(_find(client, work_key, self.job_id))

    def salvage(self, work_key: str, limits: JobLimits, folder: Path) -> None:
        """Copy what a job has left into ``folder``: ``output/``, and the end of its log with times."""
        with self._client() as client:
            for container in _find(client, work_key, self.job_id):
                folder.mkdir(parents=True, exist_ok=True)
                _save_log(container, folder / SALVAGED_LOG)
                with contextlib.suppress(JobOutOfDiskError, JobOutputError):  # A part of it is better than nothing.
                    _fetch(container, RESULTS, folder, OutputBudget(limits))

    def stop_overfull(self) -> None:
        """Kill the running jobs of this host, whoever started them, whose files hold more than their scratch space."""
        with self._client() as client:
            _stop_overfull(client)

    def wall_limit(self, wall_seconds: float) -> WallLimit:
        """Return the decisions about a job's wall time, the same for each way of waiting."""
        return WallLimit(wall_seconds=wall_seconds, grace_seconds=self.grace_seconds)

    def read_metrics_file(self, work_key: str, *, longer_than: int, most: int) -> bytes:
        """Return the file as it is now, if it has more than ``longer_than`` bytes and at most ``most``."""
        with self._client() as client:
            for container in _find(client, work_key, self.job_id):
                return _read_file(container, f"{BASE_DIR}/{METRIC_STEPS}", longer_than=longer_than, most=most)
        return b""

    def remove(self, work_key: str) -> None:
        """Remove the container of this key with its volume, running or not. Does nothing when there is none."""
        with self._client() as client:
            for container in _find(client, work_key, self.job_id):
                _remove(container)

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
        return float((_time(client.info()["SystemTime"]) - handle.started_at).total_seconds())

    def _sample(self, job_id: str, meter: UsageMeter, elapsed: Callable[[], float], ended: threading.Event) -> None:
        """Measure until the job has ended. Nobody waits for the last answer, which may come late and is empty."""
        with contextlib.suppress(MlopsError), self._client() as client:
            stats = functools.partial(client.api.stats, job_id, stream=False, one_shot=True)
            sample(meter, stats=stats, elapsed=elapsed, ended=ended)

    def _guard(self, ended: threading.Event) -> None:
        """Hold jobs to their scratch space until this one has ended."""
        with contextlib.suppress(MlopsError), self._client() as client:
            guard(lambda: _stop_overfull(client), ended)

    # Start -----------------------------------------------------------------------------------------------------------

    def _attachable(self, client: "DockerClient", job: Job) -> "Container | None":
        """Return the container of an earlier try that runs or can be collected, and remove any other of this key.

        One that was stopped from outside can not: that is what a retry cures. Nor one that was not started, since the
        try may have died before it had all its inputs, unless this engine has prepared it.
        """
        found, prepared = None, self._prepared.pop(job.work_key, "")
        for container in _find(client, job.work_key, self.job_id):
            is_useful = (
                container.id == prepared
                or container.attrs["State"]["Running"]
                or (
                    container.status == "exited"
                    and _end(container, self.wall_limit(job.limits.wall_seconds), "") is not JobState.STOPPED
                )
            )
            if found is None and is_useful and container.labels.get(LABEL_FINGERPRINT) == job.fingerprint:
                found = container
            else:
                _remove(container)
        return found

    def _create(self, client: "DockerClient", job: Job) -> "Container":
        """Make the container, and copy its inputs into it."""
        from docker.errors import APIError

        submitted = time.monotonic()
        image = self._image(client, job.image)
        settings = _settings(job, image)
        settings["labels"][LABEL_PREPARED_SECONDS] = f"{time.monotonic() - submitted:.3f}"
        try:
            container = client.containers.create(**settings)
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            msg = f"Another try of work {job.work_key} is starting its job on {self.address} at this moment."
            raise TransientError(msg) from error
        try:
            container.put_archive(BASE_DIR, pack(job, owner=_USER))
        except BaseException:
            with contextlib.suppress(Exception):  # The first error says more.
                _remove(container)
            raise
        return container

    def _start(self, container: "Container", job: Job) -> None:
        from docker.errors import APIError

        try:
            container.start()
        except BaseException as error:
            with contextlib.suppress(Exception):  # The first error says more.
                _remove(container)
            if job.gpus and isinstance(error, APIError) and "device" in str(error):
                msg = (
                    f"The Docker host {self.address} cannot give the job its GPUs (gpus={job.gpus!r}): "
                    f"{_explanation(error)}. Install the NVIDIA Container Toolkit there, or run the job elsewhere."
                )
                raise InvalidInputError(msg) from error
            raise

    def _image(self, client: "DockerClient", reference: str | None) -> "Image":
        from docker.errors import APIError, ImageNotFound

        if not reference:
            msg = "A job on a Docker host needs an image."
            raise InvalidInputError(msg)
        try:
            return client.images.get(reference)
        except ImageNotFound:
            pass
        remedy = "Build it there, push it to a registry that the host can reach, or correct the name."
        if reference.startswith("sha256:"):
            msg = (
                f"The image {reference} is not on the Docker host {self.address}, and an id cannot be pulled. {remedy}"
            )
            raise ImageNotFoundError(msg)
        login = {"username": self.username, "password": self.password} if self.username else None
        try:
            return client.images.pull(reference, auth_config=login)
        except APIError as error:
            msg = (
                f"The image {reference} is not on the Docker host {self.address}, "
                f"and cannot be pulled: {_explanation(error)}. {remedy}"
            )
            raise ImageNotFoundError(msg) from error

    # Connection ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self) -> Iterator["DockerClient"]:
        """Give a client, and tell a host that does not answer apart from a request that it refuses."""
        from docker.errors import APIError, DockerException, TLSParameterError
        from requests.exceptions import RequestException  # The SDK lets the errors of its HTTP library through.

        try:
            with contextlib.closing(self._connect(_API_VERSIONS.get(self.address))) as client:
                _API_VERSIONS[self.address] = client.api.api_version
                yield client
        except APIError as error:
            _API_VERSIONS.pop(self.address, None)
            if error.is_client_error():
                msg = f"The Docker host {self.address} refuses the job: {_explanation(error)}"
                raise InvalidInputError(msg) from error
            msg = f"The Docker host {self.address} failed: {_explanation(error)}"
            raise DockerUnavailableError(msg) from error
        except TLSParameterError as error:
            msg = f"The certificates for the Docker host {self.address} cannot be used: {error}"
            raise InvalidInputError(msg) from error
        except (DockerException, RequestException) as error:
            msg = (
                f"The Docker host {self.address} does not answer: {error}. "
                f"Check that it runs, the address of the connection, and that the worker may use it."
            )
            raise DockerUnavailableError(msg) from error

    def _connect(self, version: str | None) -> "DockerClient":
        import docker
        from docker.tls import TLSConfig

        if self.url is None:
            return docker.from_env(version=version)
        tls: TLSConfig | bool = False
        if self.ca_certificate or self.client_certificate:
            pair = (self.client_certificate, self.client_key) if self.client_certificate and self.client_key else None
            tls = TLSConfig(ca_cert=self.ca_certificate, client_cert=pair, verify=True)
        return docker.DockerClient(base_url=self.url, tls=tls, version=version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Which image a job ran, and from which source it was built."""

    digest: str
    revision: str | None

    @classmethod
    def of(cls, image: "Image", reference: str) -> "_Origin":
        """Prefer the digest under the name that was asked for: other hosts can pull it. A local image has its id."""
        digests: list[str] = image.attrs.get("RepoDigests") or []
        named = [digest for digest in digests if reference.startswith(digest.partition("@")[0])]
        return cls(digest=(named or digests or [str(image.id)])[0], revision=image.labels.get(REVISION_LABEL) or None)


def _settings(job: Job, image: "Image") -> dict[str, Any]:
    """Return the container's settings."""
    from docker.types import DeviceRequest, LogConfig, Ulimit

    limits = job.limits
    memory = f"{limits.memory_mb}m"
    settings: dict[str, Any] = {
        "image": image.id,
        "command": [job.command.value],
        "name": _name(job.work_key),  # A name is unique on the host, so two tries cannot both start.
        "labels": {
            **job.labels,
            LABEL_WORK_KEY: job.work_key,
            LABEL_FINGERPRINT: job.fingerprint,
            LABEL_SCRATCH_BYTES: str(limits.scratch_bytes),
            LABEL_INPUT_BYTES: str(job.input_bytes()),
            **({LABEL_SECRETS: ",".join(sorted(job.secrets))} if job.secrets else {}),
        },
        "environment": {"HOME": "/tmp", **job.environment_at(BASE_DIR)},  # noqa: S108 - the job's own file system
        "user": f"{_USER}:{_USER}",
        "network_mode": job.network or "none",
        "mem_limit": memory,
        "memswap_limit": memory,  # memory and swap together: no swap
        "nano_cpus": int(limits.cpus * 1e9),
        "pids_limit": limits.processes,
        "read_only": True,
        "tmpfs": {"/tmp": f"size={limits.scratch_mb}m,mode=1777"},  # noqa: S108 - the job's own file system
        "volumes": [BASE_DIR],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ulimits": [
            Ulimit(name="fsize", soft=limits.scratch_bytes, hard=limits.scratch_bytes),
            Ulimit(name="core", soft=0, hard=0),
        ],
        # The host's own default may keep a log without bounds, or where it cannot be read again.
        "log_config": LogConfig(type="json-file", config={"max-size": "50m", "max-file": "2"}),
        "init": True,  # Process 1 ignores a request to stop that it does not handle; an init passes it on.
    }
    if job.gpus:
        is_list = not isinstance(job.gpus, (int, str))
        count = -1 if job.gpus == "all" else job.gpus  # -1 is Docker's word for all
        which = {"device_ids": list(cast("Sequence[str]", job.gpus))} if is_list else {"count": count}
        settings["device_requests"] = [DeviceRequest(capabilities=[["gpu"]], **which)]
    return settings | ({"entrypoint": list(job.program)} if job.program else {})


def _name(work_key: str) -> str:
    return f"airflow-mlops-{work_key}"


def _find(client: "DockerClient", work_key: str, job_id: str | None) -> list["Container"]:
    """Return the container of this key. Those that were set aside have the label, but another name."""
    filters: dict[str, str | list[str] | bool] = {"label": f"{LABEL_WORK_KEY}={work_key}"}
    found = client.containers.list(all=True, filters=filters, ignore_removed=True)
    return [container for container in found if container.name == _name(work_key) and job_id in {None, container.id}]


def _sweep(client: "DockerClient") -> None:
    """Remove containers that were made long ago and never started: their task died in between, for the last time."""
    filters: dict[str, str | list[str] | bool] = {"label": LABEL_WORK_KEY, "status": "created"}
    now = time.time()
    for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
        is_new = abs(now - _time(container.attrs["Created"]).timestamp()) < _UNSTARTED_SECONDS
        if not is_new:
            _remove(container)


def _is_gone(client: "DockerClient", job_id: str) -> bool:
    """Whether the container was removed, or is being removed: the host may list it still, and fails in many ways."""
    from docker.errors import NotFound

    try:
        return client.containers.get(job_id).status in {"removing", "dead"}
    except NotFound:
        return True


def _remove(container: "Container") -> None:
    from docker.errors import APIError

    try:
        container.remove(force=True, v=True)
    except APIError as error:
        is_gone_or_going = error.status_code == _NOT_FOUND or "already in progress" in str(error)
        if not is_gone_or_going:
            raise


def _signal(client: "DockerClient", job_id: str, name: str) -> None:
    from docker.errors import APIError

    try:
        client.api.kill(job_id, signal=name)
    except APIError as error:
        if error.status_code not in {_CONFLICT, _NOT_FOUND}:  # It has just ended, or is gone.
            raise


def _stop_overfull(client: "DockerClient") -> None:
    """Measure all jobs that run on the host, and kill those that hold too much, with the reason as their own."""
    from docker.errors import APIError

    filters: dict[str, str | list[str] | bool] = {"label": LABEL_SCRATCH_BYTES, "status": "running"}
    containers = client.api.containers(filters=filters)
    for job in find_overfull(containers, _volumes(client) if containers else []):
        with contextlib.suppress(APIError):  # A full disk does not take the reason, or the job has just ended.
            client.api.put_archive(job.job_id, BASE_DIR, pack_file(FAILURE, job.reason.encode(), owner=_USER))
        with contextlib.suppress(APIError):
            client.api.kill(job.job_id, signal="SIGKILL")


def _volumes(client: "DockerClient") -> list[dict[str, Any]]:
    version = min(tuple(map(int, client.api.api_version.split("."))), _NEWEST_DF_API)
    address = f"{client.api.base_url}/v{'.'.join(map(str, version))}/system/df"
    # Engines before API 1.42 do not know ``type``, and add images and containers.
    answer = client.api.request("get", address, params={"type": "volume"}, timeout=client.api.timeout)
    answer.raise_for_status()
    volumes: list[dict[str, Any]] = answer.json().get("Volumes") or []
    return volumes


class _Patience:
    """Waits for a container over a host that does not answer for a while, since the job may well go on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lost_at: float | None = None

    def wait(self, client: "DockerClient", job_id: str, seconds: float) -> bool:
        """Return whether the container has ended within this time. Docker answers at once when it does."""
        from docker.errors import APIError
        from requests.exceptions import ConnectionError as RequestConnectionError
        from requests.exceptions import ReadTimeout

        try:
            client.api.wait(job_id, timeout=max(seconds, 0.1))  # type: ignore[arg-type]  # fractions work
        except ReadTimeout:
            self._lost_at = None
            return False
        except RequestConnectionError as error:
            if "Read timed out" in str(error):  # That is how a Unix socket says the same.
                self._lost_at = None
                return False
            self._lost_at = self._lost_at or time.monotonic()
            if time.monotonic() - self._lost_at >= self._seconds:
                raise
            time.sleep(min(_RECONNECT_SECONDS, seconds))
            return False
        except APIError as error:
            if error.status_code != _NOT_FOUND:
                raise
        return True


class _LogFrames:
    """The frames of a log, over a connection that is closed when nobody reads on."""

    def __init__(self, stream: "CancellableStream[bytes]") -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        finally:
            _release(self._stream)

    def close(self) -> None:
        self._stream.close()


def _release(stream: "CancellableStream[Any]") -> None:
    """Close a stream for good: the SDK's own ``close`` leaves the socket open that its response still holds."""
    with contextlib.suppress(Exception):  # It may be closed, or half open.
        stream.close()
    with contextlib.suppress(Exception):
        stream._response.close()  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to it


def _open_log(client: "DockerClient", job_id: str, since: int, *, live: bool) -> _LogFrames:
    return _LogFrames(client.api.logs(job_id, stream=True, follow=live, timestamps=True, since=since or None))


def _save_log(container: "Container", file: Path) -> None:
    with file.open("wb") as saved:
        for frame in _LogFrames(container.logs(stream=True, follow=False, timestamps=True, tail=_SAVED_LINES)):
            saved.write(frame)


def _tail(client: "DockerClient", job_id: str) -> list[str]:
    lines = LogLines(lambda _: None)
    lines.feed(client.api.logs(job_id, tail=LOG_TAIL_LINES), is_last=True)
    return lines.tail


def _end(container: "Container", limit: WallLimit, reason: str) -> JobState:
    """Return how an ended container ended."""
    state = container.attrs["State"]
    seconds = (_time(state["FinishedAt"]) - _time(state["StartedAt"])).total_seconds()
    return judge_end(
        exit_code=int(state["ExitCode"]),
        oom_killed=bool(state["OOMKilled"]),
        timed_out=limit.is_reached(seconds),
        reason=reason,
    )


def _collect(
    container: "Container", limits: JobLimits, output: Path, handle: JobHandle, wall_limit: WallLimit
) -> JobResult:
    """Copy what the ended job left, and judge its end. Of a failed one, the model is of no use."""
    state = container.attrs["State"]
    exit_code = int(state["ExitCode"])
    budget = OutputBudget(limits)
    problem = ""
    client = container.client
    assert client is not None  # noqa: S101 - the SDK gave the container
    end = _end(container, wall_limit, "")
    folders = [RESULTS, MODEL] if end is JobState.SUCCEEDED else [RESULTS]
    with ThreadPoolExecutor(len(folders)) as pool:  # The host needs its time to begin each.
        for fetching in [pool.submit(_fetch, container, folder, output, budget) for folder in folders]:
            try:
                fetching.result()
            except JobOutOfDiskError as error:
                problem = str(error)
    reason = problem
    if end is JobState.SUCCEEDED:
        end = JobState.OUT_OF_DISK if problem else end
    else:
        _fetch_reason(container, output)
        reason = read_reason(output, _tail(client, handle.job_id), exit_code)
        end = _end(container, wall_limit, reason)
    return JobResult(
        state=end,
        exit_code=exit_code,
        reason=reason,
        image_digest=handle.image_digest,
        code_version=handle.code_version,
        started_at=_time(state["StartedAt"]),
        finished_at=max(_time(state["StartedAt"]), _time(state["FinishedAt"])),  # Docker may note the end first.
    )


def _fetch_reason(container: "Container", output: Path) -> None:
    """Copy the job's own words, if its results are too much to copy whole."""
    if not (file := output / FAILURE).exists() and (
        words := _read_file(container, f"{BASE_DIR}/{FAILURE}", longer_than=0, most=_REASON_BYTES)
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(words)


def _fetch(container: "Container", folder: str, output: Path, budget: OutputBudget) -> None:
    """Copy a folder out of the container. The job can empty it, but not remove it."""
    with _archive(container, f"{BASE_DIR}/{folder}") as chunks:
        unpack(chunks, output, budget)


@contextlib.contextmanager
def _archive(container: "Container", path: str) -> Iterator[Iterator[bytes]]:
    """Give a tar stream out of a container, and close its connection, also if it is not read to its end.

    What the SDK's ``get_archive`` gives can not be closed: the garbage collector would do it, some day.

    :raises NotFound: when there is no such container or path.
    """
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    with _request(container, "get", path, stream=True) as answer:
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        yield answer.iter_content(CHUNK_BYTES)


def _request(container: "Container", method: str, path: str, **settings: Any) -> "Response":
    """Ask for a path in a container: its content, or with ``head`` what it is."""
    client = container.client
    assert client is not None  # noqa: S101 - the SDK gave the container
    address = f"{client.api.base_url}/v{client.api.api_version}/containers/{container.id}/archive"
    return client.api.request(method, address, params={"path": path}, timeout=client.api.timeout, **settings)


def _read_file(container: "Container", path: str, *, longer_than: int, most: int) -> bytes:
    """Return a small file of a container, if it has grown. Its size is asked first, which costs next to nothing."""
    answer = _request(container, "head", path)
    if answer.status_code == _NOT_FOUND:
        return b""
    answer.raise_for_status()
    description = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    if not longer_than < description["size"] <= most:
        return b""
    with _archive(container, path) as chunks:
        return read_member(b"".join(chunks))


def _wipe_secrets(container: "Container") -> None:
    """Empty the files that held secrets: the container may be kept for long, and its volume is on the host's disk."""
    names = [name for name in container.labels.get(LABEL_SECRETS, "").split(",") if name]
    if names and not container.attrs["State"]["Running"]:
        container.put_archive(BASE_DIR, pack_wiped(names, owner=_USER))


def _waiting_seconds(container: "Container") -> float:
    """Return how long the job waited: until its container was made, by the worker's clock, and then by the host's."""
    prepared = float(container.labels.get(LABEL_PREPARED_SECONDS, "0"))
    created, started = _time(container.attrs["Created"]), _time(container.attrs["State"]["StartedAt"])
    return prepared + max(0.0, (started - created).total_seconds())


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _explanation(error: "APIError") -> str:
    """Return Docker's own words, on one line and without a full stop."""
    return " ".join(str(error.explanation or error).split()).rstrip(".")
