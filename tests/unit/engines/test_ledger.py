"""Appending to the audit trail: once, after the last entry, and not for ever."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fsspec import filesystem
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.audit.entry import AuditEntry, EventKind, entry_name
from airflow_mlops.domain.audit.events import EntryQuery
from airflow_mlops.domain.audit.history import PROMOTION_TIME
from airflow_mlops.engines import ledger as engine
from airflow_mlops.engines.fsspec import Storage
from airflow_mlops.engines.ledger import Ledger
from airflow_mlops.exceptions import (
    AuditTrailBrokenError,
    AuditTrailBusyError,
    InvalidInputError,
    PromotionRefusedError,
    StorageUnavailableError,
)
from tests.unit.domain.audit.trail import FLIGHTS, MODEL, START, event


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(engine, "_BATCH", 4)
    return Ledger(root=Storage(filesystem=filesystem("file"), path=f"{tmp_path}/a[1]", uri="/audit"))


def fill(ledger: Ledger, count: int) -> list[AuditEntry]:
    return [ledger.append(event(EventKind.GATE, "1", run=f"run{number}", hour=number)) for number in range(count)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EventKind), st.sampled_from(["a", "b"])), max_size=12))
def test_appended_events_are_there_once_in_order_and_whole(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[EventKind, str]]
) -> None:
    root = Storage(filesystem=filesystem("file"), path=str(tmp_path_factory.mktemp("audit")), uri="/audit")
    ledger = Ledger(root=root)
    for kind, run in told:
        ledger.append(event(kind, run=run))
    record = ledger.read(MODEL)
    assert record.is_whole
    # A deployment is of the promoting task, and still another event than the promotion.
    assert [(entry.event_kind, entry.event.origin.run_id) for entry in record.entries] == list(dict.fromkeys(told))


def test_a_chain_that_is_not_there_yet_is_empty_and_whole(ledger: Ledger) -> None:
    record = ledger.read(MODEL)
    assert (record.is_whole, record.entries, str(record.head)) == (True, (), f"0:{MODEL.genesis}")
    assert ledger.chains(MODEL.subject) == ()


def test_a_retry_finds_its_entry_although_others_have_come_since(ledger: Ledger) -> None:
    entries = fill(ledger, 3 * engine._BATCH)
    assert ledger.append(event(EventKind.GATE, "1", run="run1", hour=999)) == entries[1]
    assert ledger.append(entries[2].event, since=entries[2].event.at) == entries[2]
    assert len(ledger.read(MODEL).entries) == len(entries)


def test_a_long_chain_is_read_only_as_far_back_as_the_event_can_be(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, 2 * engine._BATCH)
    read: list[str] = []
    read_many = Storage.read_many

    def counted(self: Storage, names: Sequence[str]) -> dict[str, bytes]:
        read.extend(names)
        return read_many(self, names)

    monkeypatch.setattr(Storage, "read_many", counted)
    ledger.append(event(EventKind.GATE, "1", run="new"), since=START + timedelta(hours=2 * engine._BATCH))
    assert len(read) == engine._BATCH


def test_whoever_is_overtaken_follows_the_one_who_was_faster(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    faster = event(EventKind.APPROVAL, "1")
    overtaken = Storage.create_text

    def overtake(self: Storage, text: str) -> bool:
        monkeypatch.setattr(Storage, "create_text", overtaken)
        ledger.append(faster)
        return overtaken(self, text)

    monkeypatch.setattr(Storage, "create_text", overtake)
    entry = ledger.append(event(EventKind.GATE, "1"))
    assert entry.sequence == 2
    assert ledger.read(MODEL).is_whole


def test_a_lost_answer_of_the_store_does_not_write_twice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Storage.create_text

    def lose(self: Storage, text: str) -> bool:
        monkeypatch.setattr(Storage, "create_text", create)
        create(self, text)
        msg = "the answer was lost"
        raise StorageUnavailableError(msg)

    monkeypatch.setattr(Storage, "create_text", lose)
    entry = ledger.append(event(EventKind.GATE, "1"))
    assert ledger.read(MODEL).entries == (entry,)


def test_a_store_that_never_writes_is_given_up_with_its_own_reason(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Storage, text: str) -> bool:
        msg = "The storage of /audit does not answer as it should: no space left"
        raise StorageUnavailableError(msg)

    monkeypatch.setattr(Storage, "create_text", fail)
    impatient = Ledger(root=ledger.root, patience_seconds=0)
    with pytest.raises(AuditTrailBusyError, match=r"event 'gate' of models/flight-delays .* no space left"):
        impatient.append(event(EventKind.GATE, "1"))


def test_others_that_are_always_faster_are_told_of(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "create_text", lambda *args: False)
    impatient = Ledger(root=ledger.root, patience_seconds=0.01)
    with pytest.raises(AuditTrailBusyError, match="another writer was faster each time"):
        impatient.append(event(EventKind.GATE, "1"))


def test_a_guard_sees_what_came_before_and_keeps_the_event_out(ledger: Ledger) -> None:
    entries = fill(ledger, engine._BATCH + 1)

    def refuse(before: Sequence[AuditEntry]) -> None:
        assert list(before) == entries
        msg = "somebody else promotes"
        raise PromotionRefusedError(msg)

    with pytest.raises(PromotionRefusedError):
        ledger.append(event(EventKind.PROMOTION, "1"), guard=refuse)
    assert len(ledger.read(MODEL).entries) == len(entries)


def test_a_guard_of_a_long_chain_sees_every_promotion_that_may_still_be_under_way(ledger: Ledger) -> None:
    fill(ledger, 3 * engine._BATCH)
    begun = ledger.append(event(EventKind.PROMOTION, "2", run="rival", hour=98.9))
    seen: list[AuditEntry] = []
    own = event(EventKind.PROMOTION, "1", hour=99)
    ledger.append(own, guard=seen.extend, since=own.at)
    assert seen[-1] == begun
    assert engine._CLOCKS > PROMOTION_TIME


def test_nothing_follows_a_last_entry_that_was_altered(ledger: Ledger) -> None:
    fill(ledger, 2)
    file = ledger.root / MODEL.path / entry_name(2)
    text = Path(file.path).read_text()
    file.write_text(text.replace("ada", "eve"))
    with pytest.raises(AuditTrailBrokenError, match=r"00000002\.json was altered.* Restore it from a backup"):
        fill(ledger, 3)
    file.write_text(text)
    assert fill(ledger, 3)[-1].sequence == 3


def test_an_altered_entry_further_back_stops_nobody_but_is_found(ledger: Ledger) -> None:
    fill(ledger, 3)
    (ledger.root / MODEL.path / entry_name(1)).write_text("{}")
    assert ledger.append(event(EventKind.APPROVAL, "1")).sequence == 4
    assert [finding.sequence for finding in ledger.read(MODEL).findings] == [1]


def test_the_newest_entry_with_the_digests_is_found(ledger: Ledger) -> None:
    for run in ("one", "two"):
        ledger.append(event(EventKind.SNAPSHOT, chain=FLIGHTS, run=run, digests={"dataset": "d", "other": run}))
    ledger.append(event(EventKind.VALIDATION, chain=FLIGHTS, digests={"dataset": "d"}))
    query = EntryQuery(chain=FLIGHTS, event_kind=EventKind.SNAPSHOT, digests=(("dataset", "d"),))
    found = ledger.find(query)
    assert found is not None
    assert found.sequence == 2
    assert ledger.find(EntryQuery(chain=MODEL, event_kind=EventKind.SNAPSHOT, digests=())) is None


def test_a_disk_without_hard_links_is_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(InvalidInputError, match="cannot be made by a hard link"):
        fill(ledger, 1)
    assert ledger.read(MODEL).is_whole
    assert not os.listdir((ledger.root / MODEL.path).path)  # noqa: PTH208 - the folder's names
