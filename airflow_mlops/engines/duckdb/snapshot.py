"""Sources become Parquet parts, with the digest, the statistics and the times that were found in them."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.dataset import ColumnSummary, CsvDialect, TimeWindow
from airflow_mlops.engines.duckdb.connection import (
    DuckDbLimits,
    connect,
    identifier,
    literal,
    path_literal,
    reading,
    working,
)
from airflow_mlops.engines.duckdb.fingerprint import table_digest
from airflow_mlops.engines.duckdb.shapes import add_shapes
from airflow_mlops.engines.duckdb.sources import LocalSource, SourceTable, read_tables
from airflow_mlops.exceptions import DatasetError, NoRowsError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SOURCE_BYTES_PER_PART = 256 * 1024 * 1024
"""Files are gathered into one part up to this size, so that a thousand small files do not make a thousand parts."""
_COLUMNS_AT_A_TIME = 32
"""DuckDB plans a query in a time that grows with the square of its expressions: minutes for thousands of columns."""
_TEXT_LENGTH = 200
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_TIMES_WITH_ZONE = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"})
_TIMES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_NS"}) | _TIMES_WITH_ZONE
_UNORDERED = frozenset({"blob", "list", "struct", "map"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredData:
    """What was written, and what is known of it."""

    digest: str
    columns: tuple[ColumnSummary, ...]
    parts: dict[str, int]
    """Name of each part in the folder, and its rows."""
    window: TimeWindow | None

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(self.parts.values())


def take_snapshot(
    sources: Sequence[LocalSource],
    folder: Path,
    *,
    dialect: CsvDialect,
    window: TimeWindow | None,
    limits: DuckDbLimits,
    casts: Mapping[str, str] | None = None,
) -> MeasuredData:
    """Write the rows of ``sources`` that lie in ``window`` to ``part-*.parquet`` in ``folder``, and measure them.

    Rows and columns keep the order of the sources. ``casts`` gives columns of Parquet sources other DuckDB types.

    :raises DatasetError: naming the source that cannot be read or differs from the others, the column that is no
        time, or the window in which nothing lies.
    """
    with connect(limits) as connection, working(limits):
        tables = read_tables(connection, sources, dialect, casts or {})
        condition = _window_condition(tables[0], window)
        parts = _write_parts(connection, tables, condition, folder)
        if not parts:
            where = f" in the window {window}" if window else ""
            msg = f"No row is left{where} of {len(tables)} files, the first of them {tables[0].source.uri}."
            raise NoRowsError(msg)
        return measure_parts(connection, folder, parts, window)


def measure_parts(
    connection: "DuckDBPyConnection", folder: Path, parts: dict[str, int], window: TimeWindow | None
) -> MeasuredData:
    """Return digest, statistics and times of Parquet files in ``folder``, which are given with their rows."""
    relation = parquet_relation([folder / part for part in parts])
    return MeasuredData(
        digest=table_digest(connection, relation, sum(parts.values())),
        columns=tuple(_summarize(connection, relation)),
        parts=parts,
        window=_found_times(connection, relation, window),
    )


def parquet_relation(files: Sequence[Path]) -> str:
    """Return the table function that reads Parquet files as one table."""
    return f"read_parquet([{', '.join(path_literal(file) for file in files)}], hive_partitioning = false)"


def check_time_column(columns: Mapping[str, str], name: str, of: str) -> str:
    """Return the type of a column, if it is one of dates or timestamps.

    :raises DatasetError: when ``of`` has no such column, or it has no times.
    """
    kind = columns.get(name)
    if kind is None:
        msg = f"{of} has no time column {name!r}. It has: {', '.join(columns)}."
        raise DatasetError(msg)
    if kind not in _TIMES:
        msg = (
            f"The time column {name!r} of {of} is {kind}, not a date or a timestamp. "
            "Write times as ISO 8601, or name another column."
        )
        raise DatasetError(msg)
    return kind


def _window_condition(table: SourceTable, window: TimeWindow | None) -> str:
    if window is None:
        return "true"
    kind = check_time_column(table.columns, window.column, table.source.uri)
    column = identifier(window.column)
    bounds = [(">=", window.start), ("<", window.end)]
    return " AND ".join(f"{column} {sign} {time_literal(time, kind)}" for sign, time in bounds if time) or "true"


def time_literal(time: datetime, kind: str) -> str:
    """Write a bound, which is in UTC, as the column has its times: those without a zone are taken for UTC."""
    text = time.strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"TIMESTAMPTZ {literal(text + '+00')}" if kind in _TIMES_WITH_ZONE else f"TIMESTAMP {literal(text)}"


def _write_parts(
    connection: "DuckDBPyConnection", tables: Sequence[SourceTable], condition: str, folder: Path
) -> dict[str, int]:
    parts: dict[str, int] = {}
    columns = ", ".join(f"{identifier(n)}::{kind} AS {identifier(n)}" for n, kind in tables[0].columns.items())
    for group in _gathered(tables):
        name = f"part-{len(parts):05d}.parquet"
        # The condition is on the columns as they will be, whatever their types in the source.
        selects = [f"SELECT * FROM (SELECT {columns} FROM {table.relation}) WHERE {condition}" for table in group]
        query = (
            f"COPY ({' UNION ALL '.join(selects)}) TO {literal(str(folder / name))} (FORMAT parquet, COMPRESSION zstd)"
        )
        rows = _copy(connection, query, group)
        if rows:
            parts[name] = rows
        else:
            (folder / name).unlink()
    return parts


def _copy(connection: "DuckDBPyConnection", query: str, group: Sequence[SourceTable]) -> int:
    import duckdb

    try:
        ((rows,),) = connection.execute(query).fetchall()
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error:
        for table in group:  # The message does not always name the file: read them one by one to find it.
            with reading(table.source.uri, table.source.path):
                casts = ", ".join(f"{identifier(name)}::{kind}" for name, kind in table.columns.items())
                connection.execute(f"SELECT max(hash({casts})) FROM {table.relation}").fetchall()
        raise
    return int(rows)


def _gathered(tables: Sequence[SourceTable]) -> Iterator[list[SourceTable]]:
    group: list[SourceTable] = []
    size = 0
    for table in tables:
        table_size = table.source.path.stat().st_size
        if group and size + table_size > _SOURCE_BYTES_PER_PART:
            yield group
            group, size = [], 0
        group.append(table)
        size += table_size
    yield group


def _summarize(connection: "DuckDBPyConnection", relation: str) -> Iterator[ColumnSummary]:
    """Return every column's statistics. Infinite and not-a-number values count in none of the numbers."""
    table = connection.sql(f"FROM {relation}")
    kinds = list(zip(table.columns, table.types, strict=True))
    for start in range(0, len(kinds), _COLUMNS_AT_A_TIME):
        some = _summarize_some(connection, relation, kinds[start : start + _COLUMNS_AT_A_TIME])
        yield from add_shapes(connection, relation, some)


def _summarize_some(
    connection: "DuckDBPyConnection", relation: str, kinds: Sequence[tuple[str, Any]]
) -> list[ColumnSummary]:
    """Return what one scan of some columns tells of each."""
    expressions = [text for name, kind in kinds for text in _aggregates(identifier(name), kind)]
    # All of it, though an aggregate without groups has one row: DuckDB refuses the next query while a result is open.
    (row,) = connection.execute(f"SELECT {', '.join(expressions)} FROM {relation}").fetchall()
    values = iter(row)
    return [
        ColumnSummary(
            name=name,
            type=str(kind),
            nulls=next(values),
            distinct=next(values),
            minimum=next(values),
            maximum=next(values),
            mean=next(values),
            standard_deviation=next(values),
        )
        for name, kind in kinds
    ]


def _aggregates(column: str, kind: Any) -> list[str]:
    """Return the SQL of nulls, distinct values, minimum, maximum, mean and standard deviation."""
    counts = [f"count(*) - count({column})", f"approx_count_distinct({column})"]
    name = str(kind)
    if name in _FLOATS:
        # Squares of numbers above 1e150 overflow, and DuckDB would raise.
        moments = f"FILTER (abs({column}) < 1e150)"
        return [
            *counts,
            f"(min({column}) FILTER (isfinite({column})))::DOUBLE",
            f"(max({column}) FILTER (isfinite({column})))::DOUBLE",
            f"avg({column}) {moments}",
            f"stddev_samp({column}) {moments}",
        ]
    if name in _INTEGERS:
        return [*counts, f"min({column})", f"max({column})", f"avg({column})", f"stddev_samp({column})"]
    if kind.id == "decimal":
        number = f"{column}::DOUBLE"
        return [*counts, f"min({number})", f"max({number})", f"avg({number})", f"stddev_samp({number})"]
    if kind.id in _UNORDERED:
        return [*counts, "NULL", "NULL", "NULL", "NULL"]
    mean = f"avg({column}::INTEGER)" if name == "BOOLEAN" else "NULL"
    ends = (f"left(({end}({column}))::VARCHAR, {_TEXT_LENGTH})" for end in ("min", "max"))
    return [*counts, *ends, mean, "NULL"]


def _found_times(connection: "DuckDBPyConnection", relation: str, window: TimeWindow | None) -> TimeWindow | None:
    if window is None:
        return None
    column = identifier(window.column)
    ends = ", ".join(f"epoch_us({end}({column}) FILTER (isfinite({column})))" for end in ("min", "max"))
    ((first, last),) = connection.execute(f"SELECT {ends} FROM {relation}").fetchall()
    return replace(window, first=from_epoch(first), last=from_epoch(last))


def from_epoch(microseconds: int | None) -> datetime | None:
    """Return a time in UTC by its microseconds since 1970."""
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
