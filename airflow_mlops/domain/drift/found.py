"""Whether the data that a model meets is still the data that it learned from, column by column."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from airflow_mlops.domain.drift.method import DriftMethod
from airflow_mlops.domain.serialization import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift(Document):
    """How far the values of one column have moved."""

    column: str
    method: str
    """A :class:`~airflow_mlops.domain.drift.method.DriftMethod`; ``""`` where nothing could be compared."""
    value: float | None
    """A p-value, or a distance of which larger is further; ``None`` where nothing could be compared."""
    threshold: float
    drifted: bool
    """Whether the value is beyond its threshold, and where the spec asks for it, also after the correction for many
    columns and with the least effect."""
    note: str = ""
    """Why nothing could be compared, or what the value lacks, in a sentence."""
    error: float | None = None
    """How far the value may be from that of all rows, since a profile counts numbers in bins: 0 where it is exact,
    ``None`` where it is not known."""
    adjusted: float | None = None
    """The p-value after the correction for many columns, if one was asked for."""
    effect: float | None = None
    """How much has moved, whatever the number of rows, from 0 to 1. Of numbers the largest difference of the cumulative
    distributions (the statistic of Kolmogorov-Smirnov), of categories half the sum of the differences of their shares
    (total variation). Either is a difference in the share of rows: of those up to some number, or of those in some
    categories."""
    missing_reference: float = 0.0
    """Share of the reference rows without a value (null or NaN)."""
    missing_current: float = 0.0
    p_value: float | None = None
    """Of texts and embeddings: the chance of such a value where both sides come from one source."""
    outside: float | None = None
    """Share of the current rows with a number below or above all of the reference; ``None`` of categories."""
    new_categories: tuple[str, ...] = ()
    """Categories that the reference does not have, the most frequent first, 10 at most."""
    new_share: float | None = None
    """Share of the current rows with such a category; ``None`` of numbers."""
    type_reference: str = ""
    """Type in the data, such as ``double``."""
    type_current: str = ""

    @property
    def times_threshold(self) -> float:
        """How many times the threshold a distance is, or how many times below it a p-value; 0 where none was found."""
        if self.value is None:
            return 0.0
        if self.method in set(DriftMethod) and DriftMethod(self.method).is_p_value:
            value = self.value if self.adjusted is None else self.adjusted
            return self.threshold / value if value else math.inf
        return self.value / self.threshold


def furthest_first(columns: Iterable[ColumnDrift]) -> tuple[ColumnDrift, ...]:
    """Return columns sorted by how far each is beyond its threshold, which compares columns of different methods."""
    return tuple(
        sorted(columns, key=lambda item: (not item.drifted, -item.times_threshold, -(item.effect or 0), item.column))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedData(Document):
    """One of the two sides."""

    dataset_name: str
    dataset_digest: str
    rows: int
    """Rows that were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDrift(Document):
    """The comparison of current data with the reference, whichever engine made it."""

    reference: ComparedData
    current: ComparedData
    columns: tuple[ColumnDrift, ...]
    engine: str
    """What computed it, with its version."""
    notes: tuple[str, ...] = ()
    """What else is to be known, such as which columns could not be compared, and why."""
    prediction: tuple[ColumnDrift, ...] = ()
    """Columns of what the model said."""
    label: tuple[ColumnDrift, ...] = ()
    """Columns of the truth."""
    lost: tuple[str, ...] = ()
    """Sentences about columns that should be there and are not, or that have become of another kind."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Why features that should be compared were not, in sentences."""
        return (*self.lost, *(item.note for item in self.columns if item.value is None))

    @property
    def all_columns(self) -> tuple[ColumnDrift, ...]:
        """Predictions and labels, then features."""
        return (*self.prediction, *self.label, *self.columns)

    @property
    def compared(self) -> int:
        """How many features could be compared."""
        return sum(item.value is not None for item in self.columns)

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The features that have drifted, the furthest first."""
        return tuple(item for item in furthest_first(self.columns) if item.drifted)

    @property
    def all_drifted(self) -> tuple[ColumnDrift, ...]:
        """Predictions and labels that have drifted, then features, the furthest first."""
        return (*(item for item in (*self.prediction, *self.label) if item.drifted), *self.drifted)

    @property
    def share(self) -> float:
        """Share of the compared features that have drifted; 0 where none could be compared."""
        return len(self.drifted) / self.compared if self.compared else 0.0


Sample = Mapping[str, Sequence[float | str | None]]
"""Some rows of a data set, as the values of each column; all columns have as many."""
