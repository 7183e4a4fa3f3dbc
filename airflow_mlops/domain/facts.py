"""What is known of a candidate beside its predictions: what it takes, its origin, its age and what it cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from airflow_mlops.domain.dataset import SnapshotManifest
from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.registry import (
    TAG_BACKEND,
    TAG_CODE_VERSION,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_SUITE_DIGEST,
    ModelVersion,
)
from airflow_mlops.domain.serialization import Document, canonical_json

SEEDS: Final = ("seed", "random_seed", "random_state")
"""Hyperparameters that hold the seed of the random numbers, by the names in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureColumn(Document):
    """A column that a model takes or gives."""

    name: str
    """``""`` where the model takes its values by position."""
    type: str
    """As MLflow names it, such as ``double``; other shapes as their JSON."""
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature(Document):
    """What goes into a model and what comes out, as its ``MLmodel`` file says."""

    inputs: tuple[SignatureColumn, ...]
    outputs: tuple[SignatureColumn, ...] = ()


def signature_columns(described: Iterable[Mapping[str, Any]]) -> tuple[SignatureColumn, ...]:
    """Return the columns of one side of a signature, as the JSON of an ``MLmodel`` file describes them."""
    columns = []
    for item in described:
        kind = {key: value for key, value in item.items() if key not in {"name", "required"}}
        columns.append(
            SignatureColumn(
                name=item.get("name") or "",
                type=kind["type"] if set(kind) == {"type"} else canonical_json(kind),
                required=item.get("required", True),
            )
        )
    return tuple(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What an MLflow run says of a training."""

    ended_at: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts(Document):
    """What was recorded of a training. ``None`` is what was not."""

    backend: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    suite_digest: str | None = None
    """Of the expectation suite that the training data met."""
    image_digest: str | None = None
    code_version: str | None = None
    seed: str | None = None
    data_until: datetime | None = None
    """The newest time in the training data, of a snapshot with a time column."""
    trained_at: datetime | None = None
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    """User and system time of all the job's processes."""
    peak_memory_bytes: int | None = None
    reasons: tuple[str, ...] = ()
    """Why monitoring asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Document):
    """What is known of the candidate, and of the champion where the two must fit together."""

    as_of: datetime | None
    """The moment at which ages are measured: when the Dag run was due, unless its author gave another."""
    training: TrainingFacts
    signature: Signature | None = None
    champion_signature: Signature | None = None
    notes: tuple[str, ...] = ()
    """What could not be found out, and why."""


def training_facts(version: ModelVersion, run: RunRecord, manifest: SnapshotManifest | None) -> TrainingFacts:
    """Return what the registry, the run and the training snapshot say of a version's training."""
    memory = run.metrics.get("system/peak_memory_bytes")
    return TrainingFacts(
        backend=version.tags.get(TAG_BACKEND),
        dataset_name=version.tags.get(TAG_DATASET_NAME),
        dataset_digest=version.tags.get(TAG_DATASET_DIGEST),
        suite_digest=version.tags.get(TAG_SUITE_DIGEST),
        image_digest=version.image_digest,
        code_version=version.tags.get(TAG_CODE_VERSION),
        seed=next((run.params[name] for name in SEEDS if name in run.params), None),
        data_until=_newest(manifest),
        trained_at=run.ended_at,
        wall_seconds=run.metrics.get("system/job_seconds"),
        cpu_seconds=run.metrics.get("system/cpu_seconds"),
        peak_memory_bytes=None if memory is None else int(memory),
        reasons=version.trained_because,
    )


def _newest(manifest: SnapshotManifest | None) -> datetime | None:
    if manifest is None or manifest.window is None:
        return None
    newest = manifest.window.last or manifest.window.end
    return newest and utc(newest)
