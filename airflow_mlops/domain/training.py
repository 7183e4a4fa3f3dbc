"""What a training left behind: its MLflow run, its model and where both came from."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_mlops.domain.job import ResourceUsage
from airflow_mlops.domain.serialization import Document


class Backend(enum.StrEnum):
    """Where a job runs."""

    DOCKER = "docker"
    PROCESS = "process"


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
