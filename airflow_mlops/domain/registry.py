"""Model versions: how they are named, and which tags say where they came from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_mlops.domain.serialization import Document, canonical_json
from airflow_mlops.domain.training import Backend, TrainingResult
from airflow_mlops.exceptions import RegistryError

CHAMPION = "champion"
"""Alias of the version that serves."""
CHALLENGER = "challenger"
"""Alias of the candidate that passed its gates and waits for approval."""

TAG_WORK_KEY = "airflow_mlops.work_key"
TAG_DAG_ID = "airflow_mlops.dag_id"
TAG_DAG_RUN_ID = "airflow_mlops.dag_run_id"
TAG_TASK_ID = "airflow_mlops.task_id"
TAG_MODEL_DIGEST = "airflow_mlops.model_digest"
TAG_DATASET_NAME = "airflow_mlops.dataset_name"
TAG_DATASET_DIGEST = "airflow_mlops.dataset_digest"
TAG_DATASET_URI = "airflow_mlops.dataset_uri"
TAG_SUITE_DIGEST = "airflow_mlops.suite_digest"
TAG_BACKEND = "airflow_mlops.backend"
TAG_IMAGE = "airflow_mlops.image"
TAG_IMAGE_DIGEST = "airflow_mlops.image_digest"
TAG_CODE_VERSION = "airflow_mlops.code_version"
TAG_TRAINED_BECAUSE = "airflow_mlops.trained_because"
"""The reasons of a retraining, as a JSON list of sentences."""
TAG_FAILURE = "airflow_mlops.failure"
TAG_EVIDENCE = "airflow_mlops.evidence_digest"
TAG_DECISION = "airflow_mlops.decision_digest"
TAG_PROMOTED_BY = "airflow_mlops.promoted_by"
TAG_PROMOTED_BY_ID = "airflow_mlops.promoted_by_id"
TAG_PROMOTED_AT = "airflow_mlops.promoted_at"
TAG_APPROVAL_COMMENT = "airflow_mlops.approval_comment"
TAG_PREVIOUS_CHAMPION = "airflow_mlops.previous_champion"
TAG_AUDIT_HEAD = "airflow_mlops.audit_head"
"""Where the model's audit trail ended after the last event of this version: by this a cut at its end is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Document):
    """A version of a registered model, as it crosses XCom."""

    model_name: str
    version: str
    run_id: str
    source: str
    """Where MLflow keeps the model directory, such as ``models:/m-…``."""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return how people name it, such as ``flight-delays version 3``."""
        return f"{self.model_name} version {self.version}"

    def tag(self, name: str) -> str:
        """Return a tag that registration by this package always sets.

        :raises RegistryError: when the version lacks it, so was registered by something else.
        """
        if name not in self.tags:
            msg = (
                f"{self} has no tag {name!r}, so it was not registered by RegisterModelOperator, "
                f"and nothing says how to score or verify it. Register it through the operator."
            )
            raise RegistryError(msg)
        return self.tags[name]

    @property
    def model_digest(self) -> str:
        """The SHA-256 of the model directory when it was registered."""
        return self.tag(TAG_MODEL_DIGEST)

    @property
    def backend(self) -> Backend:
        """Where this version was trained, and so can be scored."""
        return Backend(self.tag(TAG_BACKEND))

    @property
    def image_digest(self) -> str | None:
        """The image that trained this version, by digest or id; ``None`` for a process."""
        return self.tags.get(TAG_IMAGE_DIGEST)

    @property
    def trained_because(self) -> tuple[str, ...]:
        """Why monitoring asked for this version; empty when somebody trained it by hand."""
        return tuple(json.loads(self.tags.get(TAG_TRAINED_BECAUSE, "[]")))


def provenance_tags(
    training: TrainingResult, *, suite_digest: str | None = None, reasons: Sequence[str] = ()
) -> dict[str, str]:
    """Return the tags by which a model version knows where it came from.

    :param reasons: why monitoring asked for the training.
    """
    tags = {
        TAG_MODEL_DIGEST: training.model_digest,
        TAG_DATASET_NAME: training.dataset_name,
        TAG_DATASET_DIGEST: training.dataset_digest,
        TAG_DATASET_URI: training.dataset_uri,
        TAG_SUITE_DIGEST: suite_digest,
        TAG_BACKEND: training.backend.value,
        TAG_IMAGE: training.image,
        TAG_IMAGE_DIGEST: training.image_digest,
        TAG_CODE_VERSION: training.code_version,
        TAG_TRAINED_BECAUSE: canonical_json(list(reasons)) if reasons else None,
    }
    return {name: value for name, value in tags.items() if value is not None}
