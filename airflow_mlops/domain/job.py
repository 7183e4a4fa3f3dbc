"""The job contract: what goes into a containerised job, what comes out of it, and how it ended.

The paths are SageMaker's, so that one image runs unchanged on a Docker host, on SageMaker and as a plain process:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import enum
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Protocol

from airflow_mlops.domain.serialization import Document, digest_of
from airflow_mlops.exceptions import (
    InvalidInputError,
)

BASE_DIR = "/opt/ml"
"""Root of the contract's paths in a container; elsewhere the job reads it from ``SAGEMAKER_BASE_DIR``."""
CONFIG = "input/config"
HYPERPARAMETERS = "input/config/hyperparameters.json"
CHANNELS = "input/data"
SECRETS = "input/secrets"
CODE = "input/code"
MODEL = "model"
MLMODEL = "model/MLmodel"
RESULTS = "output"
OUTPUT = "output/data"
METRICS = "output/data/metrics.json"
METRIC_STEPS = "output/data/metrics.jsonl"
PREDICTIONS = "output/data/predictions.parquet"
SERVING = "output/data/serving.json"
EXPLANATION = "output/data/explanation.json"
FAILURE = "output/failure"
SALVAGED_LOG = "log.txt"
"""Beside ``output/`` in what is kept of a job that did not succeed: the end of its log."""

TRAIN_CHANNEL = "train"
SCORE_CHANNEL = "score"

LABEL_WORK_KEY = "airflow-mlops.work-key"
"""Label by which a retry finds the container that an earlier try started."""
LABEL_FINGERPRINT = "airflow-mlops.job"
"""Label that tells whether that container does the same job, or the Dag has changed since."""
LABEL_PREPARED_SECONDS = "airflow-mlops.prepared-seconds"
"""Label that says how long getting the image took, since a retry could not tell."""
LABEL_SCRATCH_BYTES = "airflow-mlops.scratch-bytes"
"""Label that says how much the job's files may hold, beside its inputs."""
LABEL_INPUT_BYTES = "airflow-mlops.input-bytes"
"""Label that says how much its inputs hold."""
LABEL_WALL_SECONDS = "airflow-mlops.wall-seconds"
"""Label that says how long the job may run."""
LABEL_SECRETS = "airflow-mlops.secrets"
"""Label with the names of the files that must be wiped when the job has ended."""


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


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits(Document):
    """Hard limits of one job. A process honours memory (of each process), scratch space and wall time only."""

    memory_mb: int = 4096
    """Memory in MiB, swap and the content of ``/tmp`` included."""
    cpus: float = 2.0
    """CPUs, as a hard cap, not as relative shares. Numeric libraries are told to start as many threads."""
    processes: int = 512
    """Processes and threads."""
    scratch_mb: int = 2048
    """MiB of ``/tmp`` in all, of any one file, and of all files below ``/opt/ml`` beside the job's inputs."""
    wall_seconds: float = 4 * 3600.0
    """Wall time in seconds from start to stop."""

    def __post_init__(self) -> None:
        for name in ("memory_mb", "cpus", "processes", "scratch_mb", "wall_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                msg = f"JobLimits.{name} is {value}, but must be a positive number: a job without limits is not run."
                raise InvalidInputError(msg)

    @property
    def scratch_bytes(self) -> int:
        """Scratch space in bytes."""
        return self.scratch_mb * 2**20


Gpus = int | str | Sequence[str]
"""How many GPUs, ``"all"`` of them, or their ids on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job to run. Paths are local to the worker; the engine copies them in and out."""

    work_key: str
    """Key of the work (32 hex digits). A job with the same key is the same job."""
    command: JobCommand
    hyperparameters: Mapping[str, str]
    channels: Mapping[str, Path]
    """Channel name to the folder whose ``*.parquet`` files the job reads; nothing else in it is given to the job."""
    model: Path | None = None
    """A model directory to put at ``model/`` (for ``score``)."""
    code: Path | None = None
    """A folder of Python files to put at ``input/code/``, for an image that lacks them."""
    image: str | None = None
    """Image reference; unused by the process engine."""
    program: tuple[str, ...] = ()
    """Program and arguments before the command; for containers, empty means the image's entrypoint."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """File name to content, put at ``input/secrets/``, for the job's user to read alone."""
    gpus: Gpus = 0
    network: str | None = None
    """Docker network to join, or ``None`` for no network at all."""
    limits: JobLimits = field(default_factory=JobLimits)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_count = isinstance(self.gpus, int) and not isinstance(self.gpus, bool) and self.gpus >= 0
        is_list = (
            isinstance(self.gpus, (list, tuple)) and self.gpus and all(isinstance(name, str) for name in self.gpus)
        )
        if not (is_count or is_list or self.gpus == "all"):
            msg = f"gpus is {self.gpus!r}, but must be a number of GPUs, 'all', or a list of their ids."
            raise InvalidInputError(msg)

    @property
    def place(self) -> str:
        """Where it runs, in words."""
        return f"in image {self.image}" if self.image else f"by program {' '.join(self.program)}"

    @property
    def fingerprint(self) -> str:
        """Digest of what it does. Values of the environment are left out: they may be secrets, and this is a label."""
        return digest_of(
            {
                "command": self.command.value,
                "image": self.image,
                "program": list(self.program),
                "hyperparameters": dict(self.hyperparameters),
                "environment": sorted(self.environment),
                "secrets": sorted(self.secrets),
                "gpus": self.gpus,
                "network": self.network,
                "limits": self.limits.to_dict(),
                "labels": dict(self.labels),
                "inputs": {
                    name: [file.name, file.stat().st_size]
                    for name, file in self.input_files().items()
                    if file.is_file()
                },
            }
        )[:32]

    def input_files(self) -> dict[str, Path]:
        """Return the files to put below the job's root, by their relative names.

        :raises InvalidInputError: when a channel has no Parquet file.
        """
        files: dict[str, Path] = {}
        for channel, folder in self.channels.items():
            parts = sorted(folder.glob("*.parquet"))
            if not parts:
                msg = f"The channel {channel!r} of the {self.command} job has no Parquet file in {folder}."
                raise InvalidInputError(msg)
            files |= {f"{CHANNELS}/{channel}/{part.name}": part for part in parts}
        if self.model is not None:
            files |= {
                f"{MODEL}/{file.relative_to(self.model).as_posix()}": file
                for file in sorted(self.model.rglob("*"))
                if file.is_file()
            }
        if self.code is not None:
            files |= {f"{CODE}/{file.relative_to(self.code)}": file for file in sorted(self.code.rglob("*.py"))}
        return files

    def input_folders(self) -> list[str]:
        """Return the folders of the job's root, parents first, those that it writes to included."""
        folders = {CONFIG, CHANNELS, MODEL, OUTPUT, *(str(Path(name).parent) for name in self.input_files())}
        folders |= {str(parent) for folder in folders for parent in Path(folder).parents if parent.name}
        return sorted(folders)

    def input_bytes(self) -> int:
        """Return how many bytes the input files hold."""
        return len(self.hyperparameters_json()) + sum(path.stat().st_size for path in self.input_files().values())

    def hyperparameters_json(self) -> bytes:
        """Return the content of ``hyperparameters.json``."""
        return json.dumps(dict(self.hyperparameters), indent=2).encode()

    def environment_at(self, root: str) -> dict[str, str]:
        """Return the environment of the job whose tree lies at ``root``.

        Numeric libraries start a thread for each CPU of the machine, whatever the job may use of them, unless told.
        """
        threads = str(max(1, math.ceil(self.limits.cpus)))
        return {
            "SAGEMAKER_BASE_DIR": root,
            "PYTHONUNBUFFERED": "1",  # else the log comes in blocks, and its end not at all when the job is killed
            **dict.fromkeys(_THREAD_VARIABLES, threads),
            **self.environment,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUsage(Document):
    """What a job used, beside its wall time. ``None`` is what its engine or its host did not count."""

    waiting_seconds: float
    """From its submission to its start: getting the image and copying the inputs."""
    cpu_seconds: float | None = None
    """User and system time of all its processes."""
    peak_memory_bytes: int | None = None
    """The most that was in use: of the whole container where samples see it, of one process for a process job."""
    read_bytes: int | None = None
    """Read from disks. What was still in memory does not count."""
    written_bytes: int | None = None
    """Written to disks."""
    unsampled_seconds: float = 0.0
    """Time at the job's end that the figures do not cover, since they are samples; 0 where they are exact."""

    def to_metrics(self) -> dict[str, float]:
        """Return what was counted, as MLflow metrics."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {f"system/{name}": float(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHandle(Document):
    """A job that was submitted: what another process needs to follow, stop or collect it."""

    work_key: str
    job_id: str
    """The engine's id of it, such as the container's."""
    started_at: datetime
    """By the clock of its host."""
    image_digest: str | None
    code_version: str | None


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
    usage: ResourceUsage | None = None

    @property
    def seconds(self) -> float:
        """Wall time from start to end."""
        return (self.finished_at - self.started_at).total_seconds()


def require_digest(image: str) -> None:
    """Refuse an image that is named by a tag.

    :raises InvalidInputError: with the way to find its digest.
    """
    if re.search(r"(^|@)sha256:[0-9a-f]{64}$", image):
        return
    msg = (
        f"The image {image!r} is named by a tag, which may mean another image tomorrow, and require_digest refuses "
        f"that. Name it by its digest, such as 'repository@sha256:…', as "
        f"`docker image inspect --format '{{{{.RepoDigests}}}} {{{{.Id}}}}' {image}` shows; an image that was never "
        f"pushed has an id alone."
    )
    raise InvalidInputError(msg)


class JobEngine(Protocol):
    """Runs jobs somewhere. A second ``run`` of the same work key attaches to the first one's job."""

    def prepare(self, job: Job) -> None:
        """Do ahead what :meth:`run` can do without starting the job, if there is such a thing."""
        ...

    def discard(self, job: Job) -> None:
        """Undo :meth:`prepare`, when the job is not to be run after all. A job that runs, or has, stays."""
        ...

    def run(self, job: Job, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run ``job`` to its end and collect ``model/`` and ``output/`` into the empty local folder ``output``.

        Every line that the job prints goes to ``log`` as it comes. Returns normally for every end of the job itself;
        raises only when it could not be run, followed or collected.
        """
        ...

    def stop(self, work_key: str) -> None:
        """Ask the job of this key to stop, and end it when it does not. What it has left by then stays.

        Does nothing when there is none, or it has ended.
        """
        ...

    def keep(self, work_key: str) -> str:
        """Set the job of this key aside for a person to look at, so that no retry finds it. Return what it is now.

        An engine that has nothing to keep returns nothing.
        """
        ...

    def salvage(self, work_key: str, limits: JobLimits, folder: Path) -> None:
        """Copy what a stopped or failed job has left into ``folder``: ``output/``, and ``log.txt`` if it is kept."""
        ...

    def read_metrics_file(self, work_key: str, *, longer_than: int, most: int) -> bytes:
        """Return ``metrics.jsonl`` as the running job has written it so far, if it has so many bytes; else nothing."""
        ...

    def remove(self, work_key: str) -> None:
        """Remove the job of this key and all that it left, once its result is safe. Does nothing when there is none."""
        ...
