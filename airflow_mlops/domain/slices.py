"""Where a model is worse: its mean loss in every slice of the holdout, beside the champion's on the same rows.

A slice is the rows that share a value of one column, or of several. The comparison within each is a paired test, and
all tests of one search are corrected together, since the worst of a thousand slices looks bad by chance alone.
Finding slices by such a search: Chung et al., *Slice Finder* (ICDE 2019).
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import EvaluationError

MISSING = "(missing)"
"""The group of the rows that have no value."""
OTHER = "(other)"
"""The group of all values of a column that are too rare to have their own."""


class Loss(enum.StrEnum):
    """What one row costs. The mean over all rows is a metric of the same or a near name."""

    BRIER_SCORE = "brier_score"
    """Squared distance of the probability from 0 or 1. Bounded, so a few rows cannot carry a slice."""
    LOG_LOSS = "log_loss"
    ZERO_ONE_LOSS = "zero_one_loss"
    """1 for a wrong label, so the mean is 1 minus accuracy."""
    SQUARED_ERROR = "squared_error"
    ABSOLUTE_ERROR = "absolute_error"


class Against(enum.StrEnum):
    """What a slice of the candidate is compared with."""

    CHAMPION = "champion"
    """The champion on the same rows."""
    REST = "rest"
    """The candidate on all other rows: there is no champion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSpec(Document):
    """Which slices to look at.

    By default the columns are searched that the models read by their signatures (all columns where they have none):
    texts, booleans and numbers, but not the target, times, and columns with a value of its own for nearly every row.
    """

    columns: tuple[str, ...] = ()
    """Columns of which the report shows every slice. They are searched too."""
    intersections: tuple[tuple[str, ...], ...] = ()
    """Columns of which the report shows every combination, such as ``(("carrier", "origin"),)``."""
    search: tuple[str, ...] | None = None
    """The columns to search for the worst slices; ``None`` is all that fit, ``()`` only those named above."""
    exclude: tuple[str, ...] = ()
    """Columns not to search: those that come to be with the outcome, or that no reader could act on."""
    loss: Loss | None = None
    """``None`` is the Brier score where both models give probabilities, 0/1 loss for labels, squared error."""
    min_rows: int = 100
    """Slices of fewer rows are shown where their column is named, and never judged."""
    max_depth: int = 2
    """1 searches single columns, 2 all pairs of them too."""
    bins: int = 4
    """Into how many bins of equal size numbers are put; numbers of at most ten values keep them."""
    max_values: int = 50
    """How many values of a column keep a slice of their own, the most frequent; the rest are one, ``(other)``."""
    worst: int = 10
    """How many of the worst slices the report lists."""

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        wrong = [
            f"{name} is {value}, but must be {low} to {high}"
            for name, value, low, high in (
                ("min_rows", self.min_rows, 2, 10**12),
                ("max_depth", self.max_depth, 1, 2),
                ("bins", self.bins, 2, 100),
                ("max_values", self.max_values, 2, 1000),
                ("worst", self.worst, 1, 100),
            )
            if not low <= value <= high
        ]
        if short := [item for item in self.intersections if len(set(item)) != len(item) or len(item) < 2]:  # noqa: PLR2004 - what meets
            wrong.append(f"the intersection {short[0]} must be of two or more different columns")
        if wrong:
            msg = f"The slices cannot be searched: {'; '.join(wrong)}."
            raise EvaluationError(msg)

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that must be there."""
        names = [*self.columns, *(column for item in self.intersections for column in item), *(self.search or ())]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceCondition(Document):
    """One column and the value or the range that it has in a slice."""

    column: str
    value: str

    def __str__(self) -> str:
        """Return ``carrier = EV``, or ``hour 5 to 9`` for a range."""
        return f"{self.column} = {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Document):
    """The two models on the rows of one slice."""

    conditions: tuple[SliceCondition, ...]
    rows: int
    loss: float
    """Mean over the rows, of the candidate."""
    baseline: float | None
    """The same of the champion, or of the candidate on all other rows."""
    difference: float | None = None
    """Candidate minus baseline: positive is worse."""
    low: float | None = None
    """Lower end of the difference's interval, which is not corrected for the number of slices."""
    high: float | None = None
    p_value: float | None = None
    """Of the hypothesis that the candidate is no worse here; ``None`` for a slice that is not judged."""
    adjusted_p: float | None = None
    """The same after Benjamini and Hochberg's correction over all slices of the search."""
    metric: float | None = None
    champion_metric: float | None = None
    no_metric: str = ""
    """Why the metric cannot be computed here."""

    @property
    def name(self) -> str:
        """How the slice reads."""
        return " and ".join(map(str, self.conditions))

    def is_worse(self, significance: float) -> bool:
        """Whether the candidate is worse here, chance being an unlikely reason among all slices searched."""
        return self.adjusted_p is not None and self.adjusted_p <= significance and (self.difference or 0) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTable(Document):
    """Every slice of the columns that the author named together."""

    columns: tuple[str, ...]
    slices: tuple[Slice, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices(Document):
    """What a search found."""

    loss: Loss
    against: Against
    test: str
    metric: str
    """The metric that is shown beside the loss."""
    higher_is_better: bool
    min_rows: int
    significance: float
    """The share of slices called worse that may be so by chance (false discovery rate)."""
    columns: tuple[str, ...]
    """What was searched."""
    judged: int
    """How many slices had the rows to be judged."""
    worse: int
    """How many of them are significantly worse than the baseline."""
    worst: tuple[Slice, ...]
    """Those that are surely worse first, by how much they are at least; then the others."""
    extremes: tuple[Slice, ...] = ()
    """Of the judged slices those to which none of as many rows is equal in loss, or in difference among the
    significantly worse: what a gate needs to speak of all slices."""
    tables: tuple[SliceTable, ...] = ()
    notes: tuple[str, ...] = ()

    def surely_worse(self, min_rows: int = 0) -> Slice | None:
        """Return the slice of at least so many rows with the greatest significant difference, if there is one."""
        found = [
            item for item in (*self.worst, *self.extremes) if item.rows >= min_rows and item.is_worse(self.significance)
        ]
        return max(found, key=lambda item: (item.difference or 0, item.rows), default=None)

    def beyond(self, margin: float, min_rows: int = 0) -> Slice | None:
        """Return the surest of the slices that are significantly worse by more than a margin, if there is one."""
        found = (
            item
            for item in (*self.worst, *self.extremes)
            if item.rows >= min_rows and item.is_worse(self.significance) and (item.difference or 0) > margin
        )
        return next(found, None)

    def costliest(self, min_rows: int = 0) -> Slice | None:
        """Return the judged slice of at least so many rows with the greatest loss of the candidate."""
        found = [
            item for item in (*self.worst, *self.extremes) if item.rows >= min_rows and item.adjusted_p is not None
        ]
        return max(found, key=lambda item: (item.loss, item.rows), default=None)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the adjusted p-values, in the order given: calling all up to q significant keeps the false ones below q.

    Benjamini and Hochberg, *Controlling the False Discovery Rate* (1995); it also holds for tests that depend on each
    other positively, as those of slices that overlap do (Benjamini and Yekutieli 2001).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    least = 1.0
    for place in range(len(order), 0, -1):
        index = order[place - 1]
        least = min(least, p_values[index] * (len(p_values) / place))  # a factor of 1 must round nothing
        adjusted[index] = least
    return tuple(adjusted)
