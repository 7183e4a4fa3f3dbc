"""One record of the audit trail: who did what, when, from which Dag run, with which digests, and after which record.

A chain is a folder of numbered files. Each names the digest of the one before, so that none can be altered, removed or
moved without a trace. The digest is the SHA-256 of the canonical JSON (sorted keys, no white space, UTF-8) of the file
without its ``digest``, so that anybody can compute it without this package.
"""

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote, unquote

from airflow_mlops.domain.serialization import Document, digest_of
from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.exceptions import InvalidInputError

_NAME = re.compile(r"(\d{8,})\.json")
_DIGITS = 8


class EventKind(enum.StrEnum):
    """What can happen to data and models."""

    SNAPSHOT = "snapshot"
    VALIDATION = "validation"
    TRAINING = "training"
    REGISTRATION = "registration"
    EVALUATION = "evaluation"
    GATE = "gate"
    APPROVAL = "approval"
    PROMOTION = "promotion"
    """A version is about to become the champion: recorded before the alias moves."""
    ROLLBACK = "rollback"
    """An earlier version is about to become the champion again: recorded before the alias moves."""
    DEPLOYMENT = "deployment"
    """A version serves: recorded after the alias was seen to name it."""
    DRIFT = "drift"
    RETRAINING = "retraining"


class Subject(enum.StrEnum):
    """What a chain is about."""

    MODEL = "models"
    DATASET = "datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Document):
    """The records about one model, or about one dataset and the trainings on it."""

    subject: Subject
    name: str

    @classmethod
    def of_model(cls, model_name: str) -> Self:
        """Return the chain of a registered model."""
        return cls(subject=Subject.MODEL, name=model_name)

    @classmethod
    def of_dataset(cls, dataset_name: str) -> Self:
        """Return the chain of a dataset."""
        return cls(subject=Subject.DATASET, name=dataset_name)

    @classmethod
    def at(cls, path: str) -> Self:
        """Return the chain of a folder, such as ``models/flight-delays``."""
        subject, _, name = path.partition("/")
        return cls(subject=Subject(subject), name=unquote(name))

    @property
    def path(self) -> str:
        """Folder of the chain below the audit trail's root. Two names never share one."""
        name = quote(self.name, safe="")
        return f"{self.subject.value}/{name if name.strip('.') else name.replace('.', '%2E')}"

    @property
    def genesis(self) -> str:
        """What the first entry names as its predecessor."""
        return digest_of(self.to_dict())

    def __str__(self) -> str:
        """Return how people name it, such as ``models/flight-delays``."""
        return f"{self.subject.value}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin(Document):
    """The try of a task that recorded it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    clear_number: int = 0
    """How often the Dag run had been cleared, or a task in it: work that was cleared on purpose is recorded anew."""

    def __str__(self) -> str:
        """Return where it ran, for people."""
        task = self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"
        return f"{self.dag_id} / {self.run_id} / {task}, try {self.try_number}"

    @property
    def work_key(self) -> WorkKey:
        """The work, the same for each of its tries."""
        return WorkKey(dag_id=self.dag_id, run_id=self.run_id, task_id=self.task_id, map_index=self.map_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReference(Document):
    """An entry of another chain, and through it all that came before that entry."""

    chain: Chain
    sequence: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening(Document):
    """What happened, without who recorded it."""

    chain: Chain
    event_kind: EventKind
    summary: str
    """One sentence for people."""
    version: str | None = None
    """Of the model."""
    who: str = ""
    """The person who decided it; empty when it was nobody but the Dag run."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 or image digests by what they are of: ``dataset``, ``model``, ``image``, ``suite``, ``evidence``, …"""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Anything else, as plain JSON."""
    references: tuple[EntryReference, ...] = ()
    key: str = ""
    """Two happenings of one key are the same one. By default: of one work, kind, version and digests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent(Document):
    """What happened, when, and which task says so. ``key`` is filled here, when the happening left it open."""

    happening: Happening
    at: datetime
    """When it was recorded, by the clock of the worker."""
    started_by: str
    """The user who started the Dag run, or how it was started: ``scheduled``, ``asset_triggered``, …"""
    origin: Origin

    @property
    def key(self) -> str:
        """What tells this event from every other in its chain.

        A retry that comes to the same result is the same event; one that comes to another result is another.
        """
        happening, origin = self.happening, self.origin
        return happening.key or digest_of(
            [
                happening.event_kind.value,
                happening.version,
                dict(happening.digests),
                str(origin.work_key),
                origin.clear_number,
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Head(Document):
    """Where a chain ended when somebody looked."""

    sequence: int
    digest: str
    seen_by: str = ""
    """Who or what remembers it, such as ``the tag of version 3``."""

    @classmethod
    def parse(cls, text: str, seen_by: str) -> Self:
        """Read ``12:<digest>``, as :meth:`__str__` writes it.

        :raises InvalidInputError: when it is nothing like that.
        """
        sequence, _, digest = text.strip().partition(":")
        if not sequence.isdecimal() or not re.fullmatch(r"[0-9a-f]{64}", digest):
            msg = f"{text!r} is no head of a chain. It looks like 12:<64 hex digits>, as --verify prints it."
            raise InvalidInputError(msg)
        return cls(sequence=int(sequence), digest=digest, seen_by=seen_by)

    def __str__(self) -> str:
        """Return the number and the digest of the last entry."""
        return f"{self.sequence}:{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Document):
    """An event in its chain."""

    sequence: int
    """From 1, without gaps."""
    previous: str
    """Digest of the entry before; of the first one, the chain's own."""
    event: AuditEvent
    digest: str = ""
    """Of all the above."""

    @classmethod
    def seal(cls, event: AuditEvent, after: "Head") -> Self:
        """Return the entry that follows ``after``."""
        entry = cls(sequence=after.sequence + 1, previous=after.digest, event=event)
        return replace(entry, digest=_digest(entry.to_dict()))

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read the file of an entry.

        :raises InvalidInputError: saying what is wrong with it, when it is not exactly what was written.
        """
        try:
            document = json.loads(data)
        except ValueError as error:
            msg = f"it is not JSON: {error}"
            raise InvalidInputError(msg) from error
        if not isinstance(document, dict) or _text(document).encode() != data:  # A key twice, a blank more, …
            msg = "it is not the text that was written"
            raise InvalidInputError(msg)
        if (found := _digest(document)) != document.get("digest"):
            msg = f"its digest is {found}, but it says {document.get('digest')!r:.80}"
            raise InvalidInputError(msg)
        try:
            return cls.from_dict(document)
        except InvalidInputError:
            raise
        except ValueError as error:
            msg = f"it cannot be read: {error}"
            raise InvalidInputError(msg) from error

    def to_text(self) -> str:
        """Return the file of this entry."""
        return _text(self.to_dict())

    @property
    def head(self) -> Head:
        """This entry as the end of its chain."""
        return Head(sequence=self.sequence, digest=self.digest)

    @property
    def happening(self) -> Happening:
        """What happened."""
        return self.event.happening

    @property
    def event_kind(self) -> EventKind:
        """The kind of event."""
        return self.event.happening.event_kind

    @property
    def reference(self) -> EntryReference:
        """How an entry of another chain names this one."""
        return EntryReference(chain=self.happening.chain, sequence=self.sequence, digest=self.digest)


def entry_name(sequence: int) -> str:
    """Return the file name of an entry."""
    return f"{sequence:0{_DIGITS}d}.json"


def entry_sequence(name: str) -> int | None:
    """Return the number of the entry that a file holds, or ``None`` when its name is not that of an entry."""
    found = _NAME.fullmatch(name)
    sequence = int(found[1]) if found else 0
    return sequence if sequence > 0 and entry_name(sequence) == name else None


def _digest(document: Mapping[str, Any]) -> str:
    return digest_of({name: value for name, value in document.items() if name != "digest"})


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
