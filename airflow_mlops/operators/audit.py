"""What every operator does with an event: record it in the audit trail, with who, when, and which try of which task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.timezone import utcnow

from airflow_mlops.domain.audit.entry import AuditEntry, AuditEvent, Happening, Origin
from airflow_mlops.domain.audit.events import stands_on
from airflow_mlops.domain.audit.history import PROMOTION_TIME, rival
from airflow_mlops.domain.registry import TAG_AUDIT_HEAD, ModelVersion
from airflow_mlops.exceptions import PromotionUnderWayError
from airflow_mlops.hooks.audit import audit_trail

if TYPE_CHECKING:
    from airflow_mlops.engines.ledger import Guard
    from airflow_mlops.engines.mlflow import MlflowEngine


def append_event(context: Context, happening: Happening, *, guard: Guard | None = None) -> AuditEntry:
    """Append what happened to its chain, once for all tries of a task, and return its entry.

    :raises AuditTrailBusyError: when it could not be recorded: a retry records it.
    :raises AuditTrailBrokenError: when the last entry of the chain was altered.
    """
    ledger = audit_trail()
    found = [ledger.find(query) for query in stands_on(happening)]
    event = AuditEvent(
        happening=replace(happening, references=tuple(entry.reference for entry in found if entry is not None)),
        at=utcnow(),
        started_by=_started_by(context),
        origin=origin_of(context),
    )
    # A Dag run knows when it started; where an operator is executed by hand, there may be none.
    return ledger.append(event, since=getattr(context.get("dag_run"), "start_date", None), guard=guard)


def append_version_event(
    context: Context, happening: Happening, version: ModelVersion, mlflow: MlflowEngine, *, guard: Guard | None = None
) -> AuditEntry:
    """Record what happened to a version, and let the version remember where the chain ended then."""
    entry = append_event(context, happening, guard=guard)
    mlflow.set_version_tags(version, {TAG_AUDIT_HEAD: str(entry.head)})
    return entry


def refuse_rivals(context: Context, looked: int) -> Guard:
    """Return what keeps a promotion out of the chain while another task promotes, or has since ``looked``.

    :param looked: length of the chain before the task looked at the registry.
    """
    own = origin_of(context)

    def refuse(entries: Sequence[AuditEntry]) -> None:
        now: datetime = utcnow()
        if (found := rival(entries, own, looked=looked, now=now)) is not None:
            msg = (
                f"{found.happening.chain.name} is being promoted by another task: entry {found.sequence} of its audit "
                f"trail, by {found.event.origin}, says: {found.happening.summary} Nothing was done. A retry compares "
                f"with the champion of then; a promotion that has died holds others up for {PROMOTION_TIME}."
            )
            raise PromotionUnderWayError(msg)

    return refuse


def origin_of(context: Context) -> Origin:
    """Return the try that is running."""
    ti, run = context["ti"], context.get("dag_run")
    return Origin(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=getattr(ti, "try_number", 1),
        clear_number=getattr(run, "clear_number", 0) or 0,
    )


def _started_by(context: Context) -> str:
    """Return the user who started the Dag run, else how it was started, such as ``scheduled``."""
    run: Any = context.get("dag_run")
    kind = getattr(run, "run_type", "")
    return str(getattr(run, "triggering_user_name", None) or getattr(kind, "value", kind))
