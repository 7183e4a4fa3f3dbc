"""What a training left behind: its MLflow run, its model and where both came from."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_mlops.domain.job import JobHandle, ResourceUsage
from airflow_mlops.domain.serialization import Document


class Backend(enum.StrEnum):
    """Where a job runs."""

    DOCKER = "docker"
    PROCESS = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef(Document):
    """An MLflow run."""

    run_id: str
    experiment_id: str
    started_at_ms: int | None = None
    """When it was begun, by MLflow's clock, in milliseconds since 1970; ``None`` where nobody has asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult(Document):
    """A finished training, as it crosses XCom."""

    run_id: str
    """The MLflow run."""
    experiment_id: str
    model_uri: str
    """Where MLflow keeps the model directory, such as ``models:/m-…``."""
    model_id: str
    """MLflow's id of the logged model."""
    model_digest: str
    """SHA-256 of the model directory's files."""
    metrics: Mapping[str, float]
    """The metrics that the job itself reported."""
    dataset_name: str
    dataset_digest: str
    dataset_uri: str
    backend: Backend
    image: str | None
    """The image as it was asked for, or ``None`` for a process."""
    image_digest: str | None
    """The image that ran, by digest or id, so that scoring later runs the same one."""
    code_version: str | None
    work_key: str
    job_seconds: float
    """Wall time of the job."""
    usage: ResourceUsage | None = None
    """What the job used beside that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState(Document):
    """What a try of a training leaves for the next one, while it is under way and when it has finished."""

    max_tries: int
    """Airflow's number of the last try. It stays the same from retry to retry, and grows when the task is cleared."""
    clear_number: int
    """How often the Dag run has been cleared, or a task in it."""
    run_id: str
    experiment_id: str
    handle: JobHandle | None = None
    """The job, once it is known to be submitted."""
    result: TrainingResult | None = None
    """What the task returns, once all of it is safe."""

    def is_work_of(self, *, max_tries: int, clear_number: int) -> bool:
        """Whether a try with these numbers is a retry of this work. When a person clears the task, that is new work.

        A finished work is only finished once if nothing at all was cleared since: the number of tries could be the
        same by chance, when the Dag allows fewer retries than it did.
        """
        if self.result is not None and self.clear_number != clear_number:
            return False
        return self.max_tries == max_tries
