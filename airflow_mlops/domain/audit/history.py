"""What served when, read from the records: a deployment is what was seen, a promotion what was about to be done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from airflow_mlops.domain.audit.entry import AuditEntry, EventKind, Origin
from airflow_mlops.domain.serialization import Document

PROMOTION_TIME: Final = timedelta(minutes=10)
"""A promotion takes seconds. One that began longer ago and was never seen to finish has died."""
_INTENTS = frozenset({EventKind.PROMOTION, EventKind.ROLLBACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving(Document):
    """A version that served, from its deployment to the next one."""

    model_name: str
    version: str
    since: datetime
    until: datetime | None
    """``None`` while it serves."""
    decided_by: str
    """The person who approved it."""
    sequence: int
    """The entry that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingAt(Document):
    """What the records say of one moment."""

    moment: datetime
    serving: Serving | None
    unfinished: tuple[str, ...] = ()
    """Versions whose promotion had begun, and that nobody had yet seen to serve: they may have served already."""


def serving_history(entries: Iterable[AuditEntry]) -> tuple[Serving, ...]:
    """Return every version that served, in order. Deploying the version that serves already begins nothing new."""
    history: list[Serving] = []
    for entry in entries:
        happening = entry.happening
        if entry.event_kind is not EventKind.DEPLOYMENT or happening.version is None:
            continue
        if history and history[-1].version == happening.version:
            continue
        if history:
            history[-1] = replace(history[-1], until=entry.event.at)
        history.append(
            Serving(
                model_name=happening.chain.name,
                version=happening.version,
                since=entry.event.at,
                until=None,
                decided_by=happening.who,
                sequence=entry.sequence,
            )
        )
    return tuple(history)


def serving_at(entries: Sequence[AuditEntry], moment: datetime) -> ServingAt:
    """Return what served at a moment."""
    serving = next((item for item in reversed(serving_history(entries)) if item.since <= moment), None)
    begun = unfinished(entry for entry in entries if entry.event.at <= moment)
    return ServingAt(
        moment=moment,
        serving=serving,
        unfinished=tuple(
            str(entry.happening.version) for entry in begun if serving is None or entry.sequence > serving.sequence
        ),
    )


def unfinished(entries: Iterable[AuditEntry]) -> tuple[AuditEntry, ...]:
    """Return the promotions and rollbacks after which no deployment of the same work was recorded."""
    begun: dict[object, AuditEntry] = {}
    for entry in entries:
        work = (entry.event.origin.work_key, entry.event.origin.clear_number)
        if entry.event_kind in _INTENTS:
            begun[work] = entry
        elif entry.event_kind is EventKind.DEPLOYMENT:
            begun.pop(work, None)
    return tuple(sorted(begun.values(), key=lambda entry: entry.sequence))


def rival(entries: Sequence[AuditEntry], own: Origin, *, looked: int, now: datetime) -> AuditEntry | None:
    """Return the entry of another task that changes, or may be changing, what serves.

    :param own: the task that wants to promote. Its own earlier tries are no rivals.
    :param looked: number of the last entry when the task looked at the registry: whatever came later, it may have
        missed.
    """
    others = [entry for entry in entries if entry.event.origin.work_key != own.work_key]
    later = [
        entry
        for entry in others
        if entry.sequence > looked and (entry.event_kind in _INTENTS or entry.event_kind is EventKind.DEPLOYMENT)
    ]
    under_way = [entry for entry in unfinished(others) if now - entry.event.at < PROMOTION_TIME]
    return next(iter([*reversed(later), *reversed(under_way)]), None)
