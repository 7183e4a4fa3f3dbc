"""The address at which the Airflow UI shows a report that a task left in the artifact store."""

from urllib.parse import urlencode, urlsplit

from airflow.sdk import conf

from airflow_mlops.domain.work_key import WorkKey

REPORTS_PREFIX = "/mlops/reports"


def report_url(key: WorkKey, name: str) -> str:
    """Return the address of a page in the report folder of a task, on the server that shows the UI."""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    asked = {
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "task_id": key.task_id,
        "map_index": key.map_index,
        "name": name,
    }
    return f"{base}{REPORTS_PREFIX}/?{urlencode(asked)}"
