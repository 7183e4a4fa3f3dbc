"""Which jobs hold more than they may, from Docker's answers, and how often it is asked."""

from typing import Any

import pytest

from airflow_mlops.domain.job import JobState
from airflow_mlops.domain.job_end import judge_end
from airflow_mlops.engines.docker.scratch import find_overfull, seconds_to_next

MIB = 2**20


def container(**labels: int) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Labels": {f"airflow-mlops.{name.replace('_', '-')}": str(value) for name, value in labels.items()},
        "Mounts": [{"Destination": "/data", "Name": "other"}, {"Destination": "/opt/ml", "Name": "v1"}],
    }


def volume(size: int, name: str = "v1") -> dict[str, Any]:
    return {"Name": name, "UsageData": {"Size": size}}


def test_a_job_that_holds_more_than_it_may_is_found_with_a_reason_that_says_so() -> None:
    given = container(scratch_bytes=4 * MIB, input_bytes=MIB)
    (found,) = find_overfull([given], [volume(6 * MIB), volume(99 * MIB, "other")])
    assert (found.job_id, found.used_bytes, found.allowed_bytes) == ("c1", 5 * MIB, 4 * MIB)
    assert found.reason == (
        "Disk quota exceeded: /opt/ml holds 5.0 MiB beside the job's inputs, and limits.scratch_mb is 4"
    )
    ended = judge_end(exit_code=137, oom_killed=False, timed_out=False, reason=found.reason)
    assert ended is JobState.OUT_OF_DISK


@pytest.mark.parametrize("volumes", [[volume(5 * MIB)], [volume(-1)], [], [{"Name": "v1", "UsageData": None}]])
def test_a_job_within_its_space_or_of_unknown_size_is_left_alone(volumes: list[dict[str, Any]]) -> None:
    assert not list(find_overfull([container(scratch_bytes=4 * MIB, input_bytes=MIB)], volumes))


def test_a_job_of_an_earlier_release_is_left_alone() -> None:
    assert not list(find_overfull([container()], [volume(99 * MIB)]))


@pytest.mark.parametrize(
    ("elapsed", "took", "seconds"), [(0, 0, 1), (100, 0.01, 5), (9999, 0.01, 10), (0, 0.2, 4), (9999, 3, 60)]
)
def test_it_is_measured_soon_at_first_and_never_for_much_of_a_hosts_time(
    elapsed: float, took: float, seconds: float
) -> None:
    assert seconds_to_next(elapsed, took) == pytest.approx(seconds)
