"""The records of the windows of a watched model, in the artifact store."""

from airflow_mlops.domain.monitoring import WindowCheck, check_path
from airflow_mlops.hooks.storage import artifact_store


def record_check(check: WindowCheck) -> None:
    """Write a check down. The same check of the same window replaces what was written before."""
    (artifact_store() / check_path(check)).write_json(check.to_dict())
