"""How a job ended, and why: judged by what its host knows and by what it left."""

import re
from collections.abc import Sequence
from pathlib import Path

from airflow_mlops.domain.job import FAILURE, Job, JobResult, JobState, ResourceUsage
from airflow_mlops.exceptions import (
    JobFailedError,
    JobOutOfDiskError,
    JobOutOfMemoryError,
    JobStoppedError,
    JobTimeoutError,
)

_FAILURE_CHARACTERS = 4096
_EXIT_SIGKILL, _EXIT_SIGTERM, _EXIT_SIGXFSZ = 137, 143, 153
_OUT_OF_MEMORY = r"\bMemoryError\b|Cannot allocate memory|std::bad_alloc|Unable to allocate"
_OUT_OF_DISK = r"No space left on device|File too large|Disk quota exceeded|\bENOSPC\b|\bEFBIG\b"


def judge_end(*, exit_code: int, oom_killed: bool, timed_out: bool, reason: str) -> JobState:
    """Return how a job ended.

    :param exit_code: exit status, 128 and the signal's number when a signal ended it.
    :param oom_killed: whether the kernel killed a process of it for its memory. That alone is no failure: a job may
        survive the loss of a child.
    :param timed_out: whether it reached its wall time limit; then its exit status says nothing.
    :param reason: its own words, since a full disk is seen by the job alone.
    """
    if timed_out:
        state = JobState.TIMED_OUT
    elif exit_code == 0:
        state = JobState.SUCCEEDED
    elif oom_killed or re.search(_OUT_OF_MEMORY, reason):
        state = JobState.OUT_OF_MEMORY
    elif exit_code == _EXIT_SIGXFSZ or re.search(_OUT_OF_DISK, reason):
        state = JobState.OUT_OF_DISK
    elif exit_code in {_EXIT_SIGKILL, _EXIT_SIGTERM}:
        state = JobState.STOPPED
    else:
        state = JobState.FAILED
    return state


def read_reason(output: Path, tail: Sequence[str], exit_code: int) -> str:
    """Return why a collected job failed, in its own words: ``output/failure``, else the last lines of its log."""
    file = output / FAILURE
    if file.is_file():
        with file.open(errors="replace") as text:
            words = text.read(_FAILURE_CHARACTERS).strip()
        if words:
            return words
    if tail:
        return "\n".join(tail)
    return f"it said nothing and ended with exit status {exit_code}"


def require_success(job: Job, result: JobResult) -> None:
    """Raise the error of the state in which a job ended, with the job's own reason and the remedy.

    :raises JobError: for what a retry cannot cure.
    :raises JobStoppedError: when it was stopped from outside.
    """
    if result.state is JobState.SUCCEEDED:
        return
    limits = job.limits
    name = f"The {job.command} job {job.place}"
    after = f"after {result.seconds:.0f} s"
    kind, message = {
        JobState.FAILED: (JobFailedError, f"{name} failed with exit status {result.exit_code} {after}."),
        JobState.OUT_OF_MEMORY: (
            JobOutOfMemoryError,
            f"{name} ran out of memory {after}: it may use {limits.memory_mb} MiB, see limits.memory_mb. "
            + _peak(result.usage),
        ),
        JobState.OUT_OF_DISK: (
            JobOutOfDiskError,
            f"{name} ran out of disk space {after}: it may use {limits.scratch_mb} MiB, see limits.scratch_mb.",
        ),
        JobState.TIMED_OUT: (
            JobTimeoutError,
            f"{name} was stopped {after}: it may run {limits.wall_seconds:.0f} s, see limits.wall_seconds.",
        ),
        JobState.STOPPED: (JobStoppedError, f"{name} was stopped from outside {after}."),
    }[result.state]
    msg = f"{message} Its reason: {result.reason}"
    raise kind(msg)


def _peak(usage: ResourceUsage | None) -> str:
    """Return the memory that was seen in use, in words. The allocation that was refused is no part of it."""
    if usage is None or usage.peak_memory_bytes is None:
        return "It ended before its use was measured."
    return f"Its peak was {usage.peak_memory_bytes / 2**20:.0f} MiB."
