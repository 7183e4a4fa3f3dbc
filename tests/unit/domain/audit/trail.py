"""Audit trails made by hand, for tests of what they say."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_mlops.domain.audit.entry import (
    AuditEntry,
    AuditEvent,
    Chain,
    EventKind,
    Happening,
    Head,
    Origin,
    entry_name,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
MODEL = Chain.of_model("flight-delays")
FLIGHTS = Chain.of_dataset("flights")


def event(
    kind: EventKind, version: str | None = None, *, chain: Chain = MODEL, hour: float = 0, run: str = "r", **values: Any
) -> AuditEvent:
    """An event at an hour after START. The task is named as the kind, but a deployment is of the promoting task."""
    task = "promotion" if kind is EventKind.DEPLOYMENT else kind.value
    return AuditEvent(
        happening=Happening(
            chain=chain, event_kind=kind, version=version, **{"summary": f"{kind.value} {version}", **values}
        ),
        at=START + timedelta(hours=hour),
        started_by="ada",
        origin=Origin(dag_id="loop", run_id=run, task_id=task),
    )


def seal(events: Sequence[AuditEvent], chain: Chain = MODEL) -> list[AuditEntry]:
    """Return the chain of events."""
    entries: list[AuditEntry] = []
    for item in events:
        after = entries[-1].head if entries else Head(sequence=0, digest=chain.genesis)
        entries.append(AuditEntry.seal(item, after))
    return entries


def files_of(entries: Sequence[AuditEntry]) -> dict[str, bytes]:
    """Return the files of a chain."""
    return {entry_name(entry.sequence): entry.to_text().encode() for entry in entries}


def provenance(**digests: str) -> Mapping[str, str]:
    """Return digests that are filled up to their length."""
    return {name: (text * 64)[:64] for name, text in digests.items()}
