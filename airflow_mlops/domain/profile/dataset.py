"""The profiles of all columns of some rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce

from airflow_mlops.domain.profile.column import ColumnProfile
from airflow_mlops.domain.profile.grid import Grid
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetProfile(Document):
    """The profiles of the columns of some rows."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    engine: str = ""
    """What made it, with its version."""
    notes: tuple[str, ...] = field(default=())
    """Which columns could not be profiled, and why."""

    def column(self, name: str) -> ColumnProfile | None:
        """Return the profile of a column, or ``None`` where there is no such column."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def grids(self) -> dict[str, Grid]:
        """The grid of each column of numbers, for the profile of the data to compare with."""
        return {column.name: column.grid for column in self.columns if column.grid is not None}

    def merge(self, other: "DatasetProfile") -> "DatasetProfile":
        """Return the profile of the rows of both; a column that one of them lacks is left out, and noted.

        :raises InvalidInputError: when a column is of different kinds or on different grids.
        """
        theirs = {column.name: column for column in other.columns}
        ours = {column.name for column in self.columns}
        single = sorted(ours ^ theirs.keys()) if self.rows and other.rows else []
        if not (self.rows and other.rows):  # A part without rows may also know no columns.
            whole, empty = (self, other) if self.rows or len(ours) >= len(theirs) else (other, self)
            known = {column.name for column in whole.columns}
            extra = tuple(column for column in empty.columns if column.name not in known) if not whole.rows else ()
            return replace(whole, columns=(*whole.columns, *extra), notes=_notes(self, other))
        return DatasetProfile(
            rows=self.rows + other.rows,
            columns=tuple(column.merge(theirs[column.name]) for column in self.columns if column.name in theirs),
            engine=self.engine or other.engine,
            notes=tuple(dict.fromkeys([*_notes(self, other), *(f"Not every part has {name}." for name in single)])),
        )


def merge_profiles(profiles: Iterable[DatasetProfile]) -> DatasetProfile:
    """Return the profile of all parts of a data set.

    :raises InvalidInputError: when there is none, or two of them cannot be merged.
    """
    parts = list(profiles)
    if not parts:
        msg = "There is no profile to merge. Profile at least one part."
        raise InvalidInputError(msg)
    return reduce(DatasetProfile.merge, parts)


def _notes(*profiles: DatasetProfile) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for profile in profiles for note in profile.notes))
