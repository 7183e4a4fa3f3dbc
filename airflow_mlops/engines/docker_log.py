"""A container's log as Docker streams it, read so that a broken connection neither loses nor repeats a line."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from airflow_mlops.domain.collection import LogLines

_RECONNECT_SECONDS = 1.0
_MILLISECONDS = len("2026-01-31T12:00:00.000")
_SECONDS = len("2026-01-31T12:00:00")


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

    def __init__(self, lines: LogLines) -> None:
        self.lines = lines
        self.since = 0
        """Where to start reading again, in seconds since 1970."""
        self._seen = 0

    def read(self, frames: Iterable[bytes]) -> None:
        """Pass on what ``frames``, which start at :attr:`since`, hold anew."""
        known = self._seen
        for frame in frames:
            if known:
                known -= 1
                continue
            stamp, _, text = frame.partition(b" ")
            time = stamp.decode("ascii", errors="replace")
            second = int(datetime.fromisoformat(f"{time[:_SECONDS]}+00:00").timestamp())
            if second > self.since:
                self.since, self._seen = second, 0
            self._seen += second == self.since
            self.lines.feed(text, time=f"{time[:_MILLISECONDS]}Z")
            if self.lines.is_full:
                return


class LogReader:
    """Reads the log of a container in a thread of its own, and connects again for as long as it runs.

    :param connect: opens the log from this time on; to follow it, or up to now.
    """

    def __init__(self, lines: LogLines, connect: Callable[[int, bool], LogStream]) -> None:
        self._log = TimedLog(lines)
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
        while not (is_last or lines.is_full):
            is_last = self._has_ended.is_set()
            try:
                self._stream = self._connect(self._log.since, not is_last)
                self._log.read(self._stream)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
                if is_last:
                    lines.feed(f"\n(the log breaks off: {error})\n".encode())
            self._disconnect()
            self._has_ended.wait(_RECONNECT_SECONDS)
        lines.feed(b"", is_last=True)
