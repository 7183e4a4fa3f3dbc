"""Dataset snapshots: what a content-addressed snapshot is, and what its manifest records."""

from dataclasses import dataclass
from datetime import datetime

from airflow_mlops.domain.serialization import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Document):
    """An immutable snapshot, as it crosses XCom."""

    dataset_name: str
    digest: str
    """SHA-256 hex digest of the rows and the schema: the same data has the same digest."""
    uri: str
    """Folder in the artifact store that holds ``manifest.json`` and ``part-*.parquet``."""
    rows: int
    created: bool
    """Whether this task wrote it; ``False`` when the same data was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSummary(Document):
    """Type and statistics of one column; numbers only where the type has them, times and texts as text."""

    name: str
    type: str
    nulls: int
    distinct: int
    """Approximate number of distinct values (HyperLogLog)."""
    minimum: float | int | str | None = None
    maximum: float | int | str | None = None
    mean: float | None = None
    standard_deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile(Document):
    """A file that the snapshot was read from."""

    uri: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow(Document):
    """The half-open window of the time column that was asked for, and the times that were found in it."""

    column: str
    start: datetime | None = None
    end: datetime | None = None
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFile(Document):
    """A Parquet file of the snapshot, its name relative to the snapshot's folder."""

    name: str
    digest: str
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotManifest(Document):
    """``manifest.json``: written last, so a folder that has it is a whole snapshot."""

    dataset_name: str
    digest: str
    rows: int
    columns: tuple[ColumnSummary, ...]
    parts: tuple[PartFile, ...]
    sources: tuple[SourceFile, ...]
    window: TimeWindow | None
    created_at: datetime


def snapshot_path(dataset_name: str, digest: str) -> str:
    """Return where a snapshot lies below the artifact store's root."""
    return f"datasets/{dataset_name}/{digest}"
