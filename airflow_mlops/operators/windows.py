"""The records of the windows of a watched model, in the artifact store."""

from airflow_mlops.domain.monitoring import WindowCheck
from airflow_mlops.hooks.monitoring import monitoring_records


def record_check(check: WindowCheck) -> None:
    """Write a check down. The same check of the same window replaces what was written before."""
    monitoring_records(check.model_name).record(check)
