"""Jobs in containers of a Docker host, local or remote: inputs go in and results come out through its API.

A job has a read-only root file system, no network, no capabilities, no way to new privileges, and hard limits. What it
writes is bounded in three ways, because Docker can limit a volume as a whole on few file systems only, and a volume in
memory is gone when the container ends: ``/tmp`` is a file system of the given size in memory, no file grows beyond that
size, and no more than that is collected.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.collection import LogLines, OutputBudget
from airflow_mlops.domain.job import (
    BASE_DIR,
    LABEL_FINGERPRINT,
    LABEL_WORK_KEY,
    MODEL,
    RESULTS,
    Job,
    JobLimits,
    JobResult,
    JobState,
    judge_end,
    read_reason,
)
from airflow_mlops.domain.polling import WallLimit, follow
from airflow_mlops.engines.archive import CHUNK_BYTES, pack, unpack
from airflow_mlops.exceptions import (
    DockerUnavailableError,
    ImageNotFoundError,
    InvalidInputError,
    JobOutOfDiskError,
    TransientError,
)

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container
    from docker.models.images import Image

REVISION_LABEL = "org.opencontainers.image.revision"

_USER = 1000
_LOG_SECONDS = 10.0  # for the rest of the log, once the job has ended
_NOT_FOUND = 404
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
    :param grace_seconds: how long a job may take to stop when it has reached its wall time limit.
    """

    url: str | None = None
    ca_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    grace_seconds: float = 30.0

    def run(self, job: Job, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run ``job``, or attach to its container, and collect ``model/`` and ``output/`` into ``output``.

        :raises ImageNotFoundError: when the image is neither there nor to be pulled.
        :raises DockerUnavailableError: when the host does not answer. A retry attaches to the job.
        :raises InvalidInputError: when the host refuses the job, such as for a network that it does not have.
        :raises JobOutputError: when the job left what must not be collected, such as a link.
        """
        from docker.errors import NotFound

        with self._client() as client:
            container = self._attachable(client, job) or self._start(client, job)
            container.reload()
            origin = _Origin.of(client.images.get(container.attrs["Image"]), job.image or "")
            lines = LogLines(log)
            try:
                timed_out = self._follow(client, container, job.limits, lines)
                container.reload()
                return _collect(container, job.limits, output, lines.tail, origin, timed_out=timed_out)
            except NotFound:
                state = container.attrs["State"]
                return JobResult(
                    state=JobState.STOPPED,
                    exit_code=None,
                    reason="its container was removed while it ran",
                    image_digest=origin.digest,
                    code_version=origin.revision,
                    started_at=_time(state["StartedAt"]),
                    finished_at=_time(client.info()["SystemTime"]),
                )

    def remove(self, work_key: str) -> None:
        """Remove the container of this key with its volume, running or not. Does nothing when there is none."""
        with self._client() as client:
            for container in _find(client, work_key):
                _remove(container)

    def check(self) -> str:
        """Ask the host for its version, and return what to tell the person who asked whether it works."""
        with self._client() as client:
            return f"Docker {client.version()['Version']} answers at {self.address}"

    @property
    def address(self) -> str:
        """The host's address, in words."""
        return self.url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    # Start -----------------------------------------------------------------------------------------------------------

    def _attachable(self, client: "DockerClient", job: Job) -> "Container | None":
        """Return the container of an earlier try that runs or has succeeded, and remove any other of this key."""
        found = None
        for container in _find(client, job.work_key):
            state = container.attrs["State"]
            is_useful = state["Running"] or (state["Status"] == "exited" and state["ExitCode"] == 0)
            if found is None and is_useful and container.labels.get(LABEL_FINGERPRINT) == job.fingerprint:
                found = container
            else:
                _remove(container)
        return found

    def _start(self, client: "DockerClient", job: Job) -> "Container":
        from docker.errors import APIError

        image = self._image(client, job.image)
        try:
            container = client.containers.create(**_settings(job, image))
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            msg = f"Another try of work {job.work_key} is starting its job on {self.address} at this moment."
            raise TransientError(msg) from error
        try:
            container.put_archive(BASE_DIR, pack(job, owner=_USER))
            container.start()
        except BaseException:
            with contextlib.suppress(Exception):  # The first error says more.
                _remove(container)
            raise
        return container

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

    # Follow ----------------------------------------------------------------------------------------------------------

    def _follow(self, client: "DockerClient", container: "Container", limits: JobLimits, lines: LogLines) -> bool:
        """Pass on the log until the job has ended, and return whether it reached its wall time limit."""
        stream = container.logs(stream=True, follow=True)
        reader = threading.Thread(target=_read_log, args=(stream, lines), name="job-log", daemon=True)
        reader.start()
        # Both times are the host's: its clock may differ from the worker's, and the job may run since an earlier try.
        since = (
            time.monotonic()
            - (_time(client.info()["SystemTime"]) - _time(container.attrs["State"]["StartedAt"])).total_seconds()
        )
        try:
            timed_out = follow(
                WallLimit(wall_seconds=limits.wall_seconds, grace_seconds=self.grace_seconds),
                elapsed=lambda: time.monotonic() - since,
                wait=lambda seconds: _wait(container, seconds),
                stop=lambda: _signal(container, "SIGTERM"),
                kill=lambda: _signal(container, "SIGKILL"),
            )
            reader.join(_LOG_SECONDS)
        finally:
            stream.close()  # which also ends a reader that still waits
        return timed_out

    # Connection ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _client(self) -> Iterator["DockerClient"]:
        """Give a client, and tell a host that does not answer apart from a request that it refuses."""
        from docker.errors import APIError, DockerException, TLSParameterError
        from requests.exceptions import RequestException  # The SDK lets the errors of its HTTP library through.

        try:
            with contextlib.closing(self._connect()) as client:
                yield client
        except APIError as error:
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

    def _connect(self) -> "DockerClient":
        import docker
        from docker.tls import TLSConfig

        if self.url is None:
            return docker.from_env()
        tls: TLSConfig | bool = False
        if self.ca_certificate or self.client_certificate:
            pair = (self.client_certificate, self.client_key) if self.client_certificate and self.client_key else None
            tls = TLSConfig(ca_cert=self.ca_certificate, client_cert=pair, verify=True)
        return docker.DockerClient(base_url=self.url, tls=tls)


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
    from docker.types import LogConfig, Ulimit

    limits = job.limits
    memory = f"{limits.memory_mb}m"
    settings: dict[str, Any] = {
        "image": image.id,
        "command": [job.command.value],
        "name": f"airflow-mlops-{job.work_key}",  # A name is unique on the host, so two tries cannot both start.
        "labels": {**job.labels, LABEL_WORK_KEY: job.work_key, LABEL_FINGERPRINT: job.fingerprint},
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
    return settings | ({"entrypoint": list(job.program)} if job.program else {})


def _find(client: "DockerClient", work_key: str) -> list["Container"]:
    filters: dict[str, str | list[str] | bool] = {"label": f"{LABEL_WORK_KEY}={work_key}"}
    return client.containers.list(all=True, filters=filters, ignore_removed=True)


def _remove(container: "Container") -> None:
    from docker.errors import APIError

    try:
        container.remove(force=True, v=True)
    except APIError as error:
        is_gone_or_going = error.status_code == _NOT_FOUND or "already in progress" in str(error)
        if not is_gone_or_going:
            raise


def _signal(container: "Container", name: str) -> None:
    from docker.errors import APIError

    try:
        container.kill(signal=name)
    except APIError as error:
        if error.status_code != _CONFLICT:  # It has just ended.
            raise


def _wait(container: "Container", seconds: float) -> bool:
    """Return whether the container has ended within this time. Docker answers at once when it does."""
    from requests.exceptions import ConnectionError as RequestConnectionError
    from requests.exceptions import ReadTimeout

    try:
        container.wait(timeout=max(seconds, 0.1))
    except ReadTimeout:
        return False
    except RequestConnectionError as error:
        if "Read timed out" in str(error):  # That is how a Unix socket says the same.
            return False
        raise
    return True


def _read_log(stream: Iterable[bytes], lines: LogLines) -> None:
    """Pass on the log to its end. A log that breaks off must not end the job that writes it."""
    try:
        for chunk in stream:
            lines.feed(chunk)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
        lines.feed(f"\n(the log breaks off: {error})\n".encode())
    lines.feed(b"", is_last=True)


def _collect(
    container: "Container", limits: JobLimits, output: Path, tail: list[str], origin: _Origin, *, timed_out: bool
) -> JobResult:
    """Copy what the ended job left, and judge its end. Of a failed one, the model is of no use."""
    state = container.attrs["State"]
    exit_code = int(state["ExitCode"])
    budget = OutputBudget(limits)
    problem = ""
    try:
        _fetch(container, RESULTS, output, budget)
        if exit_code == 0 and not timed_out:
            _fetch(container, MODEL, output, budget)
    except JobOutOfDiskError as error:
        problem = str(error)
    reason = read_reason(output, tail, exit_code)
    end = judge_end(exit_code=exit_code, oom_killed=bool(state["OOMKilled"]), timed_out=timed_out, reason=reason)
    if end is JobState.SUCCEEDED:
        end, reason = (JobState.OUT_OF_DISK, problem) if problem else (end, "")
    return JobResult(
        state=end,
        exit_code=exit_code,
        reason=reason,
        image_digest=origin.digest,
        code_version=origin.revision,
        started_at=_time(state["StartedAt"]),
        finished_at=max(_time(state["StartedAt"]), _time(state["FinishedAt"])),  # Docker may note the end first.
    )


def _fetch(container: "Container", folder: str, output: Path, budget: OutputBudget) -> None:
    """Copy a folder out of the container. The job can empty it, but not remove it."""
    chunks, _ = container.get_archive(f"{BASE_DIR}/{folder}", chunk_size=CHUNK_BYTES)
    unpack(chunks, output, budget)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _explanation(error: "APIError") -> str:
    """Return Docker's own words, on one line and without a full stop."""
    return " ".join(str(error.explanation or error).split()).rstrip(".")
