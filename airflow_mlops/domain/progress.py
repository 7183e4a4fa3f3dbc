"""How far a job has been followed, in a form that another process can go on from; and metrics as a job appends them."""

from dataclasses import dataclass
from datetime import datetime

from airflow_mlops.domain.job_figures import MetricStep, parse_metric_steps
from airflow_mlops.domain.serialization import Document

METRICS_SECONDS = 2.0
"""Shortest time between two looks at a running job's ``metrics.jsonl``."""
METRICS_BYTES = 4 * 2**20
"""Longer files are read when the job has ended, instead of again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition(Document):
    """Where in a job's log the next reader goes on."""

    since: int = 0
    """The whole second, since 1970, in which the last entry was printed that was passed on."""
    seen: int = 0
    """How many entries of that second were passed on."""
    left: int | None = None
    """How many characters may still be passed on; ``None`` for all that one log may have."""
    pending: str = ""
    """The beginning of a line that is not whole yet, its bytes as Latin-1."""
    pending_time: str = ""
    """When that was printed."""
    is_whole: bool = False
    """Whether all of it was passed on, up to the job's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSample(Document):
    """What was measured of a container up to a moment."""

    read_at: datetime
    """By its host's clock."""
    cpu_nanoseconds: int
    peak_bytes: int
    high_bytes: int
    """The kernel's own highest value, which counts what is reclaimable, too."""
    read_bytes: int | None
    written_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress(Document):
    """What whoever followed a job leaves for whoever goes on with it."""

    log: LogPosition = LogPosition()
    usage: UsageSample | None = None


class MetricTail:
    """Reads ``metrics.jsonl`` as it grows: of each new content, the steps that were added since the last."""

    def __init__(self) -> None:
        self.length = 0
        """How many bytes have been read."""

    def take(self, content: bytes) -> list[MetricStep]:
        """Return the new steps of a file that begins as the last one did, but not one that is still being written.

        :raises JobOutputError: when a line cannot be read.
        """
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) <= self.length:
            return []
        lines = whole[self.length :].decode(errors="replace").splitlines()
        steps = list(parse_metric_steps(lines))
        self.length = len(whole)
        return steps
