"""What predictions and labels are compared with where the training data has none: the first window of the version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote

from airflow_mlops.domain.drift import DriftSpec
from airflow_mlops.domain.drift.columns import prediction_and_label
from airflow_mlops.domain.monitoring import Window, monitoring_path
from airflow_mlops.domain.profile import DatasetProfile
from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.domain.serialization import Document
from airflow_mlops.hooks.storage import artifact_store


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstWindow(Document):
    """The first window of a version that was checked, and the profile of its predictions and labels."""

    window: Window
    profile: DatasetProfile


def read_first_window(version: ModelVersion) -> FirstWindow | None:
    """Return what was kept of the first window of a version, or ``None`` before there was one."""
    file = artifact_store() / _path(version)
    return FirstWindow.from_dict(file.read_json()) if file.exists() else None


def keep_first_window(
    version: ModelVersion, window: Window, reference: DatasetProfile, current: DatasetProfile, spec: DriftSpec
) -> str:
    """Keep the predictions and labels of this window, if the reference has none, and say so; "" where it needs not."""
    named = [name for names in prediction_and_label(current, spec) for name in names]
    columns = tuple(column for column in current.columns if column.name in named and not reference.column(column.name))
    if not columns or current.rows < spec.min_rows:
        return ""
    first = FirstWindow(window=window, profile=replace(current, columns=columns, notes=()))
    (artifact_store() / _path(version)).create_json(first.to_dict())
    names = ", ".join(column.name for column in columns)
    return f"The reference has no {names}: later windows of version {version.version} are compared with this one."


def _path(version: ModelVersion) -> str:
    return f"{monitoring_path(version.model_name)}/first/{quote(version.version, safe='')}.json"
