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
from airflow_mlops.domain.progress import UsageSample

_FAILURES = 3


class UsageMeter:
    """Adds up the figures of one container. Give it each answer of ``GET /containers/<id>/stats``.

    :param started_at: when the container started, by its host's clock.
    :param last: what another process has measured before.
    """

    def __init__(self, started_at: datetime, last: UsageSample | None = None) -> None:
        self._started_at = started_at
        self.last = last
        """What is known so far, which another process can go on with."""

    def add(self, stats: Mapping[str, Any]) -> None:
        """Take one answer. Docker's answer for a container that has just ended is empty, and changes nothing."""
        memory = stats.get("memory_stats") or {}
        if "usage" not in memory:
            return
        last = self.last
        used, high, highest = int(memory["usage"]), int(memory.get("max_usage", 0)), last.high_bytes if last else 0
        details = memory.get("stats") or {}
        # Files that were read a while ago stay in memory until it is needed, and count as used, in the kernel's eyes.
        reclaimable = int(details.get("total_inactive_file", details.get("inactive_file", 0)))  # cgroup v1, cgroup v2
        # The kernel's highest value counts them, too, so it tells a peak only where it has just risen.
        reached = high if high > highest else used
        # Some kernels do not count: then the list is empty.
        transfers = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive")
        self.last = UsageSample(
            read_at=datetime.fromisoformat(stats["read"]),
            cpu_nanoseconds=max(
                last.cpu_nanoseconds if last else 0, int(stats["cpu_stats"]["cpu_usage"]["total_usage"])
            ),
            peak_bytes=max(last.peak_bytes if last else 0, max(reached, used) - reclaimable),
            high_bytes=max(highest, high),
            read_bytes=_sum(transfers, "read") if transfers else (last.read_bytes if last else None),
            written_bytes=_sum(transfers, "write") if transfers else (last.written_bytes if last else None),
        )

    def usage(self, *, waiting_seconds: float, finished_at: datetime) -> ResourceUsage:
        """Return what is known of a container that has ended at this time of its host's clock."""
        if self.last is None:
            return ResourceUsage(
                waiting_seconds=waiting_seconds,
                unsampled_seconds=max(0.0, (finished_at - self._started_at).total_seconds()),
            )
        return ResourceUsage(
            waiting_seconds=waiting_seconds,
            cpu_seconds=self.last.cpu_nanoseconds / 1e9,
            peak_memory_bytes=self.last.peak_bytes,
            read_bytes=self.last.read_bytes,
            written_bytes=self.last.written_bytes,
            unsampled_seconds=max(0.0, (finished_at - self.last.read_at).total_seconds()),
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
