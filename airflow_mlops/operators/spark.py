"""Validate a Spark DataFrame where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_mlops.domain.dataset import check_dataset_name
from airflow_mlops.domain.validation import OnFailure, ValidationReport
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.operators.validation import DataValidationOperator

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class SparkValidationOperator(DataValidationOperator):
    """Check a Spark DataFrame against an expectation suite, in Spark; nothing is fetched but failing samples.

    Needs ``pyspark`` on the worker. Reports and verdicts are those of
    :class:`~airflow_mlops.operators.validation.DataValidationOperator`.

    :param frame: returns the DataFrame, of a session of its own: local, of a cluster, or of Spark Connect. It is called
        when the task runs.
    :param dataset_name: by which reports and the audit trail call it.
    """

    def __init__(self, *, frame: Callable[[], DataFrame], dataset_name: str, **kwargs: Any) -> None:
        super().__init__(dataset_name=check_dataset_name(dataset_name), **kwargs)
        self.frame = frame

    def measure(self, context: Context) -> ValidationReport:
        """Run the suite in Spark."""
        from airflow_mlops.engines.great_expectations_spark import run_suite_in_spark, schema_digest

        if self.on_failure is OnFailure.QUARANTINE or self.timeliness:
            msg = "A Spark DataFrame has no quarantine and no timeliness: write it as Parquet, and take a snapshot."
            raise InvalidInputError(msg)
        suite = self._read_suite(context)
        frame = self.frame()
        rows, outcomes = run_suite_in_spark(suite, frame)
        name = str(self.dataset_name)
        return ValidationReport.judged(
            suite,
            outcomes,
            rows=rows,
            dataset_name=name,
            dataset_digest=schema_digest(frame, name),
            allow_empty=self.allow_empty,
        )
