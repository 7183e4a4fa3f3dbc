"""The distribution of a column in a few bars, of the reference and of the window side by side, for a report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_mlops.domain.profile import TAIL_BINS, Categories, ColumnProfile, Distribution, Histogram, Values

_BARS: Final = 24
_CATEGORIES: Final = 12
_TAIL: Final = 0.002
"""Share of the rows on either side that is drawn into the outermost bars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Shares of the rows with a value, bar by bar."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    is_number: bool


def shape_of(reference: ColumnProfile | None, current: ColumnProfile | None) -> Shape | None:
    """Return the bars of a column, or ``None`` where a side has no values that can be drawn."""
    sides = [profile.distribution if profile else None for profile in (reference, current)]
    if all(isinstance(side, Values | Histogram) for side in sides):
        points = [_points(side) for side in sides]
        return _numbers(points[0], points[1]) if all(points) else None
    if all(isinstance(side, Categories) for side in sides):
        counts = [side.counts if isinstance(side, Categories) else {} for side in sides]
        return _categories(counts[0], counts[1]) if all(counts) else None
    return None


def _points(distribution: Distribution | None) -> list[tuple[float, int]]:
    """Return numbers in order with their counts; of a bin its middle."""
    if isinstance(distribution, Values):
        return list(distribution.items().items())
    if not isinstance(distribution, Histogram):
        return []
    grid, counts = distribution.grid, distribution.bins()
    edges = [0.0, *grid.tail_edges()]
    middles = [(low + high) / 2 for low, high in zip(edges, [*edges[1:], edges[-1]], strict=True)][:TAIL_BINS]
    below = [grid.start - middle for middle in reversed(middles)]
    inside = [grid.start + (index + 0.5) * grid.width for index in range(grid.bins)]
    above = [grid.end + middle for middle in middles]
    return [(value, count) for value, count in zip([*below, *inside, *above], counts, strict=True) if count]


def _numbers(reference: Sequence[tuple[float, int]], current: Sequence[tuple[float, int]]) -> Shape:
    values = sorted({value for side in (reference, current) for value, _ in side})
    if len(values) <= _BARS // 2:
        counts = [dict(side) for side in (reference, current)]
        bars = [[side.get(value, 0) for value in values] for side in counts]
        labels = [f"{value:g}" for value in values]
    else:
        low = min(_quantile(side, _TAIL) for side in (reference, current))
        high = max(_quantile(side, 1 - _TAIL) for side in (reference, current))
        width = (high - low) / _BARS or 1.0
        bars = [_binned(side, low, width) for side in (reference, current)]
        labels = [f"{low + index * width:.4g} to {low + (index + 1) * width:.4g}" for index in range(_BARS)]
    return Shape(labels=tuple(labels), reference=_shares(bars[0]), current=_shares(bars[1]), is_number=True)


def _quantile(points: Sequence[tuple[float, int]], share: float) -> float:
    wanted, seen = share * sum(count for _, count in points), 0
    for value, count in points:
        seen += count
        if seen >= wanted:
            return value
    return points[-1][0]


def _binned(points: Sequence[tuple[float, int]], low: float, width: float) -> list[int]:
    bars = [0] * _BARS
    for value, count in points:
        place = (value - low) / width
        bars[min(max(math.floor(place), 0), _BARS - 1) if math.isfinite(place) else 0] += count
    return bars


def _categories(reference: Mapping[str, int], current: Mapping[str, int]) -> Shape:
    totals = [sum(side.values()) for side in (reference, current)]
    names = {*reference, *current}
    weight = {name: reference.get(name, 0) / totals[0] + current.get(name, 0) / totals[1] for name in names}
    shown = sorted(names, key=lambda name: (-weight[name], name))[:_CATEGORIES]
    bars = [[side.get(name, 0) for name in shown] for side in (reference, current)]
    labels = list(shown)
    if len(names) > len(shown):
        labels.append(f"{len(names) - len(shown):,} others")
        bars = [[*bar, total - sum(bar)] for bar, total in zip(bars, totals, strict=True)]
    return Shape(labels=tuple(labels), reference=_shares(bars[0]), current=_shares(bars[1]), is_number=False)


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(count / total for count in counts)
