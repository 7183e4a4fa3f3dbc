"""What Airflow's API server mounts. Every process imports this, each task's too, so it imports next to nothing."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from airflow_mlops.links.report import REPORTS_PREFIX

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def serve_reports(scope: _Scope, receive: _Receive, send: _Send) -> None:
    """Answer with the app of the reports, which is imported by the first request."""
    from airflow_mlops.plugins.reports import app

    await app(scope, receive, send)


class MlopsPlugin(AirflowPlugin):
    """Shows the reports of tasks in the Airflow UI."""

    name = "mlops"
    fastapi_apps = [  # noqa: RUF012 - Airflow's own way of saying it
        {"app": serve_reports, "url_prefix": REPORTS_PREFIX, "name": "Reports of airflow-mlops"}
    ]
