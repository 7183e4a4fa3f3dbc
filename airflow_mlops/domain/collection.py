"""What a job gives while it runs and when it ends, held within bounds: lines of its log, and files."""

import codecs
import collections
import re
import threading
from collections.abc import Callable, Sequence

from airflow_mlops.domain.job import JobLimits
from airflow_mlops.domain.progress import LogPosition
from airflow_mlops.exceptions import JobOutOfDiskError

LOG_LINE_CHARACTERS = 4096
LOG_TAIL_LINES = 20
LOG_CHARACTERS = 16 * 2**20
"""How much of one job's log goes to the task's log. A job that prints more must not fill the worker or its storage."""
MAXIMUM_FILES = 10_000


class LogLines:
    """Turns chunks of bytes into lines of text as they come, and remembers the last ones.

    Bytes that are not UTF-8 become ``�``. A carriage return ends a line too, or a progress bar would be one endless
    line; for the same reason long lines are cut into pieces. After so many characters, no more is passed on, but for
    the last lines when the end has come.

    :param position: where another process has stopped.
    """

    def __init__(self, log: Callable[[str], None], position: LogPosition | None = None) -> None:
        position = position or LogPosition()
        self._log = log
        self._left = LOG_CHARACTERS if position.left is None else position.left
        self._time = position.pending_time
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._tail: collections.deque[str] = collections.deque(maxlen=LOG_TAIL_LINES)
        self.feed(position.pending.encode("latin-1"))

    def position(self, *, since: int, seen: int, is_whole: bool) -> LogPosition:
        """Return where another process goes on, which has these places of Docker's log from the reader."""
        undecoded, _ = self._decoder.getstate()
        pending = self._rest.encode() + undecoded
        return LogPosition(
            since=since,
            seen=seen,
            left=self._left,
            pending=pending.decode("latin-1"),
            pending_time=self._time if pending else "",
            is_whole=is_whole,
        )

    @property
    def tail(self) -> list[str]:
        """The last lines."""
        return list(self._tail)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is passed on."""
        return self._left <= 0

    def feed(self, chunk: bytes, *, time: str = "", is_last: bool = False) -> None:
        """Take the next bytes, and the time at which they were printed, which then begins each line."""
        self._time = time or self._time
        *lines, self._rest = re.split(r"[\r\n]", self._rest + self._decoder.decode(chunk, is_last))
        while len(self._rest) > LOG_LINE_CHARACTERS or (is_last and self._rest):
            lines.append(self._rest[:LOG_LINE_CHARACTERS])
            self._rest = self._rest[LOG_LINE_CHARACTERS:]
        for line in lines:
            for start in range(0, len(line), LOG_LINE_CHARACTERS):
                self._emit(line[start : start + LOG_LINE_CHARACTERS])

    def _emit(self, line: str) -> None:
        if not line.strip():
            return
        self._tail.append(line)
        if self._left <= 0:
            return
        self._log(f"{self._time} {line}" if self._time else line)
        self._left -= len(line)
        if self._left <= 0:
            self._log("(the log is too long: what follows is not shown, but for its last lines)")

    def show_end(self, tail: Sequence[str]) -> None:
        """Pass on the last lines, if the log was too long to pass on all of it."""
        if self.is_full:
            self._log("(the last lines of the log)")
            for line in tail:
                self._log(line)


class OutputBudget:
    """Counts what is collected from a job, by any number of threads, so that a job cannot fill the worker's disk."""

    def __init__(self, limits: JobLimits) -> None:
        self._limits = limits
        self._bytes = 0
        self._files = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count one file.

        :raises JobOutOfDiskError: when this one is too much.
        """
        with self._lock:
            self._bytes += size
            self._files += 1
            is_too_much = self._bytes > self._limits.scratch_bytes or self._files > MAXIMUM_FILES
        if is_too_much:
            msg = f"model/ and output/ hold more than {self._limits.scratch_mb} MiB or {MAXIMUM_FILES} files."
            raise JobOutOfDiskError(msg)
