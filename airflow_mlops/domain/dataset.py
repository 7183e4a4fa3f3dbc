"""Dataset snapshots: what may become one, what a content-addressed snapshot is, and what its manifest records."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Self

from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import DatasetError

MANIFEST = "manifest.json"

_NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"


class SourceFormat(enum.StrEnum):
    """What a source file holds, told by the end of its name."""

    CSV = "csv"
    PARQUET = "parquet"


class ColumnKind(enum.StrEnum):
    """What the values of a column are, as far as groups and distributions of them go."""

    NUMBER = "number"
    VALUE = "value"
    """Texts and booleans."""
    TIME = "time"
    NESTED = "nested"
    """Lists, structs and bytes, by which nothing can be grouped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvDialect:
    """How CSV sources are read: UTF-8, a header line, RFC 4180 quotes, and nothing guessed but the types."""

    delimiter: str = ","
    null_values: tuple[str, ...] = ()
    """Texts that mean NULL, besides the empty field."""
    column_types: Mapping[str, str] = field(default_factory=dict)
    """DuckDB types of columns whose type should not be inferred, such as ``{"zip_code": "VARCHAR"}``."""

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1:
            msg = f"The CSV delimiter {self.delimiter!r} must be one character."
            raise DatasetError(msg)


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
    histogram: tuple[int, ...] = ()
    """Of numbers: how many lie in each of 20 bins of equal width from the minimum to the maximum."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of texts and booleans with few different values: how often each occurs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile(Document):
    """A file that the snapshot was read from; or a table, a query or a version of one."""

    uri: str
    digest: str
    """SHA-256 hex digest: of a file's bytes, of a query's text, of the list of files of a Delta table."""
    size_bytes: int
    query: str = ""
    """The SQL that found the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow(Document):
    """The half-open window of the time column that was asked for, and the times that were found in it."""

    column: str
    start: datetime | None = None
    end: datetime | None = None
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def parse(cls, column: str | None, start: datetime | str | None, end: datetime | str | None) -> Self | None:
        """Read a window as a template renders it: ``""`` and ``"None"`` are no bound, times without zone are UTC.

        :raises DatasetError: when a bound is no ISO 8601 time, the window is empty, or it has bounds but no column.
        """
        first, last = _parse_time("start", start), _parse_time("end", end)
        if column is None:
            if first or last:
                msg = "A start or an end needs the time_column that it bounds. Name the column."
                raise DatasetError(msg)
            return None
        if first and last and first >= last:
            msg = f"The window from {first.isoformat()} to {last.isoformat()} is empty: start must be before end."
            raise DatasetError(msg)
        return cls(column=column, start=first, end=last)

    def __str__(self) -> str:
        """Return the window in words."""
        start = self.start.isoformat() if self.start else "the beginning"
        end = self.end.isoformat() if self.end else "the end"
        return f"{self.column} from {start} to before {end}"


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


def dataset_path(dataset_name: str) -> str:
    """Return where the snapshots of a dataset lie below the artifact store's root."""
    return f"datasets/{dataset_name}"


def snapshot_path(dataset_name: str, digest: str) -> str:
    """Return where a snapshot lies below the artifact store's root."""
    return f"{dataset_path(dataset_name)}/{digest}"


def check_dataset_name(name: str) -> str:
    """Return ``name`` if it can be a folder on any storage.

    :raises DatasetError: when it has other characters than letters, digits, ``.``, ``_`` and ``-``, or a dot in front.
    """
    if not re.fullmatch(_NAME, name):
        msg = f"The dataset name {name!r} may have only letters, digits, '.', '_' and '-', and no dot in front."
        raise DatasetError(msg)
    return name


def source_format(name: str) -> SourceFormat | None:
    """Return what a file of this name holds, or ``None`` for a name that no snapshot is taken from."""
    lower = name.lower()
    if lower.endswith((".csv", ".csv.gz")):
        return SourceFormat.CSV
    return SourceFormat.PARQUET if lower.endswith(".parquet") else None


def is_hidden(relative_path: str) -> bool:
    """Whether a path in a folder of data is a marker, such as ``_SUCCESS`` or ``.part-0.crc``, and no data."""
    return any(part.startswith((".", "_")) for part in PurePosixPath(relative_path).parts)


def parse_moment(name: str, value: datetime | str) -> datetime:
    """Return a time in UTC of the parameter ``name``, as a template renders it; without a zone it is UTC.

    :raises DatasetError: when it is no ISO 8601 time.
    """
    moment = _parse_time(name, value)
    if moment is None:
        msg = f"{name} is {value!r}, but must be an ISO 8601 time."
        raise DatasetError(msg)
    return moment


def _parse_time(name: str, value: datetime | str | None) -> datetime | None:
    if value is None or value in {"", "None"}:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except ValueError as error:
        msg = f"{name} is {value!r}, but must be an ISO 8601 time such as 2013-01-31 or 2013-01-31T06:00:00+00:00."
        raise DatasetError(msg) from error
    return utc(time)
