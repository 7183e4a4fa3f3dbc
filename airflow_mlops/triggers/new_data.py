"""Emit an asset event for data that has come: files under a prefix, or rows of a table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_mlops.domain.dataset import is_hidden
from airflow_mlops.domain.new_data import SHOWN_FILES, NewData, NewDataWatch, settled_news
from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.exceptions import MlopsError
from airflow_mlops.hooks.sql import sql_engine
from airflow_mlops.hooks.storage import artifact_store, open_storage

if TYPE_CHECKING:
    from airflow_mlops.engines.told_data import ToldData

_log = logging.getLogger(__name__)
_UNTIL = "until"
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="new-data")
"""Few, and its own: a storage that is slow must not take those that other triggers wait for."""
_Result = TypeVar("_Result")


async def _in_thread(work: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


class NewDataTrigger(BaseEventTrigger):
    """Emit one asset event whenever new data has come, with what is new; for an ``AssetWatcher``.

    Watch either files or a table. A file is new when its name is, or its content has changed; it is told when two looks
    one after the other find it alike, so that none is told half written. Names that begin with ``.`` or ``_`` are none.
    Of a table, rows are told by a column that grows, at the look after the one that has found them, so that
    transactions under way have time to end. The event's payload is a :class:`~airflow_mlops.domain.new_data.NewData`.

    What was told is written to ``[mlops] artifacts_root``, and only when Airflow has stored the event: nothing is
    missed when a triggerer dies. When it dies in the second between the two, the same batch is told again, with its
    number. Watchers of the same place share the looks, which run in threads; give them the same arguments.

    :param address: a folder or a glob, such as ``s3://lake@flights/*.parquet``.
    :param conn_id: of the table: a connection to its database.
    :param table: the table, such as ``shop.orders``.
    :param column: a number or a time that grows with each row, such as an id.
    :param include_existing: whether what is there when the first trigger of this place looks first is new, too.
    :param poll_interval: seconds between two looks.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        conn_id: str | None = None,
        table: str | None = None,
        column: str | None = None,
        include_existing: bool = False,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.watch = NewDataWatch(address=address, conn_id=conn_id, table=table, column=column)
        self.include_existing = include_existing
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as the triggerer stores them."""
        return f"{__name__}.{type(self).__name__}", {
            "address": self.watch.address,
            "conn_id": self.watch.conn_id,
            "table": self.watch.table,
            "column": self.watch.column,
            "include_existing": self.include_existing,
            "poll_interval": self.poll_interval,
        }

    def shared_stream_key(self) -> Hashable:
        """Return what is common to triggers that share their looks."""
        return (__name__, self.watch.key)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> NewDataProducer:
        """Return what looks, and notes what was told when Airflow has stored it."""
        trigger = cls(**kwargs)
        return NewDataProducer(
            trigger.watch, include_existing=trigger.include_existing, poll_interval=trigger.poll_interval
        )

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Tell every batch."""
        async for batch in shared_stream:
            yield TriggerEvent(batch)  # type: ignore[no-untyped-call]  # Airflow's

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Tell every batch, outside of a triggerer: whoever asks for the next one has taken this one."""
        producer = self.create_shared_stream_producer(self.serialize()[1])
        async for batch, number in producer.open_stream():
            yield TriggerEvent(batch)  # type: ignore[no-untyped-call]  # Airflow's
            await producer.confirm(number)


class NewDataProducer(SharedStreamProducer):
    """Looks for new data, tells one batch at a time, and notes it when it is stored."""

    def __init__(self, watch: NewDataWatch, *, include_existing: bool, poll_interval: float) -> None:
        self.watch = watch
        self.include_existing = include_existing
        self.poll_interval = poll_interval
        self._told: ToldData | None = None
        self._seen: Mapping[str, Any] = {}
        self._resolved = asyncio.Event()

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield each batch and its number. The next one comes when this one is told, or once more when it was not."""
        while True:
            try:
                found = await _in_thread(self._look)
            except (MlopsError, OSError) as error:
                _log.warning("New data of %s cannot be looked for: %s Waiting on.", self.watch, error)
                found = None
            if found is not None:
                self._resolved.clear()
                yield found.to_dict(), found.batch
                await self._resolved.wait()
            await asyncio.sleep(self.poll_interval)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Note what every watcher has told. What was not told comes again at the next look."""
        for item in batch:
            if item.outcome.is_clean:
                await self.confirm(item.broker_payload)
            else:
                self._resolved.set()

    async def confirm(self, number: int) -> None:
        """Note a batch, however long the storage is away: what is told must not be told again."""
        told = self._told
        while told is not None:
            try:
                await _in_thread(lambda: told.confirm(number))
            except (MlopsError, OSError) as error:
                _log.warning("It cannot be noted that new data of %s was told: %s Trying on.", self.watch, error)
                await asyncio.sleep(self.poll_interval)
            else:
                break
        self._resolved.set()

    def _look(self) -> NewData | None:
        """Look once, and return the next batch: the one that was perhaps not told, if there is one."""
        if self._told is None:
            self._told = self._loaded()
        told = self._told
        if told.pending is None:
            found = self._find()
            seen, self._seen = self._seen, found
            if told.told < 0:
                told.write({} if self.include_existing else found)
                told.confirm(0)
            elif news := self._news(seen, found):
                told.write(news)
        return self._event(told.pending, told.told + 1) if told.pending is not None else None

    def _loaded(self) -> ToldData:
        from airflow_mlops.engines.told_data import ToldData

        told = ToldData(folder=artifact_store() / f"new-data/{self.watch.key}")
        told.load()
        return told

    def _find(self) -> dict[str, Any]:
        """Return the version of each file, or how far the table goes."""
        if self.watch.address:
            from airflow_mlops.engines.snapshots import split_pattern

            folder, pattern = split_pattern(self.watch.address)
            place = open_storage(folder)
            base = place.uri.rstrip("/")
            found = place.versions(pattern)
            return {f"{base}/{path}": version for path, version in found.items() if not is_hidden(path)}
        from airflow_mlops.engines.sqlalchemy_growth import highest

        source, column = self._table()
        with sql_engine(source.conn_id) as engine:
            return {_UNTIL: highest(engine, source, column)}

    def _news(self, seen: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        known = self._told.known if self._told else {}
        if self.watch.address:
            news = settled_news(known, seen, found)
            return {path: news[path] for path in sorted(news)}
        until, after = seen.get(_UNTIL), known.get(_UNTIL)
        if until is None or until == after:
            return {}
        from airflow_mlops.engines.sqlalchemy_growth import count_rows

        source, column = self._table()
        with sql_engine(source.conn_id) as engine:
            rows = count_rows(engine, source, column, after, until)
        return {"rows": rows, "after": after, _UNTIL: until} if rows else {}

    def _table(self) -> tuple[SqlSource, str]:
        watch = self.watch
        return SqlSource.of(watch.conn_id or "", table=watch.table), watch.column or ""

    def _event(self, batch: Mapping[str, Any], number: int) -> NewData:
        uri = self._told.uri(number) if self._told else ""
        if not self.watch.address:
            return NewData(source=str(self.watch), batch=number, list_uri=uri, **batch)
        files = tuple(batch)
        return NewData(
            source=str(self.watch),
            batch=number,
            files=files[:SHOWN_FILES],
            file_count=len(files),
            list_uri=uri,
        )
