"""Docker's figures of a container, as two generations of kernels give them."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mlops.engines.docker.usage import UsageMeter, sample

START = datetime(2026, 1, 1, tzinfo=UTC)
MIB = 2**20


def answer(second: int, *, cpu: float, used: int, cached: int = 0, **blkio: Any) -> dict[str, Any]:
    """Docker's answer on cgroup v1, to the keys that matter."""
    return {
        "read": f"2026-01-01T00:00:{second:02}.000000001Z",
        "cpu_stats": {"cpu_usage": {"total_usage": int(cpu * 1e9)}},
        "memory_stats": {"usage": used, "stats": {"total_inactive_file": cached, "inactive_file": 0}},
        "blkio_stats": {"io_service_bytes_recursive": None, **blkio},
    }


ENDED = {"read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}


@pytest.fixture
def meter() -> UsageMeter:
    return UsageMeter(START)


def test_counters_are_the_last_and_memory_is_the_highest_without_what_is_reclaimable(meter: UsageMeter) -> None:
    meter.add(answer(1, cpu=0.5, used=100 * MIB))
    meter.add(answer(2, cpu=1.5, used=300 * MIB, cached=50 * MIB))
    meter.add(answer(3, cpu=2.5, used=200 * MIB))
    meter.add(ENDED)
    usage = meter.usage(waiting_seconds=0.7, finished_at=START + timedelta(seconds=4))
    assert (usage.waiting_seconds, usage.cpu_seconds, usage.peak_memory_bytes) == (0.7, 2.5, 250 * MIB)
    assert usage.unsampled_seconds == pytest.approx(1, abs=1e-3)


def test_a_peak_between_two_samples_is_known_from_the_kernels_own_mark(meter: UsageMeter) -> None:
    for second, used, high in ((1, 10, 300), (2, 20, 300)):
        figures = answer(second, cpu=1, used=used * MIB, cached=5 * MIB)
        figures["memory_stats"]["max_usage"] = high * MIB
        meter.add(figures)
    assert meter.usage(waiting_seconds=0, finished_at=START).peak_memory_bytes == 295 * MIB


def test_memory_of_cgroup_v2_has_its_own_key(meter: UsageMeter) -> None:
    figures = answer(1, cpu=1, used=100 * MIB)
    figures["memory_stats"]["stats"] = {"inactive_file": 30 * MIB}
    meter.add(figures)
    assert meter.usage(waiting_seconds=0, finished_at=START).peak_memory_bytes == 70 * MIB


@pytest.mark.parametrize("names", [("Read", "Write"), ("read", "write")], ids=["cgroup v1", "cgroup v2"])
def test_bytes_of_all_devices_are_added_up(meter: UsageMeter, names: tuple[str, str]) -> None:
    read, write = names
    transfers = [
        {"major": 253, "minor": 0, "op": read, "value": 10},
        {"major": 253, "minor": 0, "op": write, "value": 3},
        {"major": 8, "minor": 0, "op": read, "value": 5},
        {"major": 8, "minor": 0, "op": "Total", "value": 18},
    ]
    meter.add(answer(1, cpu=1, used=1, io_service_bytes_recursive=transfers))
    usage = meter.usage(waiting_seconds=0, finished_at=START)
    assert (usage.read_bytes, usage.written_bytes) == (15, 3)


def test_what_the_host_does_not_count_is_no_zero(meter: UsageMeter) -> None:
    meter.add(answer(1, cpu=1, used=1, io_service_bytes_recursive=[]))
    usage = meter.usage(waiting_seconds=0, finished_at=START)
    assert (usage.read_bytes, usage.written_bytes) == (None, None)
    assert usage.to_metrics().keys() == {
        "system/waiting_seconds",
        "system/cpu_seconds",
        "system/peak_memory_bytes",
        "system/unsampled_seconds",
    }


def test_a_job_that_ended_before_the_first_sample_is_unknown_for_all_its_time(meter: UsageMeter) -> None:
    meter.add(ENDED)
    usage = meter.usage(waiting_seconds=1, finished_at=START + timedelta(seconds=0.2))
    assert (usage.cpu_seconds, usage.peak_memory_bytes, usage.unsampled_seconds) == (None, None, 0.2)


def test_a_host_that_cannot_say_is_asked_no_more_and_the_job_goes_on(meter: UsageMeter) -> None:
    asked: list[int] = []

    def stats() -> Mapping[str, Any]:
        asked.append(1)
        msg = "no figures"
        raise OSError(msg)

    sample(meter, stats=stats, elapsed=lambda: 0.0, ended=threading.Event())
    assert len(asked) == 3


def test_sampling_ends_with_the_job(meter: UsageMeter) -> None:
    ended = threading.Event()

    def stats() -> Mapping[str, Any]:
        ended.set()
        return answer(1, cpu=1, used=MIB)

    sample(meter, stats=stats, elapsed=lambda: 0.0, ended=ended)
    assert meter.usage(waiting_seconds=0, finished_at=START).cpu_seconds == 1
