"""What an ended container left, and how it ended."""

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.domain.job import BASE_DIR, FAILURE, MODEL, RESULTS, JobHandle, JobLimits, JobResult, JobState
from airflow_mlops.domain.job_end import judge_end, read_reason
from airflow_mlops.domain.polling import WallLimit
from airflow_mlops.engines.docker.containers import parse_time
from airflow_mlops.engines.docker.files import fetch_folders, read_file
from airflow_mlops.engines.docker.following import read_tail
from airflow_mlops.exceptions import JobOutOfDiskError

if TYPE_CHECKING:
    from docker.models.containers import Container

_REASON_BYTES = 2**20


def judge_container(container: "Container", limit: WallLimit, reason: str) -> JobState:
    """Return how an ended container ended."""
    state = container.attrs["State"]
    seconds = (parse_time(state["FinishedAt"]) - parse_time(state["StartedAt"])).total_seconds()
    return judge_end(
        exit_code=int(state["ExitCode"]),
        oom_killed=bool(state["OOMKilled"]),
        timed_out=limit.is_reached(seconds),
        reason=reason,
    )


def collect_output(
    container: "Container", limits: JobLimits, output: Path, handle: JobHandle, wall_limit: WallLimit
) -> JobResult:
    """Copy what the ended job left, and judge its end. Of a failed one, the model is of no use."""
    state = container.attrs["State"]
    exit_code = int(state["ExitCode"])
    problem = ""
    client = container.client
    assert client is not None  # noqa: S101 - the SDK gave the container
    end = judge_container(container, wall_limit, "")
    folders = [RESULTS, MODEL] if end is JobState.SUCCEEDED else [RESULTS]
    try:
        fetch_folders(container, folders, output, limits)
    except JobOutOfDiskError as error:
        problem = str(error)
    reason = problem
    if end is JobState.SUCCEEDED:
        end = JobState.OUT_OF_DISK if problem else end
    else:
        _fetch_reason(container, output)
        reason = read_reason(output, read_tail(client, handle.job_id), exit_code)
        end = judge_container(container, wall_limit, reason)
    started_at = parse_time(state["StartedAt"])
    return JobResult(
        state=end,
        exit_code=exit_code,
        reason=reason,
        image_digest=handle.image_digest,
        code_version=handle.code_version,
        started_at=started_at,
        finished_at=max(started_at, parse_time(state["FinishedAt"])),  # Docker may note the end first.
    )


def _fetch_reason(container: "Container", output: Path) -> None:
    """Copy the job's own words, if its results are too much to copy whole."""
    if not (file := output / FAILURE).exists() and (
        words := read_file(container, f"{BASE_DIR}/{FAILURE}", longer_than=0, most=_REASON_BYTES)
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(words)
