"""Containers on a host: found by their work key, removed, signalled, and stopped when their files hold too much."""

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.job import (
    BASE_DIR,
    FAILURE,
    LABEL_PREPARED_SECONDS,
    LABEL_SCRATCH_BYTES,
    LABEL_WALL_SECONDS,
    LABEL_WORK_KEY,
)
from airflow_mlops.engines.archive import pack_file
from airflow_mlops.engines.docker.scratch import find_overfull
from airflow_mlops.engines.docker.settings import JOB_USER, container_name

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError
    from docker.models.containers import Container

UNSTARTED = "created"
"""Docker's word for a container that was made and not started."""
NOT_FOUND = 404
CONFLICT = 409
_NEWEST_DF_API = (1, 44)  # From 1.52 on, the answer has another form.
_UNSTARTED_SECONDS = 3600.0  # Copying the inputs in takes no longer.
_OVERDUE_SECONDS = 7200.0  # Longer than that before its start, and than any grace after its end.


def find_containers(client: "DockerClient", work_key: str, job_id: str | None) -> list["Container"]:
    """Return the container of this key. Those that were set aside have the label, but another name."""
    filters: dict[str, str | list[str] | bool] = {"label": f"{LABEL_WORK_KEY}={work_key}"}
    found = client.containers.list(all=True, filters=filters, ignore_removed=True)
    return [
        container
        for container in found
        if container.name == container_name(work_key) and job_id in {None, container.id}
    ]


def remove_unstarted(client: "DockerClient") -> None:
    """Remove containers that were made long ago and never started: their task died in between, for the last time."""
    filters: dict[str, str | list[str] | bool] = {"label": LABEL_WORK_KEY, "status": UNSTARTED}
    now = time.time()
    for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
        is_new = abs(now - parse_time(container.attrs["Created"]).timestamp()) < _UNSTARTED_SECONDS
        if not is_new:
            remove_container(client, str(container.id))


def kill_overdue(client: "DockerClient") -> None:
    """Kill jobs that run long after their wall time, on one look at the host: nobody is left who waits for them."""
    now = time.time()
    for container in client.api.containers(filters={"label": LABEL_WALL_SECONDS, "status": "running"}):
        if now - container["Created"] > float(container["Labels"][LABEL_WALL_SECONDS]) + _OVERDUE_SECONDS:
            signal_container(client, container["Id"], "SIGKILL")


def is_gone(client: "DockerClient", job_id: str) -> bool:
    """Whether the container was removed, or is being removed: the host may list it still, and fails in many ways."""
    from docker.errors import NotFound

    try:
        return client.containers.get(job_id).status in {"removing", "dead"}
    except NotFound:
        return True


def remove_container(client: "DockerClient", container: str) -> None:
    """Remove a container with its volume, by its id or name, running or not, also if it is gone or about to go."""
    from docker.errors import APIError

    try:
        client.api.remove_container(container, force=True, v=True)
    except APIError as error:
        is_gone_or_going = error.status_code == NOT_FOUND or "already in progress" in str(error)
        if not is_gone_or_going:
            raise


def signal_container(client: "DockerClient", job_id: str, name: str) -> None:
    """Send a signal to a container, unless it has ended."""
    from docker.errors import APIError

    try:
        client.api.kill(job_id, signal=name)
    except APIError as error:
        if error.status_code not in {CONFLICT, NOT_FOUND}:  # It has just ended, or is gone.
            raise


def stop_overfull(client: "DockerClient") -> None:
    """Measure all jobs that run on the host, and kill those that hold too much, with the reason as their own."""
    from docker.errors import APIError

    filters: dict[str, str | list[str] | bool] = {"label": LABEL_SCRATCH_BYTES, "status": "running"}
    containers = client.api.containers(filters=filters)
    for job in find_overfull(containers, _volumes(client) if containers else []):
        with contextlib.suppress(APIError):  # A full disk does not take the reason, or the job has just ended.
            client.api.put_archive(job.job_id, BASE_DIR, pack_file(FAILURE, job.reason.encode(), owner=JOB_USER))
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


def waiting_seconds(container: "Container") -> float:
    """Return how long the job waited: until its container was made, by the worker's clock, and then by the host's."""
    prepared = float(container.labels.get(LABEL_PREPARED_SECONDS, "0"))
    created, started = parse_time(container.attrs["Created"]), parse_time(container.attrs["State"]["StartedAt"])
    return prepared + max(0.0, (started - created).total_seconds())


def parse_time(text: str) -> datetime:
    """Return a time of Docker's answers."""
    return datetime.fromisoformat(text)


def explain(error: "APIError") -> str:
    """Return Docker's own words, on one line and without a full stop."""
    return " ".join(str(error.explanation or error).split()).rstrip(".")
