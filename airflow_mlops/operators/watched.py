"""The version that is watched, what it is compared with, and what was found of it before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.monitoring import CheckKind, Window, WindowCheck, monitoring_path
from airflow_mlops.domain.registry import (
    CHAMPION,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_DATASET_URI,
    ModelVersion,
)
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.storage import artifact_store

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine


def watched_version(mlflow: MlflowEngine, model_name: str, model_version: str | None) -> ModelVersion | None:
    """Return the version that was asked for, or the champion; ``None`` where there is no champion yet.

    :param model_version: as a template renders it: ``""`` and ``"None"`` are none.
    """
    if model_version and model_version != "None":
        return mlflow.version(model_name, str(model_version))
    return mlflow.version_by_alias(model_name, CHAMPION)


def given_snapshot(given: Any) -> Snapshot | None:
    """Return the snapshot that an author gave; ``""`` and ``"None"``, as templates render nothing, are ``None``."""
    return Snapshot.from_dict(given) if given and given != "None" else None


def training_snapshot(version: ModelVersion) -> Snapshot:
    """Return the snapshot that a version learned from, as its tags name it; they do not say how many rows it has.

    :raises InvalidInputError: when the tags do not say so.
    """
    missing = [name for name in (TAG_DATASET_NAME, TAG_DATASET_DIGEST, TAG_DATASET_URI) if not version.tags.get(name)]
    if missing:
        msg = (
            f"{version} has no tag {missing[0]}, so it is not known what it was trained on. Give a reference, or "
            f"register it with RegisterModelOperator."
        )
        raise InvalidInputError(msg)
    return Snapshot(
        dataset_name=version.tags[TAG_DATASET_NAME],
        digest=version.tags[TAG_DATASET_DIGEST],
        uri=version.tags[TAG_DATASET_URI],
        rows=0,
        created=False,
    )


def earlier_checks(model_name: str, kind: CheckKind, window: Window, most: int) -> tuple[WindowCheck, ...]:
    """Return the records of up to ``most`` windows that began before this one, the newest first."""
    folder = artifact_store() / monitoring_path(model_name) / "windows"
    found: list[WindowCheck] = []
    for name in reversed([name for name in folder.names() if name < window.key]):
        file = folder / name / f"{kind.value}.json"
        if len(found) < most and file.exists():
            found.append(WindowCheck.from_dict(file.read_json()))
    return tuple(found)
