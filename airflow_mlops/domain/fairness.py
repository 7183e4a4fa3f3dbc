"""Whether a model treats groups of people alike: rates within each group, and how far the groups lie apart.

The measures are Fairlearn's, between groups and in the worst case (https://fairlearn.org, *Common fairness metrics*).
They differ in one point: a rate that a group does not have, such as the true positive rate of a group without
positives, is left out here and 0 there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import EvaluationError

SIGNED: Final = frozenset({"mean_error"})
"""Rates on both sides of zero, of which no ratio says anything."""
RATES: Final = {
    "selection_rate": "share of rows that are called positive",
    "true_positive_rate": "share of positive rows that are called positive",
    "false_positive_rate": "share of negative rows that are called positive",
    "false_negative_rate": "share of positive rows that are called negative",
    "accuracy": "share of rows that are called right",
    "mae": "mean absolute error",
    "mean_error": "mean of prediction minus truth",
}
"""What is measured of each group, where the task has it."""
COMPOSED: Final = {
    "demographic_parity": ("selection_rate",),
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
    "equal_opportunity": ("true_positive_rate",),
}
"""Names of the field for the distance in one rate, or for the greatest of several."""
DISPARITIES: Final = {
    f"{name}_{kind}": (rates, kind)
    for name, rates in {**COMPOSED, **{rate: (rate,) for rate in RATES}}.items()
    for kind in ("difference", "ratio")
    if not (kind == "ratio" and SIGNED.intersection(rates))
}
"""How far groups lie apart: the greatest difference between two groups, or the smallest ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessSpec(Document):
    """The columns by whose values people must not be treated differently."""

    columns: tuple[str, ...]
    min_rows: int = 100
    """A rate of fewer rows (of fewer positive rows for the true positive rate) is listed and not judged."""
    max_groups: int = 50
    """A column of more values is not measured: they are no groups of people. Numbers are put in bins."""
    bins: int = 4
    """Into how many bins of equal size numbers are put; numbers of at most ten values keep them."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.columns:
            msg = "Fairness needs a sensitive column. Name one in columns, or leave the part out."
            raise EvaluationError(msg)
        for name, low in (("min_rows", 1), ("max_groups", 2), ("bins", 2)):
            if getattr(self, name) < low:
                msg = f"Fairness has {name} {getattr(self, name)}. Give {low} or more."
                raise EvaluationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRate(Document):
    """One rate of one group."""

    value: float | None
    """``None`` where there are no rows to take it of."""
    rows: int
    """Of how many rows it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessGroup(Document):
    """The rows that share a value of the sensitive column."""

    value: str
    rows: int
    candidate: Mapping[str, GroupRate]
    champion: Mapping[str, GroupRate] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disparity(Document):
    """How far two groups lie apart, and which two."""

    value: float
    rate: str
    lowest: str
    low: float
    highest: str
    high: float

    def __str__(self) -> str:
        """Return the two groups that lie furthest apart."""
        return f"{self.rate} is {self.low:.4f} of {self.lowest} and {self.high:.4f} of {self.highest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisparityComparison(Document):
    """A measure of the candidate and of the champion; ``None`` where fewer than two groups have the rows for it."""

    metric: str
    candidate: Disparity | None
    champion: Disparity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessColumn(Document):
    """All groups of one sensitive column."""

    column: str
    groups: tuple[FairnessGroup, ...]
    disparities: tuple[DisparityComparison, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, column: str, groups: tuple[FairnessGroup, ...], min_rows: int, notes: tuple[str, ...] = ()
    ) -> "FairnessColumn":
        """Return the column with every measure that its groups have the rates for."""
        rates = groups[0].candidate if groups else {}
        bare = cls(column=column, groups=groups, notes=notes)
        return cls(
            column=column,
            groups=groups,
            notes=notes,
            disparities=tuple(
                DisparityComparison(
                    metric=metric,
                    candidate=bare.disparity(metric, min_rows),
                    champion=bare.disparity(metric, min_rows, of_champion=True),
                )
                for metric, (needed, _) in DISPARITIES.items()
                if set(needed) <= set(rates)
            ),
        )

    def rate(self, rate: str, min_rows: int, *, of_champion: bool = False) -> dict[str, float]:
        """Return a rate of each group that has the rows for it."""
        found: dict[str, float] = {}
        for group in self.groups:
            rates = group.champion if of_champion else group.candidate
            item = (rates or {}).get(rate)
            if item is not None and item.value is not None and item.rows >= min_rows:
                found[group.value] = item.value
        return found

    def disparity(self, metric: str, min_rows: int, *, of_champion: bool = False) -> Disparity | None:
        """Return one of :data:`DISPARITIES`; ``None`` where fewer than two groups have the rows for a rate of it.

        A ratio of two groups at 0 is not defined, and ``None``, too.
        """
        rates, kind = DISPARITIES[metric]
        found: list[Disparity] = []
        for rate in rates:
            values = self.rate(rate, min_rows, of_champion=of_champion)
            if len(values) < 2:  # noqa: PLR2004 - nothing to compare
                return None
            lowest, highest = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
            low, high = values[lowest], values[highest]
            if kind == "ratio" and high == 0:
                return None
            value = high - low if kind == "difference" else low / high
            found.append(Disparity(value=value, rate=rate, lowest=lowest, low=low, highest=highest, high=high))
        return (max if kind == "difference" else min)(found, key=lambda item: item.value)

    def small(self, min_rows: int) -> tuple[str, ...]:
        """Return the groups of too few rows to be judged."""
        return tuple(group.value for group in self.groups if group.rows < min_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness(Document):
    """What was measured by each sensitive column."""

    min_rows: int
    columns: tuple[FairnessColumn, ...]

    def find(self, column: str) -> FairnessColumn | None:
        """Return what was measured by one column, or ``None``."""
        return next((item for item in self.columns if item.column == column), None)
