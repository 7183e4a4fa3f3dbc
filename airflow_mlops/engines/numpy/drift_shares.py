"""Statistics of shares: of categories, of few different numbers, or of numbers in Evidently's bins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.domain.drift import DriftMethod
from airflow_mlops.domain.profile import ColumnProfile
from airflow_mlops.engines.numpy.drift_sides import Numbers, Shares, are_categories, numbers, shares

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BINNED: Final = frozenset(
    {DriftMethod.JENSEN_SHANNON, DriftMethod.PSI, DriftMethod.KL_DIVERGENCE, DriftMethod.HELLINGER}
)
"""Methods that compare numbers in bins, where they have many values."""
_MANY_VALUES: Final = 20
"""Above so many different values of the reference, Evidently compares numbers in bins."""


def total_variation(of: Shares) -> float:
    """Return half the sum of the differences of the shares."""
    import numpy as np

    p, q = _shares(of)
    return float(np.abs(p - q).sum() / 2)


def chi_square(of: Shares) -> float:
    """Return the p-value of Pearson's chi-square test of the current counts against the reference's shares."""
    import numpy as np
    from scipy import stats

    expected = of.reference * (of.current.sum() / of.reference.sum())
    if len(of.names) == 1:
        return 1.0
    with np.errstate(divide="ignore"):
        statistic = float(((of.current - expected) ** 2 / expected).sum())
    return float(stats.chi2.sf(statistic, len(of.names) - 1))


def homogeneity(of: Shares) -> float:
    """Return the p-value of Pearson's chi-square test that both sides are samples of the same shares."""
    import numpy as np
    from scipy import stats

    if len(of.names) == 1:
        return 1.0
    counts = np.array([of.reference, of.current], dtype=float)
    return float(stats.chi2_contingency(counts, correction=False).pvalue)


def z(of: Shares) -> float:
    """Return the p-value of the two-sided test that the share of the first value is the same."""
    if len(of.names) == 1:
        return 1.0
    before, now = (int(side.sum()) for side in (of.reference, of.current))
    first, second = 1 - of.reference[0] / before, 1 - of.current[0] / now
    pooled = (first * before + second * now) / (before + now)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / before + 1 / now))
    return math.erfc(abs(first - second) / spread / math.sqrt(2)) if spread else 1.0


def jensen_shannon(of: Shares) -> float:
    """Return the Jensen-Shannon distance, with natural logarithms."""
    import numpy as np

    p, q = _shares(of)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def psi(of: Shares) -> float:
    """Return the population stability index."""
    import numpy as np

    p, q = (_filled(side) for side in _shares(of))
    return float(((p - q) * np.log(p / q)).sum())


def kl_divergence(of: Shares) -> float:
    """Return the Kullback-Leibler divergence of the reference from the current shares."""
    p, q = (_filled(side) for side in _shares(of))
    return _relative_entropy(p / p.sum(), q / q.sum())


def hellinger(of: Shares) -> float:
    """Return the Hellinger distance."""
    import numpy as np

    p, q = _shares(of)
    return math.sqrt(1 - min(float(np.sqrt(p * q).sum()), 1.0))


def of_numbers(
    method: DriftMethod, statistic: Callable[[Shares], float], before: ColumnProfile, now: ColumnProfile
) -> tuple[float, float]:
    """Return a statistic of numbers in Evidently's bins, and how wrong it can be to the first order.

    Evidently compares up to 20 different values by value, and more in equal bins over both sides, as many as Sturges'
    rule says.
    """
    few = (before.distinct() or 0) <= _MANY_VALUES and method is not DriftMethod.HELLINGER
    if few and are_categories(before) and are_categories(now):
        return statistic(shares(before, now)), 0.0
    sides = numbers(before, now)
    edges = _sturges(*sides, method)
    counted = [_in_bins(side, edges) for side in sides]
    found = Shares(names=(), reference=counted[0], current=counted[1])
    return statistic(found), _error(statistic, found, sides, edges)


def _sturges(before: Numbers, now: Numbers, method: DriftMethod) -> Array:
    import numpy as np

    low, high = min(before.left[0], now.left[0]), max(before.right[-1], now.right[-1])
    size = before.total + now.total
    if method is DriftMethod.HELLINGER:
        size = _distinct(before, now)
    if not high > low:
        return np.linspace(low - 0.5, high + 0.5, 2)
    width = (high - low) / (math.log2(size) + 1)
    if before.whole and now.whole and width < 1:
        width = 1.0
    edges: Array = np.linspace(low, high, math.ceil((high - low) / width) + 1)
    return edges


def _distinct(before: Numbers, now: Numbers) -> int:
    """Return how many different numbers there are; of those in a bin, all are taken to differ."""
    import numpy as np

    points = [side.left[side.left == side.right] for side in (before, now)]
    binned = sum(int(side.counts[side.left < side.right].sum()) for side in (before, now))
    return len(np.union1d(*points)) + binned


def _in_bins(side: Numbers, edges: Array) -> Array:
    """Return how many numbers lie in each bin, which has its left edge, and the last one both."""
    import numpy as np

    # At or below the greatest float before an edge is the same as below the edge.
    inner = np.nextafter(edges[1:-1], -np.inf)
    cumulative = np.concatenate([[0.0], side.below(inner), [float(side.total)]])
    found: Array = np.diff(cumulative)
    return found


def _error(statistic: Callable[[Shares], float], found: Shares, sides: tuple[Numbers, Numbers], edges: Array) -> float:
    """Return by how much the statistic moves when the numbers around each edge were all on one side of it."""
    import numpy as np

    value, error = statistic(found), 0.0
    for side, name in zip(sides, ("reference", "current"), strict=True):
        counts = getattr(found, name)
        inside = side.between(edges[1:-1])
        below = side.below(np.nextafter(edges[1:-1], -np.inf))
        floor = side.below(_left_of(side, edges[1:-1]))
        for edge in np.flatnonzero(inside):
            worst = 0.0
            for change in (floor[edge] - below[edge], floor[edge] + inside[edge] - below[edge]):
                moved = counts.copy()
                moved[edge] += change
                moved[edge + 1] -= change
                other = statistic(replace(found, **{name: np.maximum(moved, 0)}))
                worst = max(worst, abs(other - value))
            error += worst
    return error


def _left_of(side: Numbers, points: Array) -> Array:
    import numpy as np

    at = np.maximum(np.searchsorted(side.left, points, side="left") - 1, 0)
    return side.left[at]


def _shares(of: Shares) -> tuple[Array, Array]:
    return of.reference / of.reference.sum(), of.current / of.current.sum()


def _relative_entropy(p: Array, q: Array) -> float:
    import numpy as np

    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def _filled(share: Array) -> Array:
    """Return shares in which none is zero, as Evidently fills them: by 0.0001, or less where there are such shares."""
    import numpy as np

    least = float(share[share > 0].min())
    return np.where(share == 0, least / 10**6 if least <= 0.0001 else 0.0001, share)  # noqa: PLR2004 - see above
