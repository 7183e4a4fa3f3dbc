"""What every operator of this package shares: which errors a retry can cure, and the key of its work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context, ExceptionRetryPolicy, RetryAction, RetryRule

from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.exceptions import PermanentError
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.supervision import end_with_supervisor

if TYPE_CHECKING:
    from airflow_mlops.engines.fsspec import Storage


class MlopsOperator(BaseOperator):
    """Base of this package's operators.

    A task fails at once on a :class:`~airflow_mlops.exceptions.PermanentError`; other errors are retried as
    ``retries`` says. Pass an own ``retry_policy`` to decide otherwise.
    """

    def __init__(self, **kwargs: Any) -> None:
        permanent_errors_fail(kwargs)
        super().__init__(**kwargs)

    def pre_execute(self, context: Any) -> None:
        """Tie the task's process to the worker's: of a worker that was killed, nothing goes on beside its retry."""
        super().pre_execute(context)
        end_with_supervisor()


def permanent_errors_fail(kwargs: dict[str, Any]) -> None:
    """Set the retry policy of an operator's keyword arguments, unless its author gave one."""
    rule = RetryRule(exception=PermanentError, action=RetryAction.FAIL)
    kwargs.setdefault("retry_policy", ExceptionRetryPolicy(rules=[rule]))


def work_key_of(context: Context) -> WorkKey:
    """Return the key of the work that the running task does."""
    ti = context["ti"]
    return WorkKey(
        dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=-1 if ti.map_index is None else ti.map_index
    )


def report_folder(context: Context) -> Storage:
    """Return the running task's folder in the artifact store: ``reports/<dag>/<run>/<task>``."""
    return artifact_store() / f"reports/{work_key_of(context).path}"


def dag_file(path: str, context: Context) -> Path:
    """Return a file that an author named: absolute, or relative to the Dag's folder."""
    return Path(context["dag"].folder) / path
