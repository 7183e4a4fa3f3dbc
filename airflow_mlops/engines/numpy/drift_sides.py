"""The two sides of a column as arrays: shares of categories, or the cumulative counts of numbers at common points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.packing import unpack_floats, unpack_integers
from airflow_mlops.domain.profile import (
    TAIL_BINS,
    TAIL_FIRST,
    TAIL_STEPS,
    Categories,
    ColumnProfile,
    Folded,
    Grid,
    Histogram,
    Values,
)
from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How often each category occurs on either side."""

    names: tuple[str | float, ...]
    reference: Array
    current: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The numbers of one side: how many lie in each piece of the line, the pieces in order.

    A piece is a single point, or an open interval of which it is not known where in it the numbers lie.
    """

    left: Array
    right: Array
    """Equal to ``left`` where the piece is a point."""
    counts: Array
    standard_deviation: float
    """NaN of numbers that are too large for one."""
    whole: bool

    @property
    def total(self) -> int:
        """The number of numbers."""
        return int(self.counts.sum())

    @property
    def is_exact(self) -> bool:
        """Whether every number is known."""
        return bool((self.left == self.right).all())

    def below(self, points: Array) -> Array:
        """Return how many numbers are at or below each point, those of an interval evenly spread over it."""
        import numpy as np

        cumulative = np.concatenate([[0], np.cumsum(self.counts)])
        last = np.searchsorted(self.left, points, side="right") - 1
        at = np.maximum(last, 0)
        width = self.right[at] - self.left[at]
        part = np.where(width > 0, (points - self.left[at]) / np.where(width > 0, width, 1), 1.0)
        found: Array = np.where(last < 0, 0.0, cumulative[at] + self.counts[at] * np.clip(part, 0, 1))
        return found

    def bounds(self, points: Array) -> tuple[Array, Array]:
        """Return how many numbers are at or below each point at least, and at most."""
        import numpy as np

        known, unknown = self.below(points), self.between(points)
        cumulative = np.concatenate([[0], np.cumsum(self.counts)])
        least = np.where(unknown > 0, cumulative[np.maximum(np.searchsorted(self.left, points) - 1, 0)], known)
        return least, np.where(unknown > 0, least + unknown, known)

    def between(self, points: Array) -> Array:
        """Return how many numbers lie in the interval around each point, so that their side is not known."""
        import numpy as np

        last = np.searchsorted(self.left, points, side="left") - 1
        at = np.maximum(last, 0)
        inside = (last >= 0) & (points < self.right[at])
        found: Array = np.where(inside, self.counts[at], 0)
        return found

    def share_outside(self, low: float, high: float) -> float:
        """Return the share of numbers below ``low`` or above ``high``."""
        import numpy as np

        below, up_to = self.below(np.array([np.nextafter(low, -np.inf), high]))
        return float(below + self.total - up_to) / max(self.total, 1)


def numbers(before: ColumnProfile, now: ColumnProfile) -> tuple[Numbers, Numbers]:
    """Return both sides of a column of numbers.

    :raises InvalidInputError: when they were counted on different grids.
    """
    grids = {side.distribution.grid for side in (before, now) if isinstance(side.distribution, Histogram)}
    if len(grids) > 1:
        msg = f"{before.name} was counted on different grids. Profile the current data with the reference's grids."
        raise InvalidInputError(msg)
    return _numbers(before), _numbers(now)


def _numbers(profile: ColumnProfile) -> Numbers:
    import numpy as np

    found = profile.distribution
    if isinstance(found, Values):
        left = right = np.frombuffer(unpack_floats(found.values), dtype=float)
        counts = np.frombuffer(unpack_integers(found.counts), dtype=np.int64)
    elif isinstance(found, Histogram):
        counts = np.frombuffer(unpack_integers(found.counts), dtype=np.int64)
        edges = grid_edges(found.grid)
        left, right = _pieces(found.grid, edges, profile)
        kept = counts > 0
        left, right, counts = left[kept], right[kept], counts[kept]
    else:
        msg = f"{profile.name} holds no numbers."
        raise InvalidInputError(msg)
    return Numbers(
        left=left,
        right=right,
        counts=counts,
        standard_deviation=math.nan if profile.standard_deviation is None else profile.standard_deviation,
        whole=profile.whole,
    )


def grid_edges(grid: Grid) -> Array:
    """Return the edges of all bins, in order, one more than bins; the outermost are infinite."""
    import numpy as np

    span = grid.width * grid.bins
    tails = span * (np.exp2(np.arange(1, TAIL_BINS) / TAIL_STEPS) - 1) / TAIL_FIRST
    middle = grid.start + grid.width * np.arange(grid.bins + 1)
    return np.concatenate([[-np.inf], (grid.start - tails)[::-1], middle, grid.end + tails, [np.inf]])


def _pieces(grid: Grid, edges: Array, profile: ColumnProfile) -> tuple[Array, Array]:
    """Return where the bins begin and end, no further than the least and the greatest number."""
    import numpy as np

    low = profile.minimum if profile.minimum is not None else edges[1]
    high = profile.maximum if profile.maximum is not None else edges[-2]
    left, right = np.clip(edges[:-1], low, high), np.clip(edges[1:], low, high)
    if grid.whole:
        first = (len(edges) - 1 - grid.bins) // 2
        points = np.rint(edges[first : first + grid.bins] + grid.width / 2)
        left[first : first + grid.bins] = right[first : first + grid.bins] = points
    return left, right


def are_categories(profile: ColumnProfile) -> bool:
    """Whether the count of every single value is known."""
    found = profile.distribution
    if isinstance(found, Histogram):
        counts = found.bins()
        return found.grid.whole and not any(counts[:TAIL_BINS]) and not any(counts[TAIL_BINS + found.grid.bins :])
    return isinstance(found, Values | Categories)


def shares(before: ColumnProfile, now: ColumnProfile) -> Shares:
    """Return both sides of a column of categories, or of numbers taken as such; folded where one of them is.

    :raises InvalidInputError: when there are numbers of which not every value is known.
    """
    import numpy as np

    if isinstance(before.distribution, Folded) or isinstance(now.distribution, Folded):
        folds = [np.array(unpack_integers(_folded(side).counts)) for side in (before, now)]
        kept = (folds[0] > 0) | (folds[1] > 0)
        return Shares(names=tuple(np.flatnonzero(kept)), reference=folds[0][kept], current=folds[1][kept])
    sides = [_counts(side) for side in (before, now)]
    names = tuple(sorted(sides[0].keys() | sides[1].keys()))
    reference, current = (np.array([side.get(name, 0) for name in names], dtype=np.int64) for side in sides)
    return Shares(names=names, reference=reference, current=current)


def _folded(profile: ColumnProfile) -> Folded:
    found = profile.distribution
    if isinstance(found, Folded):
        return found
    if isinstance(found, Categories):
        return Folded.of(found.counts)
    msg = f"{profile.name} has no categories."
    raise InvalidInputError(msg)


def _counts(profile: ColumnProfile) -> dict[Any, int]:
    found = profile.distribution
    if isinstance(found, Categories):
        return dict(found.counts)
    side = _numbers(profile)
    if not side.is_exact:
        msg = f"{profile.name} has too many different numbers to be compared value by value."
        raise InvalidInputError(msg)
    return dict(zip(side.left.tolist(), side.counts.tolist(), strict=True))
