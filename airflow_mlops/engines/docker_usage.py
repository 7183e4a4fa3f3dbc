"""What a container used, read from Docker's figures while it runs: once it has ended, Docker has none.

CPU time and bytes are counted by the kernel from the container's start, so that whoever begins late, after a restart,
misses none of them. Of memory, cgroup v1 also keeps the highest value; cgroup v2 tells the present one alone, and a
peak between two samples is not seen. The job's last moments come after the last sample, and
``ResourceUsage.unsampled_seconds`` says how long they were: about a twentieth of the job's time, at least the second by
which Docker gathers, and at most half a minute.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from airflow_mlops.domain.job import ResourceUsage
from airflow_mlops.domain.polling import sampling_seconds

_FAILURES = 3


class UsageMeter:
    """Adds up the figures of one container. Give it each answer of ``GET /containers/<id>/stats``.

    :param started_at: when the container started, by its host's clock.
    """

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._read_at: datetime | None = None
        self._cpu_nanoseconds = 0
        self._peak_bytes = 0
        self._high_bytes = 0
        self._read_bytes: int | None = None
        self._written_bytes: int | None = None

    def add(self, stats: Mapping[str, Any]) -> None:
        """Take one answer. Docker's answer for a container that has just ended is empty, and changes nothing."""
        memory = stats.get("memory_stats") or {}
        if "usage" not in memory:
            return
        self._read_at = datetime.fromisoformat(stats["read"])
        self._cpu_nanoseconds = max(self._cpu_nanoseconds, int(stats["cpu_stats"]["cpu_usage"]["total_usage"]))
        details = memory.get("stats") or {}
        # Files that were read a while ago stay in memory until it is needed, and count as used, in the kernel's eyes.
        reclaimable = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroup v1, cgroup v2
        # The kernel's highest value counts them, too, so it tells a peak only where it has just risen.
        high = int(memory.get("max_usage", 0))
        reached = high if high > self._high_bytes else int(memory["usage"])
        self._high_bytes = max(self._high_bytes, high)
        self._peak_bytes = max(self._peak_bytes, max(reached, int(memory["usage"])) - int(reclaimable))
        # Some kernels do not count: then the list is empty.
        if transfers := (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive"):
            self._read_bytes = _sum(transfers, "read")
            self._written_bytes = _sum(transfers, "write")

    def usage(self, *, waiting_seconds: float, finished_at: datetime) -> ResourceUsage:
        """Return what is known of a container that has ended at this time of its host's clock."""
        if self._read_at is None:
            return ResourceUsage(
                waiting_seconds=waiting_seconds,
                unsampled_seconds=max(0.0, (finished_at - self._started_at).total_seconds()),
            )
        return ResourceUsage(
            waiting_seconds=waiting_seconds,
            cpu_seconds=self._cpu_nanoseconds / 1e9,
            peak_memory_bytes=self._peak_bytes,
            read_bytes=self._read_bytes,
            written_bytes=self._written_bytes,
            unsampled_seconds=max(0.0, (finished_at - self._read_at).total_seconds()),
        )


def sample(
    meter: UsageMeter,
    *,
    stats: Callable[[], Mapping[str, Any]],
    elapsed: Callable[[], float],
    ended: threading.Event,
) -> None:
    """Feed ``meter`` until the job has ended. To fail at it must not end the job, only the measuring.

    :param stats: asks Docker once.
    :param elapsed: seconds since the job started.
    :param ended: set by whoever waits for the job.
    """
    failures = 0
    while failures < _FAILURES and not ended.wait(sampling_seconds(elapsed())):
        try:
            meter.add(stats())
        except Exception:  # noqa: BLE001 - whatever it is, the figures are then those of the last sample
            failures += 1


def _sum(transfers: list[Mapping[str, Any]], operation: str) -> int:
    return sum(int(item["value"]) for item in transfers if str(item["op"]).lower() == operation)
