"""One test in each of many cells of rows at once, from four sums that ``bincount`` takes over the rows.

The hypothesis of each test is that the candidate is no worse there, so the tests are one-sided.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mlops.engines.numpy.metrics import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTests:
    """Arrays with a place for each cell. NaN where a cell has too few rows for a number."""

    rows: Array
    loss: Array
    baseline: Array
    difference: Array
    low: Array
    high: Array
    p_value: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTests:
    """The candidate's losses against the champion's on the same rows."""

    ours: Array
    theirs: Array
    exact: bool
    """Of 0/1 losses: McNemar's test by the binomial distribution, in place of Student's paired t."""
    confidence_level: float

    def run(self, codes: Array, cells: int) -> CellTests:
        """Test each cell; ``codes`` says which one a row is in."""
        import numpy as np
        from scipy.special import bdtrc, stdtr, stdtrit

        change = self.ours - self.theirs
        rows, loss, total, squares = _sums(codes, cells, self.ours, change)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / rows
            error = np.sqrt(np.maximum(squares - rows * mean**2, 0) / (rows - 1) / rows)
            freedom = np.where(rows > 1, rows - 1, np.nan)
            p_value = _certain(stdtr(freedom, -mean / error), mean, error, rows)
            if self.exact:
                worse, better = np.rint((squares + total) / 2), np.rint((squares - total) / 2)
                p_value = np.where(worse > 0, bdtrc(worse - 1, (worse + better).astype(int), 0.5), 1.0)
            reach = stdtrit(freedom, (1 + self.confidence_level) / 2) * error
            return CellTests(
                rows=rows,
                loss=loss / rows,
                baseline=(loss - total) / rows,
                difference=mean,
                low=mean - reach,
                high=mean + reach,
                p_value=p_value,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestTests:
    """The candidate's losses in a cell against its losses in all other rows: Welch's t."""

    ours: Array
    confidence_level: float

    def run(self, codes: Array, cells: int) -> CellTests:
        """Test each cell; ``codes`` says which one a row is in."""
        import numpy as np
        from scipy.special import stdtr, stdtrit

        rows, loss, _, squares = _sums(codes, cells, self.ours, self.ours)
        others = len(self.ours) - rows
        with np.errstate(divide="ignore", invalid="ignore"):
            inside, outside = loss / rows, (self.ours.sum() - loss) / others
            spread_inside = np.maximum(squares - rows * inside**2, 0) / (rows - 1) / rows
            rest = np.square(self.ours).sum() - squares
            spread_outside = np.maximum(rest - others * outside**2, 0) / (others - 1) / others
            difference, error = inside - outside, np.sqrt(spread_inside + spread_outside)
            freedom = (spread_inside + spread_outside) ** 2 / (
                spread_inside**2 / (rows - 1) + spread_outside**2 / (others - 1)
            )
            freedom = np.where(error > 0, freedom, 1)
            reach = stdtrit(freedom, (1 + self.confidence_level) / 2) * error
            return CellTests(
                rows=rows,
                loss=inside,
                baseline=outside,
                difference=difference,
                low=difference - reach,
                high=difference + reach,
                p_value=_certain(stdtr(freedom, -difference / error), difference, error, rows),
            )


def _sums(codes: Array, cells: int, loss: Array, change: Array) -> tuple[Array, Array, Array, Array]:
    import numpy as np

    return (
        np.bincount(codes, minlength=cells),
        np.bincount(codes, weights=loss, minlength=cells),
        np.bincount(codes, weights=change, minlength=cells),
        np.bincount(codes, weights=change * change, minlength=cells),
    )


def _certain(p_value: Array, difference: Array, error: Array, rows: Array) -> Array:
    """Where every row differs by the same, t has no value: the sign test speaks."""
    import numpy as np

    flat: Array = np.where(error > 0, p_value, np.where(difference > 0, 0.5**rows, 1.0))
    return np.where(rows > 1, flat, np.nan)
