"""Validate a snapshot, or a table or query of a database, with a Great Expectations suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.audit.events import data_validated, snapshot_taken
from airflow_mlops.domain.dataset import ColumnSummary, Snapshot, check_dataset_name, parse_moment
from airflow_mlops.domain.quarantine import check_max_share
from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.domain.timeliness import Timeliness
from airflow_mlops.domain.validation import ExpectationOutcome, OnFailure, Severity, Suite, ValidationReport, describe
from airflow_mlops.domain.validation_html import render
from airflow_mlops.exceptions import InvalidInputError, SuiteError, ValidationFailedError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.links.mlflow import ReportLink
from airflow_mlops.links.report import report_url
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import MlopsOperator, report_folder, work_key_of
from airflow_mlops.operators.databases import run_in_database
from airflow_mlops.operators.quarantine import QuarantineTask

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

SNAPSHOT_KEY = "snapshot"
"""The XCom with the snapshot that what follows should read."""


class DataValidationOperator(MlopsOperator):
    """Check a snapshot or a database against an expectation suite, and keep the report before judging.

    Give a snapshot, or a connection with a table or a query. The latter is checked by queries that run in the database:
    no row leaves it but failing samples.

    Writes ``validation.html`` and ``validation.json`` to the task's report folder. Returns a
    :class:`~airflow_mlops.domain.validation.ValidationReport` as a dict, with the failed outcomes only.

    A column that the suite names and the data lacks is bad data. A check that breaks, such as a mean of texts, is no
    verdict on the data: the task fails, whatever ``on_failure`` says.

    Only expectations whose ``severity`` is ``critical``, which is the default, decide; ``warning`` and ``info`` are
    shown.

    :param dataset: what :class:`~airflow_mlops.operators.dataset.DatasetSnapshotOperator` returned (templated).
    :param conn_id: a connection whose provider gives an SQLAlchemy engine.
    :param table: ``table`` or ``schema.table`` behind that connection (templated).
    :param query: a SELECT instead of a table (templated).
    :param dataset_name: by which reports and the audit trail call the table (its name) or the query (the task's id).
    :param suite: path or storage address of a JSON or YAML file in the format of Great Expectations 1; a relative path
        starts at the Dag's folder, then at the working directory. Or the suite itself as a ``dict`` (templated).
    :param on_failure: ``fail`` fails the task, ``warn`` logs and goes on, ``skip`` skips the task and, by default, what
        follows it, ``quarantine`` puts the failing rows of a snapshot aside and goes on with the others.
    :param timeliness: how fresh the newest row, and how many the rows of a period must be, judged at the end of the
        run's data interval (its logical date), so that a backfill is held to its own day.
    :param as_of: another moment to judge that at, in ISO 8601 (templated).
    :param max_quarantined: the largest share of rows, from 0 to 1, that may be put aside; more fail the task.
    :param allow_empty: accept a suite without expectations, and data without rows, which meets almost any of them.

    The snapshot to go on with is in the XCom ``snapshot``: ``validate.output["snapshot"]``. With ``quarantine`` it has
    the rows that pass, otherwise it is ``dataset`` itself.
    """

    # There is no template_ext: the path of a JSON file is a path, and not a template to read.
    template_fields: Sequence[str] = ("dataset", "suite", "table", "query", "as_of")
    template_fields_renderers: ClassVar[dict[str, str]] = {"dataset": "json", "suite": "json", "query": "sql"}

    operator_extra_links = (ReportLink(),)

    def __init__(
        self,
        *,
        suite: str | Mapping[str, Any],
        dataset: Any = None,
        conn_id: str | None = None,
        table: str | None = None,
        query: str | None = None,
        dataset_name: str | None = None,
        on_failure: Literal["fail", "warn", "skip", "quarantine"] = "fail",
        max_quarantined: float = 0.05,
        timeliness: Timeliness | None = None,
        as_of: Any = None,
        allow_empty: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.suite = suite
        self.conn_id = conn_id
        self.table = table
        self.query = query
        self.dataset_name = dataset_name
        self.on_failure = OnFailure(on_failure)
        self.max_quarantined = check_max_share(max_quarantined)
        self.timeliness = timeliness
        self.as_of = as_of
        self.allow_empty = allow_empty
        self._recorded: ValidationReport | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure the data against the suite, record the report, enforce it, and say which snapshot to go on with."""
        report = self.measure(context)
        report = self.record(report, context)
        self.enforce(report)
        self.hand_on(report, context)
        return report.bounded().to_dict()

    def measure(self, context: Context) -> ValidationReport:
        """Run the suite. Override to validate by other means."""
        if (self.dataset is None) == (self.conn_id is None):
            msg = "Give either a dataset, which is a snapshot, or a conn_id with a table or a query."
            raise InvalidInputError(msg)
        if self.conn_id is not None:
            return self._measure_in_database(self.conn_id, self._read_suite(context), self._moment(context))
        return self._measure_snapshot(self._read_suite(context), self._moment(context))

    def _measure_snapshot(
        self, suite: Suite, moment: datetime, further: tuple[ExpectationOutcome, ...] = ()
    ) -> ValidationReport:
        """Run the suite on the snapshot; ``further`` is what else was found of it as a whole."""
        from airflow_mlops.engines.great_expectations import run_suite
        from airflow_mlops.engines.snapshots import open_snapshot

        snapshot = Snapshot.from_dict(self.dataset)
        with open_snapshot(open_storage(snapshot.uri)) as local:
            outcomes = run_suite(suite, local.parts, duckdb_limits())
            on_whole = self._timely(local.parts, moment) + further
            report = ValidationReport.judged(
                suite,
                outcomes + on_whole,
                rows=snapshot.rows,
                dataset_name=snapshot.dataset_name,
                dataset_digest=snapshot.digest,
                dataset_uri=snapshot.uri,
                allow_empty=self.allow_empty,
            )
            hopeless = report.crashed or report.refusal
            if self.on_failure is not OnFailure.QUARANTINE or report.success or hopeless:
                return report
            task = QuarantineTask(
                snapshot=snapshot,
                suite=suite,
                outcomes=outcomes,
                on_tables=[outcome.type for outcome in on_whole if not outcome.success],
                max_share=self.max_quarantined,
                check=lambda parts: run_suite(suite, parts, duckdb_limits()) + self._timely(parts, moment),
            )
            return replace(report, quarantine=task.run(local))

    def _timely(self, parts: Sequence[Path], moment: datetime) -> tuple[ExpectationOutcome, ...]:
        from airflow_mlops.engines.duckdb import find_times

        if not self.timeliness:
            return ()
        start = self.timeliness.start(moment)
        found = find_times(parts, self.timeliness.time_column, start, moment, duckdb_limits())
        return self.timeliness.judge(found, moment)

    def _moment(self, context: Context) -> datetime:
        """Return when the times of the rows are judged: the end of the run's data interval, or when it may start."""
        if self.as_of is not None and self.as_of not in {"", "None"}:
            return parse_moment("as_of", self.as_of)
        run = context.get("dag_run")
        names = ("data_interval_end", "logical_date", "run_after")
        return next((time for name in names if (time := getattr(run, name, None))), None) or datetime.now(UTC)

    def _measure_in_database(self, conn_id: str, suite: Suite, moment: datetime) -> ValidationReport:
        if self.on_failure is OnFailure.QUARANTINE:
            msg = "on_failure='quarantine' needs a dataset: take a snapshot of the table or query, and validate that."
            raise InvalidInputError(msg)
        source = SqlSource.of(conn_id, table=self.table, query=self.query)
        rows, outcomes = run_in_database(source, suite, self.timeliness, moment)
        return ValidationReport.judged(
            suite,
            outcomes,
            rows=rows,
            dataset_name=check_dataset_name(self.dataset_name or source.table or self.task_id),
            dataset_digest=source.digest,
            dataset_uri=source.uri,
            allow_empty=self.allow_empty,
        )

    def record(self, report: ValidationReport, context: Context) -> ValidationReport:
        """Write the report to the artifact store, and return it with its address."""
        folder = report_folder(context)
        page = folder / "validation.html"
        report = replace(report, report_uri=page.uri)
        page.write_text(render(report, datetime.now(UTC), self._columns()))
        (folder / "validation.json").write_json(report.to_dict())
        self._recorded = report
        ReportLink.persist(context, report_url(work_key_of(context), "validation.html"))
        append_event(context, data_validated(report))
        if report.quarantine:
            from airflow_mlops.engines.snapshots import read_manifest

            for snapshot in filter(None, (report.quarantine.passing, report.quarantine.quarantined)):
                append_event(context, snapshot_taken(snapshot, read_manifest(open_storage(snapshot.uri))))
        return report

    def _columns(self) -> tuple[ColumnSummary, ...]:
        """Return what is known of the columns of a snapshot; of a table, nothing is."""
        from airflow_mlops.engines.snapshots import read_manifest

        if self.dataset is None:
            return ()
        return read_manifest(open_storage(Snapshot.from_dict(self.dataset).uri)).columns

    def enforce(self, report: ValidationReport) -> None:
        """Fail, warn or skip, when the data does not meet the suite.

        :raises SuiteError: when an expectation could not be checked.
        :raises ValidationFailedError: when ``on_failure`` is ``fail``.
        """
        if broken := [outcome for outcome in report.crashed if outcome.severity == Severity.CRITICAL]:
            msg = (
                f"{len(broken)} expectations of the suite {report.suite_name!r} could not be checked on "
                f"{report.dataset_name}; the first is {describe(broken[0])}. Either the expectation does not "
                f"fit the column's type, or the type has changed. Report: {report.report_uri}"
            )
            raise SuiteError(msg)
        if report.success and report.failure_count:
            self.log.warning("Passed, since none of these is critical: %s", report.summary())
            return
        if report.success:
            self.log.info("%s met all %d expectations.", report.dataset_name, report.expectation_count)
            return
        if report.quarantine and not report.quarantine.refusal:
            self.log.warning("%s %s", report.summary(), report.quarantine)
            return
        if self.on_failure in {OnFailure.FAIL, OnFailure.QUARANTINE}:
            raise ValidationFailedError(f"{report.summary()} {report.quarantine or ''}".rstrip())
        if self.on_failure is OnFailure.SKIP:
            raise AirflowSkipException(report.summary())
        self.log.warning(report.summary())

    def hand_on(self, report: ValidationReport, context: Context) -> None:
        """Put the snapshot to go on with into the XCom ``snapshot``."""
        if self.dataset is not None:
            passing = report.quarantine.passing if report.quarantine else None
            snapshot = passing or Snapshot.from_dict(self.dataset)
            context["ti"].xcom_push(key=SNAPSHOT_KEY, value=snapshot.to_dict())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002 - its own
        """Tell OpenLineage what was expected and found; its provider calls this, also when the validation failed."""
        from airflow_mlops.operators.lineage import validation_lineage

        return validation_lineage(self._recorded) if self._recorded else None

    get_openlineage_facets_on_failure = get_openlineage_facets_on_complete

    def _read_suite(self, context: Context) -> Suite:
        from airflow_mlops.engines.yaml import read_document

        if isinstance(self.suite, Mapping):
            return Suite.from_document(self.suite, "the suite", allow_empty=self.allow_empty)
        try:
            if "://" in self.suite:
                with open_storage(self.suite).local() as file:
                    return Suite.from_document(read_document(file), self.suite, allow_empty=self.allow_empty)
            file = _resolve(self.suite, Path(context["dag"].folder))
            return Suite.from_document(read_document(file), str(file), allow_empty=self.allow_empty)
        except SuiteError:
            raise
        except InvalidInputError as error:
            msg = f"The suite cannot be read: {error}"
            raise SuiteError(msg) from error


def _resolve(path: str, dag_folder: Path) -> Path:
    beside_dag = dag_folder / path
    return beside_dag if beside_dag.exists() or not Path(path).exists() else Path(path)
