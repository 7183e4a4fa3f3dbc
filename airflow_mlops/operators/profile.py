"""Profile rows where they lie, so that the parts of a window are profiled side by side by mapped tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift.report import ProfileReference
from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.sql import sql_engine
from airflow_mlops.operators.base import MlopsOperator, report_folder
from airflow_mlops.operators.kept_profiles import profile_snapshot
from airflow_mlops.operators.watched import given_snapshot, training_snapshot, watched_version

if TYPE_CHECKING:
    from airflow_mlops.domain.profile import DatasetProfile, Grid


class ReferredProfileOperator(MlopsOperator):
    """Base of operators that profile rows on the grid of the reference that they will be compared with."""

    def __init__(
        self,
        *,
        reference: Any = None,
        model_name: str | None = None,
        model_version: str | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.reference = reference
        self.model_name = model_name
        self.model_version = model_version
        self.mlflow_conn_id = mlflow_conn_id

    def grids(self) -> dict[str, Grid] | None:
        """Return the grids of the reference, or ``None`` where there is none."""
        if (reference := given_snapshot(self.reference)) is not None:
            return profile_snapshot(reference).profile.grids
        if not self.model_name:
            return None
        version = watched_version(MlflowHook(self.mlflow_conn_id).engine(), self.model_name, self.model_version)
        return profile_snapshot(training_snapshot(version)).profile.grids if version else None


class ProfileOperator(ReferredProfileOperator):
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

    def __init__(self, *, snapshot: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.snapshot = snapshot

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's own
        """Profile the snapshot on the reference's grid."""
        found = profile_snapshot(Snapshot.from_dict(self.snapshot), self.grids())
        self.log.info("%s rows, %d columns: %s", f"{found.profile.rows:,}", len(found.profile.columns), found.file.uri)
        return found.reference.to_dict()


class SqlProfileOperator(ReferredProfileOperator):
    """Profile the rows of a table or a query in the database that holds them, so that no row leaves it.

    ``DriftCheckOperator`` takes the result as ``current``. The database counts, in one read-only transaction that sees
    one state; it is PostgreSQL. The profile is written to the task's report folder.

    :param conn_id: an Airflow connection to PostgreSQL.
    :param table: ``table`` or ``schema.table`` (templated).
    :param query: a SELECT instead of a table (templated).

    The other parameters are those of :class:`ProfileOperator`.

    Returns a :class:`~airflow_mlops.domain.drift.report.ProfileReference` as a dict.

    :raises DatasetError: when the database refuses the query.
    :raises DatabaseUnavailableError: when the database does not answer.
    :raises InvalidInputError: when it is another database than PostgreSQL.
    """

    template_fields: Sequence[str] = ("table", "query", "reference", "model_name", "model_version")
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql", "reference": "json"}
    ui_color = "#d0e0e3"

    def __init__(self, *, conn_id: str, table: str | None = None, query: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table
        self.query = query

    def execute(self, context: Context) -> dict[str, Any]:
        """Let the database count, and keep the profile."""
        profile = self.measure()
        file = report_folder(context) / "profile.json"
        file.write_json(profile.to_dict())
        source = SqlSource.of(self.conn_id, table=self.table, query=self.query)
        self.log.info("%s has %s rows: %s", source, f"{profile.rows:,}", file.uri)
        reference = ProfileReference(
            dataset_name=source.uri, digest=profile.content_digest(), uri=file.uri, rows=profile.rows
        )
        return reference.to_dict()

    def measure(self) -> DatasetProfile:
        """Profile the rows on the reference's grid."""
        from airflow_mlops.engines.profiles.sql import profile_sql
        from airflow_mlops.engines.sqlalchemy import open_source

        source = SqlSource.of(self.conn_id, table=self.table, query=self.query)
        grids = self.grids()
        with sql_engine(self.conn_id) as engine:
            dialect = engine.dialect.name
            if dialect != "postgresql":
                msg = f"{source} lies in {dialect}, but only PostgreSQL counts by itself. Take a SqlSnapshotOperator."
                raise InvalidInputError(msg)
            with open_source(engine, source) as opened:
                types = {column.name: column.type for column in opened.columns}
                relation = f"({opened.statement}\n)"
                return profile_sql(opened.fetch, relation, types, dialect=dialect, grids=grids, engine=dialect)
