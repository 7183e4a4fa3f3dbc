"""Statistics of numbers: distances of their cumulative distributions, and tests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    import numpy as np

    from airflow_mlops.engines.numpy.drift_sides import Numbers

    Array = np.ndarray[Any, Any]

_SCIPY_EXACT: Final = 10_000
"""Up to so many rows SciPy computes the exact p-value of Kolmogorov-Smirnov, above it the asymptotic one."""
_LEAST_DEVIATION: Final = 0.001
"""Evidently divides by no less."""


def ks(before: Numbers, now: Numbers) -> tuple[float, float]:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test, and how wrong it can be."""
    import numpy as np
    from scipy import stats

    exact = before.is_exact and now.is_exact
    if exact and max(before.total, now.total) <= _SCIPY_EXACT:
        return float(stats.ks_2samp(*(np.repeat(side.left, side.counts) for side in (before, now))).pvalue), 0.0
    distance, error = ks_distance(before, now)
    effective = round(before.total * now.total / (before.total + now.total))
    value, least, most = (
        float(stats.kstwo.sf(min(max(at, 0.0), 1.0), effective))
        for at in (distance, distance + error, distance - error)
    )
    return value, max(value - least, most - value) if error else 0.0


def ks_distance(before: Numbers, now: Numbers) -> tuple[float, float]:
    """Return the largest difference of the cumulative distributions, and how wrong it can be."""
    import numpy as np

    points = _points(before, now)
    difference = np.abs(_cumulative(before, points) - _cumulative(now, points))
    # Just below a point that holds numbers, the difference may be larger than at it.
    just_below = np.nextafter(points, -np.inf)
    left = np.abs(_cumulative(before, just_below) - _cumulative(now, just_below))
    largest = float(max(difference.max(), left.max()))
    return largest, _ks_error(before, now, points, largest)


def _ks_error(before: Numbers, now: Numbers, points: Array, largest: float) -> float:
    """Return how far the largest difference may be from that of the numbers themselves, which lie in intervals.

    At a point inside an interval it is only known between which counts the cumulative one lies. From one point to the
    next, one side may be ahead by all that it has there before any of the other comes.
    """
    import numpy as np

    if before.is_exact and now.is_exact:
        return 0.0
    ends = np.nextafter(points[1:], -np.inf)
    (first_least, first_most), (last_least, last_most) = (_bounds(side, points) for side in (before, now))
    first_end, last_end = (_bounds(side, ends)[1] for side in (before, now))
    most = max(
        float(np.max(first_end - last_least[:-1], initial=0.0)), float(np.max(last_end - first_least[:-1], initial=0.0))
    )
    least = max(float(np.max(first_least - last_most)), float(np.max(last_least - first_most)), 0.0)
    return max(most - largest, largest - least, 0.0)


def wasserstein(before: Numbers, now: Numbers) -> tuple[float, float]:
    """Return the Wasserstein distance over the reference's standard deviation, and how wrong it can be.

    The distance is the area between the cumulative distributions. At the edges of the intervals these are known; in
    between, the difference of two straight lines is integrated, and the error is that of the worst case in each.
    """
    import numpy as np

    if math.isnan(before.standard_deviation):
        msg = "its numbers are too large for a standard deviation, which wasserstein divides by. Take ks."
        raise InvalidInputError(msg)
    norm = max(before.standard_deviation, _LEAST_DEVIATION)
    points = _points(before, now)
    if len(points) == 1:
        return 0.0, 0.0
    start, end = points[:-1], np.nextafter(points[1:], -np.inf)
    width = np.diff(points)
    first, last = ((_cumulative(side, start), _cumulative(side, end)) for side in (before, now))
    left, right = first[0] - last[0], first[1] - last[1]
    area = width * _mean_absolute(left, right)
    (low_first, _), (low_last, _) = (_bounds(side, start) for side in (before, now))
    (_, high_first), (_, high_last) = (_bounds(side, end) for side in (before, now))
    most = width * np.maximum(high_first - low_last, high_last - low_first)
    least = width * np.maximum(np.maximum(low_first - high_last, low_last - high_first), 0.0)
    error = np.maximum(np.maximum(most - area, area - least), 0.0)
    error[(high_first == low_first) & (high_last == low_last)] = 0.0  # nothing lies in between
    return float(area.sum() / norm), float(error.sum() / norm)


def _points(before: Numbers, now: Numbers) -> Array:
    import numpy as np

    points: Array = np.unique(np.concatenate([before.left, before.right, now.left, now.right]))
    return points


def _bounds(side: Numbers, points: Array) -> tuple[Array, Array]:
    least, most = side.bounds(points)
    return least / side.total, most / side.total


def _cumulative(side: Numbers, points: Array) -> Array:
    return side.below(points) / side.total


def _mean_absolute(left: Array, right: Array) -> Array:
    """Return the mean of the absolute value of a straight line between two values."""
    import numpy as np

    total = np.abs(left) + np.abs(right)
    crossing = (left * right < 0) & (total > 0)
    return np.where(crossing, (left**2 + right**2) / np.where(total > 0, 2 * total, 1), total / 2)
