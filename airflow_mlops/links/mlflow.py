"""From a task to its run and its model version in the MLflow UI.

A task stores the address as soon as it knows it, so the link is there while the task runs, and also when it fails.
"""

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class StoredLink(BaseOperatorLink):
    """A link whose address the task stores with :meth:`persist`."""

    key: ClassVar[str]

    @classmethod
    def persist(cls, context: Context, url: str) -> None:
        """Store the address; the UI shows the link from then on."""
        context["ti"].xcom_push(key=cls.key, value=url)

    @property
    def xcom_key(self) -> str:
        """The XCom that the UI reads the address from."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: "TaskInstanceKey") -> str:  # noqa: ARG002 - Airflow's own
        """Return the stored address, or nothing when the task stored none. Airflow calls this when the task ends."""
        from airflow.sdk.execution_time.xcom import XCom

        return XCom.get_value(ti_key=ti_key, key=self.key) or ""


class MlflowRunLink(StoredLink):
    """The MLflow run that a training wrote."""

    name = "MLflow run"
    key = "mlflow_run_url"


class ModelVersionLink(StoredLink):
    """The model version that a task registered, judged or promoted."""

    name = "MLflow model version"
    key = "mlflow_model_version_url"


class ReportLink(StoredLink):
    """The readable report that a task left in the artifact store."""

    name = "Report"
    key = "mlops_report_url"


class HistoryLink(StoredLink):
    """The history of a watched model."""

    name = "Model history"
    key = "mlops_history_url"
