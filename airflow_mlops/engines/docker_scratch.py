"""Holds jobs in containers to their scratch space as a whole.

Docker can limit a volume on few file systems only, and one in memory is emptied when its container ends or has not
started, so ``/opt/ml`` is measured while the job runs: Docker tells the size of all volumes of a host in one answer,
whatever the image is, and nothing runs within the job. A job that holds too much is killed.

That is no wall: between two measurements a job can write more than it may. What counts is the length of its files;
empty ones are not seen, and neither are deleted ones that it still has open.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.job import BASE_DIR, FAILURE, LABEL_INPUT_BYTES, LABEL_SCRATCH_BYTES
from airflow_mlops.engines.archive import pack_file

if TYPE_CHECKING:
    from docker import DockerClient

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 10.0
_SHARE = 20
"""So many times as long as a measurement took is waited until the next, for hosts with many or big volumes."""
_NEWEST_API = (1, 44)  # From 1.52 on, the answer has another form.


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfull:
    """A running job that holds more than it may."""

    job_id: str
    used_bytes: int
    """What its files hold, beside its inputs."""
    allowed_bytes: int

    @property
    def reason(self) -> str:
        """What happened, in words that :func:`~airflow_mlops.domain.job.judge_end` knows."""
        return (
            f"Disk quota exceeded: {BASE_DIR} holds {self.used_bytes / 2**20:.1f} MiB beside the job's inputs, "
            f"and limits.scratch_mb is {self.allowed_bytes / 2**20:.0f}"
        )


def find_overfull(containers: Iterable[Mapping[str, Any]], volumes: Iterable[Mapping[str, Any]]) -> Iterator[Overfull]:
    """Yield the jobs that hold too much.

    :param containers: the running jobs as ``GET /containers/json`` lists them.
    :param volumes: the volumes as ``GET /system/df`` lists them.
    """
    sizes = {volume["Name"]: int((volume.get("UsageData") or {}).get("Size", -1)) for volume in volumes}
    for container in containers:
        allowed, inputs = (int(container["Labels"].get(name, 0)) for name in (LABEL_SCRATCH_BYTES, LABEL_INPUT_BYTES))
        names = [mount.get("Name") for mount in container["Mounts"] if mount.get("Destination") == BASE_DIR]
        used = max((sizes.get(name, -1) for name in names), default=-1) - inputs
        if used > allowed > 0:
            yield Overfull(job_id=container["Id"], used_bytes=used, allowed_bytes=allowed)


def stop_overfull(client: "DockerClient", *, owner: int) -> list[Overfull]:
    """Measure all jobs that run on the host, and kill those that hold too much, with the reason as their own."""
    from docker.errors import APIError

    containers = client.api.containers(filters={"label": LABEL_SCRATCH_BYTES, "status": "running"})
    found = list(find_overfull(containers, _volumes(client))) if containers else []
    for job in found:
        with contextlib.suppress(APIError):  # A full disk does not take the reason, or the job has just ended.
            client.api.put_archive(job.job_id, BASE_DIR, pack_file(FAILURE, job.reason.encode(), owner=owner))
        with contextlib.suppress(APIError):
            client.api.kill(job.job_id, signal="SIGKILL")
    return found


def guard(client: "DockerClient", ended: threading.Event, *, owner: int) -> None:
    """Call :func:`stop_overfull` until ``ended`` is set. A measurement that fails is followed by the next."""
    begun, took = time.monotonic(), 0.0
    while not ended.wait(seconds_to_next(time.monotonic() - begun, took)):
        asked = time.monotonic()
        with contextlib.suppress(Exception):  # Such as another worker's being under way, which does the same.
            stop_overfull(client, owner=owner)
        took = time.monotonic() - asked


def seconds_to_next(elapsed: float, took: float) -> float:
    """Return how long to wait until the next measurement: a short while at first, and never much of a host's time."""
    return max(min(max(elapsed / _SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS), took * _SHARE)


def _volumes(client: "DockerClient") -> list[Mapping[str, Any]]:
    version = min(tuple(map(int, client.api.api_version.split("."))), _NEWEST_API)
    address = f"{client.api.base_url}/v{'.'.join(map(str, version))}/system/df"
    # Engines before API 1.42 do not know ``type``, and add images and containers.
    answer = client.api.request("get", address, params={"type": "volume"}, timeout=client.api.timeout)
    answer.raise_for_status()
    volumes: list[Mapping[str, Any]] = answer.json().get("Volumes") or []
    return volumes
