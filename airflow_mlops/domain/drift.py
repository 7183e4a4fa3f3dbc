"""Whether the data that a model meets is still the data that it learned from, column by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_mlops.domain.dataset import ColumnKind, Snapshot
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSpec(Document):
    """How the training data is compared with recent production data."""

    snapshot: Snapshot | None = None
    """Recent production data; ``None`` is the holdout."""
    columns: tuple[str, ...] = ()
    """Which to compare; none named are those of the candidate's signature, or else all that both snapshots have."""
    threshold: float = 0.1
    """A column has drifted from this distance on. 0.1 is Evidently's default for both of its distances."""
    sample_rows: int = 10_000
    """Rows that are drawn of each snapshot, the same ones in every run."""

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            msg = f"DriftSpec.threshold is {self.threshold}, but must be above zero: equal data would have drifted."
            raise InvalidInputError(msg)
        if self.sample_rows < 1:
            msg = f"DriftSpec.sample_rows is {self.sample_rows}, but must be at least 1."
            raise InvalidInputError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift(Document):
    """How far the values of one column have moved."""

    column: str
    method: str
    """Such as ``wasserstein`` (over the reference's standard deviation) or ``jensenshannon``; larger is further."""
    value: float
    threshold: float
    drifted: bool
    """Whether the value reaches the threshold, or the share of missing values has changed by as much."""
    missing_reference: float = 0.0
    """Share of the reference rows without a value."""
    missing_current: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedData(Document):
    """One of the two sides."""

    dataset_name: str
    dataset_digest: str
    sampled: int
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
    """Which columns could not be compared, and why."""

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that have drifted, the furthest first."""
        return tuple(
            sorted((item for item in self.columns if item.drifted), key=lambda item: (-item.value, item.column))
        )

    @property
    def share(self) -> float:
        """Share of the compared columns that have drifted; 0 where none could be compared."""
        return len(self.drifted) / len(self.columns) if self.columns else 0.0


_COMPARABLE: Final = {ColumnKind.NUMBER: "numbers", ColumnKind.VALUE: "texts"}
"""The kinds whose distributions are compared. Times always move on."""

Sample = Mapping[str, Sequence[float | str | None]]
"""Some rows of a data set, as the values of each column; all columns have as many."""


def choose_columns(
    reference: Mapping[str, ColumnKind], current: Mapping[str, ColumnKind], *, asked: Sequence[str], read: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which columns to compare, and in sentences why others that should be cannot.

    :param asked: columns that the author names. Where there are none, times and nested values are left out.
    :param read: columns that the model reads, or all that are meant where nobody knows.
    """
    skipped = {name for side in (reference, current) for name, kind in side.items() if kind not in _COMPARABLE}
    chosen, notes = [], []
    for name in asked or [name for name in read if name not in skipped]:
        before, now = reference.get(name), current.get(name)
        if before is None or now is None:
            notes.append(f"The {'training' if before is None else 'production'} data has no column {name}.")
        elif name in skipped:
            notes.append(f"{name} holds times or nested values, which are not compared.")
        elif before is not now:
            was, is_ = _COMPARABLE[before], _COMPARABLE[now]
            notes.append(f"{name} holds {was} in the training data, but {is_} in the production data.")
        else:
            chosen.append(name)
    return tuple(chosen), tuple(notes)


def without_values(reference: Sample, current: Sample) -> dict[str, str]:
    """Return the columns of a sample that cannot be compared, since one side has no value at all, and say so."""
    return {
        name: f"{name} has no values in the {side} data."
        for name in reference
        for side, sample in (("training", reference), ("production", current))
        if all(value is None for value in sample[name])
    }
