"""Send what a watched model has to tell through any notifier of Airflow, once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseNotifier, Context, conf

from airflow_mlops.domain.monitoring_alert import MonitoringAlert
from airflow_mlops.domain.retraining import AlertKind, RetrainDecision
from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.links.report import report_url
from airflow_mlops.operators.base import work_key_of

if TYPE_CHECKING:
    from airflow_mlops.engines.monitoring import MonitoringRecords

Notifiers = Sequence[BaseNotifier] | BaseNotifier

OWN_TIME: Final = timedelta(hours=1)
"""How long telling is left to the task that decided. After that, another one does it."""
FORGOTTEN: Final = timedelta(days=7)
"""A retraining that was decided longer ago is not told any more: Airflow may have forgotten that it was."""
ALERT_FORGOTTEN: Final = timedelta(days=2)
"""A message that could not be sent for that long is not sent any more."""

_log = logging.getLogger(__name__)


def has_alert(decision: RetrainDecision, *, every_window: bool) -> bool:
    """Whether there is something to tell. A window that is decided again only tells what is new."""
    if decision.alert is AlertKind.ONGOING:
        return every_window and decision.revision == 0
    return decision.alert is not None


def send_alert(
    records: MonitoringRecords,
    decision: RetrainDecision,
    notifiers: Notifiers,
    context: Context,
    links: Mapping[str, str],
) -> None:
    """Send one message about a decision by each notifier that has not sent it yet.

    That it is sent is written down before, so that no retry repeats it; a worker that dies in between loses it. A
    notifier that fails is passed over, and a later run tries again.
    """
    reports = {kind: shown_at(uri, context) for kind, uri in decision.reports.items()}
    alert = MonitoringAlert.of(replace(decision, reports=reports), links)
    cast("dict[str, Any]", context)["monitoring"] = alert.to_dict()  # Airflow's type knows its own keys alone
    for number, notifier in enumerate([notifiers] if isinstance(notifiers, BaseNotifier) else notifiers):
        claim = f"{decision.key}.alert.{number}"
        if not records.claim_once(claim):
            continue
        try:
            copy.copy(notifier)(context)  # Rendering overwrites its templates.
        except Exception:  # noqa: BLE001 - what was decided stands, whatever has become of a mail server
            _log.exception("The alert %r could not be sent by %s.", alert.subject, type(notifier).__name__)
            records.unclaim(claim)


def shown_at(uri: str, context: Context) -> str:
    """Return where people open a report of the artifact store: a page of Airflow's UI, for who may see the Dag.

    It stays ``uri`` where Airflow does not know its own address (``[api] base_url``), and where the file lies in no
    task's report folder. The names in such a folder do as ids, but for a Dag whose id is no file name: it is known of
    the running Dag alone.
    """
    base = urlsplit(conf.get("api", "base_url", fallback=""))
    reports = f"{artifact_store().uri.rstrip('/')}/reports/"
    folders = uri.removeprefix(reports).split("/")
    if not base.netloc or not uri.startswith(reports) or len(folders) != len(("dag", "run", "task", "page")):
        return uri
    dag, run, task, page = folders
    own = work_key_of(context)
    key = WorkKey(dag_id=own.dag_id if own.path.startswith(f"{dag}/") else dag, run_id=run, task_id=task)
    return f"{base.scheme}://{base.netloc}{report_url(key, page)}"


def task_url(context: Context) -> str:
    """Return the address of the running task in Airflow's UI; empty where Airflow does not know its own."""
    base, ti = str(conf.get("api", "base_url", fallback="")).rstrip("/"), context["ti"]
    if not base:
        return ""
    mapped = f"/mapped/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{base}/dags/{ti.dag_id}/runs/{quote(ti.run_id, safe='')}/tasks/{ti.task_id}{mapped}"
