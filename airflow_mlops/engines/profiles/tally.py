"""The count of a column whose values are of no kind that can be compared, and what is the same of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlops.domain.profile import ColumnProfile
from airflow_mlops.engines.profiles.plan import PlannedColumn

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Tally:
    """Counts rows and nulls, of a column whose values are of no kind that can be compared."""

    column: PlannedColumn
    rows: int = 0
    nulls: int = 0

    def add(self, values: pa.Array) -> None:
        """Count the next rows."""
        self.rows += len(values)
        self.nulls += values.null_count

    def absorb(self, _other: Tally) -> bool:
        """Add what another thread has counted, where that is quicker than to merge profiles, and say whether."""
        return False

    def profile(self) -> ColumnProfile:
        """Return what was counted."""
        column = self.column
        return ColumnProfile(
            name=column.name, type=column.type, kind=column.kind, rows=self.rows, nulls=self.nulls, whole=column.whole
        )
