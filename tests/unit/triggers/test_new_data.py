"""New files and rows are told once each, whenever the triggerer dies."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.new_data import NewData, NewDataWatch
from airflow_mlops.engines.told_data import read_batch
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.triggers.new_data import NewDataProducer, NewDataTrigger

STORED, LOST = AdvanceOutcome(acked=1, failed=0), AdvanceOutcome(acked=0, failed=1)


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


class Triggerer:
    """A process that runs the producer of a watch as Airflow does, and may die at any moment."""

    def __init__(self, trigger: NewDataTrigger) -> None:
        name, kwargs = trigger.serialize()
        assert name.endswith("NewDataTrigger")
        self.producer = NewDataTrigger.create_shared_stream_producer(json.loads(json.dumps(kwargs)))

    def look(self) -> NewData | None:
        found = self.producer._look()
        return None if found is None else NewData.from_dict(json.loads(json.dumps(found.to_dict())))

    def stored(self, batch: NewData, outcome: AdvanceOutcome = STORED) -> None:
        asyncio.run(self.producer.advance([AdvanceItem(batch.batch, outcome)]))

    def told(self, looks: int = 2) -> list[NewData]:
        """Look so often, and have all that is told stored."""
        found = []
        for _ in range(looks):
            if batch := self.look():
                self.stored(batch)
                found.append(batch)
        return found


def files_of(batch: NewData) -> set[str]:
    return {Path(file).name for file in batch.files}


def watcher(inbox: Path, pattern: str = "", **arguments: Any) -> Triggerer:
    return Triggerer(NewDataTrigger(address=f"{inbox}/{pattern}" if pattern else str(inbox), **arguments))


def test_what_is_there_in_the_beginning_is_not_new_and_what_comes_is_told_once(inbox: Path) -> None:
    (inbox / "old.csv").write_text("a")
    triggerer = watcher(inbox)
    assert triggerer.told() == []
    (inbox / "new.csv").write_text("a")
    (inbox / "day=1").mkdir()
    (inbox / "day=1" / "deep.csv").write_text("a")
    [batch] = triggerer.told()
    assert (batch.batch, batch.source, files_of(batch), batch.file_count) == (1, str(inbox), {"new.csv", "deep.csv"}, 2)
    assert set(read_batch(open_storage(batch.list_uri))) == set(batch.files)
    assert triggerer.told(5) == []


def test_what_is_there_in_the_beginning_is_told_if_asked_for(inbox: Path) -> None:
    (inbox / "old.csv").write_text("a")
    [batch] = watcher(inbox, include_existing=True).told()
    assert files_of(batch) == {"old.csv"}


def test_a_file_that_changes_is_told_again_and_one_that_is_gone_and_returns_is_not(inbox: Path) -> None:
    triggerer = watcher(inbox)
    triggerer.told()
    (inbox / "a.csv").write_text("one")
    assert [files_of(batch) for batch in triggerer.told()] == [{"a.csv"}]
    (inbox / "a.csv").rename(inbox.parent / "a.csv")
    assert triggerer.told() == []
    (inbox.parent / "a.csv").rename(inbox / "a.csv")
    assert triggerer.told() == []
    (inbox / "a.csv").write_text("another")
    assert [batch.batch for batch in triggerer.told()] == [2]


def test_a_file_that_is_still_written_is_not_told(inbox: Path) -> None:
    triggerer = watcher(inbox)
    triggerer.told()
    for size in range(3):
        (inbox / "a.csv").write_text("x" * size)
        assert triggerer.look() is None
    assert len(triggerer.told()) == 1


def test_markers_are_no_data_and_a_glob_chooses(inbox: Path) -> None:
    triggerer = watcher(inbox, "*.csv")
    triggerer.told()
    for name in ("_SUCCESS.csv", ".part.csv", "a.txt", "a.csv"):
        (inbox / name).write_text("a")
    assert [files_of(batch) for batch in triggerer.told()] == [{"a.csv"}]


def test_a_folder_that_is_not_there_yet_has_no_files(inbox: Path) -> None:
    triggerer = watcher(inbox / "later")
    assert triggerer.told() == []
    (inbox / "later").mkdir()
    (inbox / "later" / "a.csv").write_text("a")
    assert len(triggerer.told()) == 1


def test_a_triggerer_that_dies_before_the_event_is_stored_leaves_it_to_the_next_with_its_number(inbox: Path) -> None:
    triggerer = watcher(inbox)
    triggerer.told()
    (inbox / "a.csv").write_text("a")
    triggerer.look()
    first = triggerer.look()
    (inbox / "b.csv").write_text("b")  # comes meanwhile
    after = watcher(inbox)
    assert after.look() == first
    assert after.look() == first  # until it is stored
    assert first is not None
    after.stored(first)
    [second] = after.told(3)
    assert (second.batch, files_of(second)) == (2, {"b.csv"})


def test_airflow_gives_a_task_the_events_of_an_asset_and_a_trigger_none() -> None:
    """Once this fails, a trigger can look at them before it tells a batch again, and told twice is nothing any more."""
    from airflow.jobs.triggerer_job_runner import ToTriggerSupervisor
    from airflow.sdk.execution_time.comms import ToSupervisor

    def on_events(messages: object) -> set[str]:
        union = get_args(messages)[0]
        return {message.__name__ for message in get_args(union) if "AssetEvent" in message.__name__}

    assert on_events(ToSupervisor) == {"GetAssetEventByAsset", "GetAssetEventByAssetAlias"}
    assert on_events(ToTriggerSupervisor) == set()


def test_an_event_that_could_not_be_stored_is_told_again(inbox: Path) -> None:
    triggerer = watcher(inbox)
    triggerer.told()
    (inbox / "a.csv").write_text("a")
    triggerer.look()
    batch = triggerer.look()
    assert batch is not None
    triggerer.stored(batch, LOST)
    triggerer.stored(batch, AdvanceOutcome(acked=0, failed=0))  # nobody was there
    assert triggerer.look() == batch


def test_what_comes_while_no_triggerer_runs_is_told_by_the_next(inbox: Path) -> None:
    watcher(inbox).told()
    (inbox / "a.csv").write_text("a")
    [batch] = watcher(inbox).told()
    assert files_of(batch) == {"a.csv"}
    assert watcher(inbox).told() == []


def test_a_triggerer_that_was_taken_for_dead_tells_the_same_batch_and_takes_nothing_back(inbox: Path) -> None:
    first = watcher(inbox)
    first.told()
    second = watcher(inbox)
    second.look()
    (inbox / "a.csv").write_text("a")
    first.look()
    second.look()
    told, again = first.look(), second.look()
    assert told == again
    assert told is not None
    first.stored(told)
    (inbox / "b.csv").write_text("b")
    assert [batch.batch for batch in first.told(3)] == [2]
    second.stored(told)
    assert watcher(inbox).told(3) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["file", "look", "store", "die"]), max_size=30))
def test_in_any_order_of_files_and_deaths_each_file_is_in_one_batch(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    inbox = folder / "inbox"
    inbox.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(folder / "store"))
        triggerer = watcher(inbox)
        triggerer.told()
        told: dict[int, set[str]] = {}
        batch, written = None, 0
        for step in [*steps, "die", *["look", "look", "store"] * 3]:
            if step == "file":
                written += 1
                (inbox / f"{written}.csv").write_text("a")
            elif step == "look" and batch is None:
                batch = triggerer.look()
                if batch:
                    assert told.setdefault(batch.batch, files_of(batch)) == files_of(batch)
            elif step == "store" and batch:
                triggerer.stored(batch)
                batch = None
            elif step == "die":
                triggerer, batch = watcher(inbox), None
        everything = [name for files in told.values() for name in files]
        assert sorted(everything) == sorted(f"{number}.csv" for number in range(1, written + 1))
        assert sorted(told) == list(range(1, len(told) + 1))


async def first(events: AsyncIterator[Any]) -> Any:
    return (await anext(events)).payload


def test_outside_of_a_triggerer_a_batch_is_told_when_the_next_is_asked_for(inbox: Path) -> None:
    async def run() -> tuple[Any, Any]:
        (inbox / "a.csv").write_text("a")
        events = NewDataTrigger(address=str(inbox), poll_interval=0.01, include_existing=True).run()
        told = await first(events)
        waiting = asyncio.ensure_future(first(events))
        (inbox / "b.csv").write_text("b")
        return told, await waiting

    told, then = asyncio.run(run())
    assert (told["batch"], then["batch"]) == (1, 2)


def test_thousands_of_files_do_not_stall_the_event_loop(inbox: Path) -> None:
    for number in range(5_000):
        (inbox / f"{number}.csv").touch()

    async def run() -> tuple[Any, int]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        turning = asyncio.create_task(turn())
        producer = NewDataTrigger.create_shared_stream_producer(
            {"address": str(inbox), "include_existing": True, "poll_interval": 0.01}
        )
        told = (await anext(aiter(producer.open_stream())))[0]
        turning.cancel()
        return told, turns

    told, turns = asyncio.run(run())
    assert (told["file_count"], len(told["files"])) == (5_000, 100)
    assert turns > 10  # the looks took their time, and the loop had its turns
    assert len(json.dumps(told)) < 20_000
    assert len(read_batch(open_storage(told["list_uri"]))) == 5_000


def test_a_storage_that_is_away_is_waited_for(inbox: Path) -> None:
    store = inbox.parent / "store"

    async def run() -> Any:
        producer = NewDataProducer(NewDataWatch(address=str(inbox)), include_existing=True, poll_interval=0.01)
        (inbox / "a.csv").write_text("a")
        store.write_text("a file where the artifact store should be")
        waiting = asyncio.ensure_future(anext(aiter(producer.open_stream())))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        store.unlink()
        told, number = await waiting
        (store / "new-data").rename(inbox.parent / "aside")
        (store / "new-data").write_text("away again")
        noting = asyncio.ensure_future(producer.advance([AdvanceItem(number, STORED)]))
        await asyncio.sleep(0.1)
        assert not noting.done()
        (store / "new-data").unlink()
        (inbox.parent / "aside").rename(store / "new-data")
        await noting
        return told

    assert asyncio.run(run())["file_count"] == 1
    assert watcher(inbox).told(3) == []


@pytest.fixture
def table(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give what adds rows to a table that a connection leads to."""
    file = inbox / "shop.db"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    with sqlite3.connect(file) as connection:
        connection.execute('CREATE TABLE "or ders" ("the id" INTEGER, at TEXT)')

    def add(*ids: int) -> None:
        with sqlite3.connect(file) as connection:
            connection.executemany(
                'INSERT INTO "or ders" VALUES (?, ?)', [(i, f"2026-01-{i:02} 00:00:00") for i in ids]
            )

    return add


@pytest.mark.parametrize("column", ["the id", "at"])
def test_rows_of_a_grown_table_are_told_once(table: Callable[..., None], column: str) -> None:
    table(1, 2)
    trigger = NewDataTrigger(conn_id="shop", table="or ders", column=column)
    triggerer = Triggerer(trigger)
    assert triggerer.told() == []
    table(3)
    assert triggerer.look() is None
    table(4)  # comes before the next look, and is told at the one after that
    [first] = triggerer.told(1)
    [second] = Triggerer(trigger).told(2)
    values = {i: i if column == "the id" else f"2026-01-{i:02} 00:00:00" for i in (2, 3, 4)}
    assert (first.rows, first.after, first.until, first.batch) == (1, values[2], values[3], 1)
    assert (second.rows, second.after, second.until, second.batch) == (1, values[3], values[4], 2)
    assert Triggerer(trigger).told(3) == []


def test_a_table_that_was_empty_is_told_from_its_first_row(table: Callable[..., None]) -> None:
    triggerer = Triggerer(NewDataTrigger(conn_id="shop", table="or ders", column="the id"))
    triggerer.told()
    table(1, 2)
    [batch] = triggerer.told()
    assert (batch.rows, batch.after, batch.until) == (2, None, 2)
    assert batch.source == "the table or ders of the connection 'shop'"


@pytest.mark.parametrize(
    "arguments", [{}, {"address": "/a", "table": "t"}, {"conn_id": "c", "table": "t"}, {"table": "t", "column": "c"}]
)
def test_either_files_or_a_table_are_watched(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="Watch either files, by address, or a table"):
        NewDataTrigger(**arguments)


def test_watchers_of_one_place_share_their_looks() -> None:
    same = [NewDataTrigger(address="/a"), NewDataTrigger(address="/a", poll_interval=5)]
    assert same[0].shared_stream_key() == same[1].shared_stream_key()
    assert same[0].shared_stream_key() != NewDataTrigger(address="/b").shared_stream_key()
