"""The count of a column of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.domain.packing import pack_integers
from airflow_mlops.domain.profile import (
    EXACT_VALUES,
    TAIL_BINS,
    TAIL_FIRST,
    TAIL_STEPS,
    ColumnProfile,
    Grid,
    Histogram,
    binned,
    finite_moments,
    numbers_of,
)
from airflow_mlops.engines.profiles.floats import finite_of, floats
from airflow_mlops.engines.profiles.tally import Tally

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

BATCH_ROWS: Final = 65_536
"""Rows of a column that are counted at once: few enough to stay in the processor's cache, and many for a call."""


@dataclass(slots=True)
class NumberTally(Tally):
    """Counts numbers: by their value as long as they are few, and else by the bins of the grid."""

    nans: int = 0
    infinities: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    by_value: dict[float, int] | None = None
    work: _Work | None = None

    def __post_init__(self) -> None:
        if self.column.by_value:
            self.by_value = {}

    def add(self, values: pa.Array) -> None:
        """Count the next rows."""
        Tally.add(self, values)
        numbers = floats(values)
        if not len(numbers):
            return
        if self.by_value is not None:
            self._add_values(finite_of(numbers), numbers)
            return
        for start in range(0, len(numbers), BATCH_ROWS):
            self._add_block(numbers[start : start + BATCH_ROWS])

    def _add_values(self, finite: Array, numbers: Array) -> None:
        import numpy as np

        self._count_odd(finite, numbers)
        if not len(finite):
            return
        found, counts = np.unique(finite, return_counts=True)
        known = self.by_value
        if known is None:
            return
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            known[value] = known.get(value, 0) + count
        if len(known) > EXACT_VALUES and self.column.grid is not None:
            self._to_bins(known, self.column.grid)

    def _to_bins(self, known: Mapping[float, int], grid: Grid) -> None:
        """Go on with bins: put what is known into them."""
        import numpy as np

        work = self.work = _Work.of(grid)
        counts = np.array(binned(known, grid), dtype=np.int64)
        work.low[:] = counts[:TAIL_BINS][::-1]
        work.bins[1:-1] = counts[TAIL_BINS : TAIL_BINS + grid.bins]
        work.high[:] = counts[TAIL_BINS + grid.bins :]
        values, weights = np.array(list(known)), np.array(list(known.values()), dtype=float)
        scaled = (values - grid.start) / grid.width + 1
        work.sums[:] = float((scaled * weights).sum()), float((scaled * scaled * weights).sum())
        self.minimum, self.maximum = float(values.min()), float(values.max())
        self.by_value = None

    def _count_odd(self, finite: Array, numbers: Array) -> None:
        import numpy as np

        odd = len(numbers) - len(finite)
        if odd:
            nans = int(np.isnan(numbers).sum())
            self.nans += nans
            self.infinities += odd - nans

    def _add_block(self, numbers: Array) -> None:
        """Count numbers in few passes of NumPy over memory that is used again and again."""
        import numpy as np

        grid = self.column.grid
        if grid is None:
            return
        if self.work is None:
            self.work = _Work.of(grid)
        work = self.work
        scaled, positions = work.scaled[: len(numbers)], work.positions[: len(numbers)]
        # The first bin of equal width is number 1: 0 and the last number are of what lies beyond on either side.
        np.subtract(numbers, grid.start - grid.width, out=scaled)
        np.multiply(scaled, 1 / grid.width, out=scaled)
        total = float(scaled.sum())
        if not math.isfinite(total):
            finite = finite_of(numbers)
            if len(finite) < len(numbers):
                self._count_odd(finite, numbers)
                if len(finite):
                    self._add_block(finite)
                return
        # Not a dot product: BLAS would start threads of its own.
        work.sums[0] += total
        work.sums[1] += float(np.einsum("i,i->", scaled, scaled))
        self.minimum = min(self.minimum, float(numbers.min()))
        self.maximum = max(self.maximum, float(numbers.max()))
        np.clip(scaled, 0.0, grid.bins + 1.0, out=scaled)
        np.copyto(positions, scaled, casting="unsafe")
        below, above = work.bins[0], work.bins[-1]
        np.add.at(work.bins, positions, 1)  # faster than bincount, which looks for the largest position first
        if work.bins[0] > below:
            _add_tail(work.low, (grid.start - numbers[positions == 0]) / grid.width, grid)
        if work.bins[-1] > above:
            _add_tail(work.high, (numbers[positions == grid.bins + 1] - grid.end) / grid.width, grid)

    def absorb(self, other: Tally) -> bool:
        """Add what another thread has counted in the same bins, and say whether it has."""
        if not isinstance(other, NumberTally) or self.work is None or other.work is None:
            return False
        for name in ("rows", "nulls", "nans", "infinities"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.work.absorb(other.work)
        return True

    def profile(self) -> ColumnProfile:
        """Return what was counted."""
        base = replace(Tally.profile(self), nans=self.nans, infinities=self.infinities, grid=self.column.grid)
        if self.by_value is not None:
            return _with_values(base, self.by_value)
        grid, work = self.column.grid, self.work
        if grid is None or work is None or not base.count:
            return _with_values(base, {})
        import numpy as np

        counts = np.concatenate([work.low[::-1], work.bins[1:-1], work.high])
        average = work.sums[0] / base.count
        scaled = max(work.sums[1] - work.sums[0] * average, 0.0)
        mean, squares = finite_moments(grid.start + (average - 1) * grid.width, scaled * grid.width * grid.width)
        return replace(
            base,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=mean,
            squares=squares,
            distribution=Histogram(grid=grid, counts=pack_integers(counts.tolist())),
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """The counts of a column, and memory to count with."""

    bins: Array
    """Those of equal width, and before and behind them one of all that lies beyond."""
    low: Array
    """The growing ones below, the nearest first."""
    high: Array
    sums: list[float]
    """Of the numbers and of their squares, in widths of the grid, from one width before its start."""
    scaled: Array
    positions: Array

    @classmethod
    def of(cls, grid: Grid) -> _Work:
        import numpy as np

        bins, low, high = (np.zeros(size, dtype=np.int64) for size in (grid.bins + 2, TAIL_BINS, TAIL_BINS))
        return cls(bins, low, high, [0.0, 0.0], np.empty(BATCH_ROWS), np.empty(BATCH_ROWS, dtype=np.intp))

    def absorb(self, other: _Work) -> None:
        """Add the counts of another thread."""
        import numpy as np

        for mine, theirs in ((self.bins, other.bins), (self.low, other.low), (self.high, other.high)):
            np.add(mine, theirs, out=mine)
        self.sums[:] = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]


def _add_tail(tail: Array, beyond: Array, grid: Grid) -> None:
    """Count numbers that lie beyond the equal bins, by how many widths."""
    import numpy as np

    steps = np.log2(1 + TAIL_FIRST / grid.bins * np.maximum(beyond, 0)) * TAIL_STEPS
    np.add.at(tail, np.minimum(steps, TAIL_BINS - 1).astype(np.intp), 1)


def _with_values(profile: ColumnProfile, counts: Mapping[float, int]) -> ColumnProfile:
    """Return the profile with the moments and the distribution of numbers that were counted by their value."""
    total = sum(counts.values())
    if not total:
        return replace(profile, distribution=numbers_of({}, profile.grid, profile.rows))
    average = math.fsum(value / total * count for value, count in counts.items())
    try:
        squares = math.fsum((value - average) * (value - average) * count for value, count in counts.items())
    except OverflowError:  # of finite squares with an infinite sum
        squares = math.inf
    mean, squares = finite_moments(average, squares)
    return replace(
        profile,
        minimum=min(counts),
        maximum=max(counts),
        mean=mean,
        squares=squares,
        distribution=numbers_of(counts, profile.grid, profile.rows),
    )
