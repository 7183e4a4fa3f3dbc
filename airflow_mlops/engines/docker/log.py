"""A container's log as Docker streams it, read so that a broken connection neither loses nor repeats a line."""

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from airflow_mlops.domain.collection import LogLines
from airflow_mlops.domain.progress import LogPosition
from airflow_mlops.exceptions import DockerUnavailableError

_RECONNECT_SECONDS = 1.0
_MILLISECONDS = len("2026-01-31T12:00:00.000")
_SECONDS = len("2026-01-31T12:00:00")
_BATCH = 64  # lines, about 5 ms of a triggerer


class LogStream(Protocol):
    """Frames of a log, one an entry, until the end or until somebody closes it."""

    def __iter__(self) -> Iterator[bytes]:
        """Give the frames."""

    def close(self) -> None:
        """Close the connection."""


class TimedLog:
    """Passes on the entries of a log, each of which begins with its time.

    Docker can start a log at a whole second, and gives its entries in the same order each time. So this counts the
    entries since the last whole second, and leaves out as many when it reads from there again. Entries of the same
    time, or out of order, as two streams of one job can be, are then no problem.
    """

    def __init__(self, lines: LogLines, position: LogPosition | None = None) -> None:
        position = position or LogPosition()
        self.lines = lines
        self.since = position.since
        """Where to start reading again, in seconds since 1970."""
        self._seen = position.seen
        self._known = 0
        self._is_whole = position.is_whole

    @property
    def position(self) -> LogPosition:
        """Where another process goes on."""
        return self.lines.position(since=self.since, seen=self._seen, is_whole=self._is_whole)

    def read(self, frames: Iterable[bytes]) -> None:
        """Pass on what ``frames``, which start at :attr:`since`, hold anew."""
        self.begin()
        for frame in frames:
            self.take(frame)
            if self.lines.is_full:
                return

    def begin(self) -> None:
        """Expect the entries from :attr:`since` on again."""
        self._known = self._seen

    def take(self, frame: bytes) -> None:
        """Take the next entry."""
        if self._known:
            self._known -= 1
            return
        stamp, _, text = frame.partition(b" ")
        printed = stamp.decode("ascii", errors="replace")
        second = int(datetime.fromisoformat(f"{printed[:_SECONDS]}+00:00").timestamp())
        if second > self.since:
            self.since, self._seen = second, 0
        self._seen += second == self.since
        self.lines.feed(text, time=f"{printed[:_MILLISECONDS]}Z")

    def take_all(self, frames: Iterable[bytes]) -> None:
        """Take the next entries."""
        for frame in frames:
            self.take(frame)

    def end(self) -> None:
        """Take note that there is no more."""
        self.lines.feed(b"", is_last=True)
        self._is_whole = not self.lines.is_full


class LogReader:
    """Reads the log of a container in a thread of its own, and connects again for as long as it runs.

    :param connect: opens the log from this time on; to follow it, or up to now.
    """

    def __init__(self, log: TimedLog, connect: Callable[[int, bool], LogStream]) -> None:
        self._log = log
        self._connect = connect
        self._has_ended = threading.Event()
        self._stream: LogStream | None = None
        self._thread = threading.Thread(target=self._read, name="job-log", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Tell that the container has ended, and wait for the rest of its log at most so long."""
        self._has_ended.set()
        self._thread.join(seconds)
        self.close()

    def close(self) -> None:
        """Read no more."""
        self._has_ended.set()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(Exception):  # It may be closed, or half open.
                self._stream.close()

    def _read(self) -> None:
        """Read until the container has ended, and then once more: a log that broke off at that moment has a rest."""
        lines = self._log.lines
        is_last = False
        while not (is_last or lines.is_full or self._log.position.is_whole):
            is_last = self._has_ended.is_set()
            try:
                self._stream = self._connect(self._log.since, not is_last)
                self._log.read(self._stream)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
                if is_last:
                    lines.feed(f"\n(the log breaks off: {error})\n".encode())
            self._disconnect()
            self._has_ended.wait(_RECONNECT_SECONDS)
        self._log.end()


class Pace:
    """Keeps work that never waits from filling an event loop: it takes a quarter of the time at most."""

    _REST = 3

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def run(self, work: Callable[[], object]) -> None:
        """Do one piece of work, which should take milliseconds, when it is its turn."""
        async with self._one:
            begun = time.monotonic()
            work()
            await asyncio.sleep(self._REST * (time.monotonic() - begun))


async def follow_log(
    log: TimedLog,
    *,
    connect: Callable[[int, bool], AsyncGenerator[list[bytes]]],
    has_ended: asyncio.Event,
    pace: Pace,
) -> None:
    """Do what :class:`LogReader` does, in an event loop.

    :param connect: opens the log from this time on, to follow it, or up to now, and gives entries as they come.
    :param pace: shares the event loop with other logs.
    """
    is_last = False
    while not is_last:
        is_last = has_ended.is_set()
        try:
            log.begin()
            async with contextlib.aclosing(connect(log.since, not is_last)) as entries:
                async for some in entries:
                    for start in range(0, len(some), _BATCH):
                        await pace.run(functools.partial(log.take_all, some[start : start + _BATCH]))
                        if log.lines.is_full:
                            return
        except DockerUnavailableError:
            if is_last:  # Whoever collects the job reads the rest.
                return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(has_ended.wait(), _RECONNECT_SECONDS)
    log.end()
