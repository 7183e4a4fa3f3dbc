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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_mlops.domain.job import BASE_DIR, LABEL_INPUT_BYTES, LABEL_SCRATCH_BYTES

_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 10.0
_SHARE = 20
"""So many times as long as a measurement took is waited until the next, for hosts with many or big volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfull:
    """A running job that holds more than it may."""

    job_id: str
    used_bytes: int
    """What its files hold, beside its inputs."""
    allowed_bytes: int

    @property
    def reason(self) -> str:
        """What happened, in words that :func:`~airflow_mlops.domain.job_end.judge_end` knows."""
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


def guard(stop_overfull: Callable[[], object], ended: threading.Event) -> None:
    """Call ``stop_overfull`` until ``ended`` is set. One that fails is followed by the next."""
    begun, took = time.monotonic(), 0.0
    while not ended.wait(seconds_to_next(time.monotonic() - begun, took)):
        asked = time.monotonic()
        with contextlib.suppress(Exception):  # Such as another worker's being under way, which does the same.
            stop_overfull()
        took = time.monotonic() - asked


def seconds_to_next(elapsed: float, took: float) -> float:
    """Return how long to wait until the next measurement: a short while at first, and never much of a host's time."""
    return max(min(max(elapsed / _SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS), took * _SHARE)
