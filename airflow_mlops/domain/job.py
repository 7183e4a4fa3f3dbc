"""The job contract: what goes into a containerised job, what comes out of it, and how it ended.

The paths are SageMaker's, so that one image runs unchanged on a Docker host, on SageMaker and as a plain process:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import enum
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import JobOutputError

BASE_DIR = "/opt/ml"
"""Root of the contract's paths in a container; elsewhere the job reads it from ``SAGEMAKER_BASE_DIR``."""
HYPERPARAMETERS = "input/config/hyperparameters.json"
CHANNELS = "input/data"
MODEL = "model"
OUTPUT = "output/data"
METRICS = "output/data/metrics.json"
METRIC_STEPS = "output/data/metrics.jsonl"
PREDICTIONS = "output/data/predictions.parquet"
FAILURE = "output/failure"

TRAIN_CHANNEL = "train"
SCORE_CHANNEL = "score"

LABEL_WORK_KEY = "airflow-mlops.work-key"
"""Label by which a retry finds the container that an earlier try started."""


class JobCommand(enum.StrEnum):
    """What a job is asked to do."""

    TRAIN = "train"
    SCORE = "score"


class JobState(enum.StrEnum):
    """Where a job is, or how it ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_DISK = "out_of_disk"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether the job will not run any further."""
        return self is not JobState.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits(Document):
    """Hard limits of one job. ``process`` jobs honour the memory, process and time limits only."""

    memory_mb: int = 4096
    """Memory in MiB, swap included."""
    cpus: float = 2.0
    """CPUs, as a hard cap, not as relative shares."""
    processes: int = 512
    """Processes and threads."""
    scratch_mb: int = 2048
    """Scratch space (``/tmp``) in MiB."""
    wall_seconds: float = 4 * 3600.0
    """Wall time in seconds from start to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job to run. Paths are local to the worker; the engine copies them in and out."""

    work_key: str
    """Key of the work (32 hex digits). A job with the same key is the same job."""
    command: JobCommand
    hyperparameters: Mapping[str, str]
    channels: Mapping[str, Path]
    """Channel name to the folder whose Parquet files the job reads."""
    model: Path | None = None
    """A model directory to put at ``model/`` (for ``score``)."""
    image: str | None = None
    """Image reference; unused by the process engine."""
    program: tuple[str, ...] = ()
    """Program and arguments before the command; for containers, empty means the image's entrypoint."""
    environment: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    """Docker network to join, or ``None`` for no network at all."""
    limits: JobLimits = field(default_factory=JobLimits)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult(Document):
    """How a job ended."""

    state: JobState
    exit_code: int | None
    reason: str
    """In words: the job's ``output/failure``, else its last log lines, else what the engine knows. Empty on success."""
    image_digest: str | None
    """``repository@sha256:…`` or the image's id, by which it can be run again; ``None`` for a process."""
    code_version: str | None
    """``org.opencontainers.image.revision`` of the image, if it says."""
    started_at: datetime
    finished_at: datetime

    @property
    def seconds(self) -> float:
        """Wall time from start to end."""
        return (self.finished_at - self.started_at).total_seconds()


class JobEngine(Protocol):
    """Runs jobs somewhere. A second ``run`` of the same work key attaches to the first one's job."""

    def run(self, job: Job, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run ``job`` to its end and collect ``model/`` and ``output/`` into the local folder ``output``.

        Every line that the job prints goes to ``log`` as it comes. Returns normally for every end of the job itself;
        raises only when it could not be run, followed or collected.
        """
        ...

    def remove(self, work_key: str) -> None:
        """Remove the job of this key and all that it left, once its result is safe. Does nothing when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricStep:
    """One metric at one step of the training."""

    name: str
    value: float
    step: int


def read_metrics(output: Path) -> dict[str, float]:
    """Read ``metrics.json`` of a collected job; no file means no metrics.

    :raises JobOutputError: when it is not a flat object of finite numbers.
    """
    file = output / METRICS
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        msg = f"The job left a {METRICS} that is not JSON: {error}"
        raise JobOutputError(msg) from error
    if not isinstance(content, dict):
        msg = f"The job's {METRICS} must be an object of names and numbers, but is {content!r:.200}"
        raise JobOutputError(msg)
    return {str(name): _finite(name, value, METRICS) for name, value in content.items()}


def read_metric_steps(output: Path) -> list[MetricStep]:
    """Read ``metrics.jsonl`` of a collected job; no file means no steps.

    :raises JobOutputError: when a line is not an object with an integer ``step`` and finite numbers.
    """
    file = output / METRIC_STEPS
    if not file.exists():
        return []
    with file.open() as lines:
        return list(parse_metric_steps(lines))


def parse_metric_steps(lines: Iterable[str]) -> Iterable[MetricStep]:
    """Parse lines such as ``{"step": 3, "train_loss": 0.41}``; a line's ``time`` key is ignored."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"line {number} of {METRIC_STEPS}"
        try:
            content = json.loads(line)
        except ValueError as error:
            msg = f"The job left a {place} that is not JSON: {error}"
            raise JobOutputError(msg) from error
        if not isinstance(content, dict) or not isinstance(content.get("step"), int):
            msg = f'The job\'s {place} must be an object with an integer "step", but is {line.strip()[:200]}'
            raise JobOutputError(msg)
        for name, value in content.items():
            if name not in {"step", "time"}:
                yield MetricStep(name=name, value=_finite(name, value, place), step=content["step"])


def _finite(name: str, value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        msg = f"The job reported {name} = {value!r} in {place}, but a metric must be a finite number."
        raise JobOutputError(msg)
    return float(value)
