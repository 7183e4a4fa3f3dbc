"""Profile one snapshot, so that the parts of a window are profiled side by side by mapped tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.operators.base import MlopsOperator
from airflow_mlops.operators.profiles import profile_snapshot
from airflow_mlops.operators.watched import training_snapshot, watched_version


class ProfileOperator(MlopsOperator):
    """Profile a snapshot, once, and keep the profile with it.

    A drift check does this by itself. With this operator the parts of a large window are profiled by mapped tasks,
    which run side by side, and ``DriftCheckOperator`` takes the list and merges them::

        profiles = ProfileOperator.partial(task_id="profile", model_name="churn").expand(snapshot=days)
        DriftCheckOperator(task_id="drift", model_name="churn", current=profiles.output, …)

    Numbers are counted on the grid of the reference, since profiles on different grids cannot be compared. Give the
    same reference here as there.

    :param snapshot: what to profile (templated).
    :param reference: the snapshot that it will be compared with; ``None`` is what the watched version of ``model_name``
        was trained on (templated).
    :param model_name: the registered model that is watched. With neither this nor ``reference`` the profile is on a
        grid of its own, as that of a reference is (templated).
    :param model_version: the version that is watched; ``None`` is the champion of this moment (templated).
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.drift.report.ProfileReference` as a dict.

    :raises DatasetError: when a snapshot cannot be read.
    """

    template_fields: Sequence[str] = ("snapshot", "reference", "model_name", "model_version")
    template_fields_renderers: ClassVar[dict[str, str]] = {"snapshot": "json", "reference": "json"}
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        snapshot: Any,
        reference: Any = None,
        model_name: str | None = None,
        model_version: str | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.snapshot = snapshot
        self.reference = reference
        self.model_name = model_name
        self.model_version = model_version
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's own
        """Profile the snapshot on the reference's grid."""
        reference = self.reference_snapshot()
        grids = profile_snapshot(reference).profile.grids if reference else None
        found = profile_snapshot(Snapshot.from_dict(self.snapshot), grids)
        self.log.info("%s rows, %d columns: %s", f"{found.profile.rows:,}", len(found.profile.columns), found.file.uri)
        return found.reference.to_dict()

    def reference_snapshot(self) -> Snapshot | None:
        """Return what the snapshot will be compared with, if anything."""
        if self.reference:
            return Snapshot.from_dict(self.reference)
        if not self.model_name:
            return None
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        version = watched_version(mlflow, self.model_name, self.model_version)
        return training_snapshot(version) if version else None
