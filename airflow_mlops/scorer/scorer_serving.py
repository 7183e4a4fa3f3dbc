"""How fast a model answers where it runs: the first row after a cold start, one row at a time, and rows in batches.

All of it is time of this program, within the job's limits: reading rows into the frame that the model expects, its
prediction and, for a binary classifier, its probability. A server around the model, and a network, come on top.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from scorer_model import Scorer

UNMEASURED_CALLS = 5  # after the batches have warmed the model: single rows can take another path through a library


class ServingMeter:
    """Times a scorer, where the job asks for it; else does nothing."""

    def __init__(self, asked: Mapping[str, Any] | None) -> None:
        """Take how many `calls` to time at most, and for how many `seconds` at most."""
        self.asked = asked
        self.rows: pa.RecordBatch | None = None
        self.measured: dict[str, Any] = {}
        self.notes: list[str] = []
        self.started = 0.0

    def first(self, scorer: Scorer, rows: pa.RecordBatch) -> None:
        """Predict a single row of the first batch, and take the time since this process was started."""
        if self.asked is None or self.rows is not None:
            return
        self.rows = rows.take(list(range(min(rows.num_rows, self.asked["calls"]))))  # a slice would keep the batch
        if self._predicted(scorer, 0):
            self.measured["cold_start_seconds"] = _seconds_since_start()
        self.started = time.monotonic()

    def last(self, row_count: int) -> None:
        """Take the time of all rows, and the memory that they needed."""
        if self.asked is None or self.rows is None:
            return
        self.measured["rows"] = row_count
        self.measured["rows_per_second"] = row_count / (time.monotonic() - self.started)
        self.measured["peak_memory_bytes"] = _peak_memory_bytes()

    def figures(self, scorer: Scorer) -> dict[str, Any] | None:
        """Time single rows, one after the other, and return all figures."""
        import numpy as np

        if self.asked is None or self.rows is None:
            return None
        limit = time.monotonic() + self.asked["seconds"]
        times: list[float] = []
        for call in range(UNMEASURED_CALLS + self.asked["calls"]):
            began = time.perf_counter()
            if time.monotonic() > limit or not self._predicted(scorer, call % self.rows.num_rows):
                break
            if call >= UNMEASURED_CALLS:
                times.append(1000 * (time.perf_counter() - began))
        self.measured["calls"] = len(times)
        if len(times) < self.asked["calls"] and not self.notes:
            self.notes.append(
                f"In {self.asked['seconds']:g} s {len(times)} rows could be timed one by one, not {self.asked['calls']}"
            )
        if times:
            p50, p95, p99 = np.percentile(times, [50, 95, 99]).tolist()
            self.measured |= {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
        return self.measured | {"notes": list(dict.fromkeys(self.notes))}

    def _predicted(self, scorer: Scorer, row: int) -> bool:
        """Predict one row. That a model cannot is worth a note, and no reason not to score the others."""
        assert self.rows is not None  # noqa: S101 - callers have looked
        try:
            scorer.predict(scorer.frame(self.rows.slice(row, 1)))
        except Exception as error:  # noqa: BLE001 - the model may raise anything
            self.notes.append(f"A single row could not be scored: {type(error).__name__}: {error}")
            return False
        return True


def _seconds_since_start() -> float | None:
    """Return the seconds since the kernel started this process; None where it does not say (it does on Linux)."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return None


def _peak_memory_bytes() -> int | None:
    """Return the most memory that was resident; `ru_maxrss` would count what the parent had before it started this."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
