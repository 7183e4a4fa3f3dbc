"""Whether as many rows came as were to be expected."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from airflow_mlops.domain.dataset import TimeWindow
from airflow_mlops.domain.monitoring import CheckKind, Window, WindowCheck
from airflow_mlops.domain.serialization import Document

RECENT: Final = 8
"""Windows before this one that are looked at."""
ENOUGH: Final = 3
"""Windows from which on their median is taken for what to expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Document):
    """Rows of a window against what was expected of it."""

    rows: int
    expected: float
    basis: str
    """What the expectation rests on."""

    @property
    def ratio(self) -> float:
        """Rows over expected rows."""
        return self.rows / self.expected

    def __str__(self) -> str:
        """Return both numbers and the basis in words."""
        return f"{self.rows:,} instead of about {self.expected:,.0f} ({self.ratio:.2f} times), by {self.basis}"


def volume_of(
    window: Window,
    rows: int,
    *,
    recent: Sequence[WindowCheck] = (),
    reference_rows: int = 0,
    reference_window: TimeWindow | None = None,
) -> Volume | None:
    """Return how many rows were to be expected in a window, or ``None`` where nothing says so.

    Rows are counted per unit of time, so that windows of different length compare: as the median of up to
    :data:`RECENT` windows that ended before this one, which follows growth and does not mind one outage. Before there
    are :data:`ENOUGH`, the rate of the reference is taken, if its snapshot has a time column.

    :param recent: earlier drift checks of the same model, in any order.
    """
    length = window.end - window.start
    before = [
        check
        for check in recent
        if check.kind is CheckKind.DATA_DRIFT and check.window.end <= window.start and check.rows
    ]
    before = sorted(before, key=lambda check: check.window.end)[-RECENT:]
    if len(before) >= ENOUGH:
        rate = statistics.median(check.rows / _seconds(check.window.end - check.window.start) for check in before)
        return Volume(
            rows=rows, expected=rate * _seconds(length), basis=f"the median of the {len(before)} windows before"
        )
    span = _span(reference_window)
    if not span or not reference_rows:
        return None
    rate = reference_rows / _seconds(span)
    return Volume(rows=rows, expected=rate * _seconds(length), basis="the rows per time of the reference")


def _span(window: TimeWindow | None) -> timedelta | None:
    """Return the time that the reference is of: as it was asked for, or from the first row to the last."""
    if window is None:
        return None
    start, end = window.start or window.first, window.end or window.last
    return end - start if start and end and start.tzinfo == end.tzinfo and end > start else None


def _seconds(time: timedelta) -> float:
    return time.total_seconds()
