"""The schema of CSV and Parquet sources, and the check that all of them have the same."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import CsvDialect, SourceFormat, source_format
from airflow_mlops.engines.duckdb.connection import identifier, literal, path_literal, reading
from airflow_mlops.exceptions import DatasetError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

UNTYPED = '"NULL"'
"""DuckDB's name for the type of a column that holds nothing but NULL."""

# Types that come back from a Parquet file as they went in. HUGEINT would become DOUBLE, BIT and GEOMETRY others.
_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")} | {"INTEGER", "UINTEGER"}
_TIMES = {"DATE", "TIME", "TIME_NS", "TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP_NS"}
_TIMES_WITH_ZONE = {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}
_OTHERS = {"BOOLEAN", "FLOAT", "DOUBLE", "VARCHAR", "JSON", "BLOB", "UUID", UNTYPED}
_SCALARS = frozenset(_INTEGERS | _TIMES | _TIMES_WITH_ZONE | _OTHERS)
_NESTED = frozenset({"list", "struct", "map"})
_ISO_DATE = "%Y-%m-%d"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    """A source file on this machine, and the address by which its author knows it."""

    uri: str
    path: Path
    has_inferred_types: bool = False
    """Whether the types of a Parquet file were told from its values, as those of CSV are, so that BIGINT may widen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """A source whose schema is known."""

    source: LocalSource
    columns: Mapping[str, str]
    """Name to DuckDB type."""
    dialect: CsvDialect | None
    """Set for CSV."""

    @property
    def has_inferred_types(self) -> bool:
        """Whether its types were told from its values."""
        return self.dialect is not None or self.source.has_inferred_types

    @property
    def relation(self) -> str:
        """The table function that reads this source with its columns' types."""
        if self.dialect is None:
            return f"read_parquet({path_literal(self.source.path)}, hive_partitioning = false)"
        return csv_relation(self.source, self.dialect, self.columns)


def csv_relation(source: LocalSource, dialect: CsvDialect, columns: Mapping[str, str]) -> str:
    """Return the table function that reads a CSV file with these columns and types, and refuses ragged lines."""
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns.items())
    return (
        f"read_csv({path_literal(source.path)}, auto_detect = false, header = true, columns = {{{types}}}, "
        f"{_dialect_options(dialect)})"
    )


def read_tables(
    connection: "DuckDBPyConnection",
    sources: Sequence[LocalSource],
    dialect: CsvDialect,
    casts: Mapping[str, str] = MappingProxyType({}),
) -> list[SourceTable]:
    """Return the sources with their schema, which is one and the same. ``casts`` has types that they shall get.

    :raises DatasetError: when a file cannot be read, or columns or types differ between files.
    """
    _check_column_types(connection, {**dialect.column_types, **casts})
    tables = [_read_table(connection, source, dialect) for source in sources]
    _check_names(tables)
    if unknown := [name for name in casts if name not in tables[0].columns]:
        msg = f"column_types names {unknown[0]!r}, but {sources[0].uri} has the columns {_listed(tables[0].columns)}."
        raise DatasetError(msg)
    return _unify_types(connection, tables, given=casts)


def _check_column_types(connection: "DuckDBPyConnection", column_types: Mapping[str, str]) -> None:
    import duckdb

    for name, kind in column_types.items():
        try:
            connection.type(kind)
        except duckdb.Error as error:
            msg = f"column_types gives {name!r} the type {kind!r}, which DuckDB does not know. Try VARCHAR or DOUBLE."
            raise DatasetError(msg) from error


def _read_table(connection: "DuckDBPyConnection", source: LocalSource, dialect: CsvDialect) -> SourceTable:
    if source_format(source.path.name) is SourceFormat.CSV:
        return _read_csv_table(connection, source, dialect)
    return _read_parquet_table(connection, source)


def _read_parquet_table(connection: "DuckDBPyConnection", source: LocalSource) -> SourceTable:
    table = SourceTable(source=source, columns={}, dialect=None)
    with reading(source.uri, source.path):
        relation = connection.sql(f"FROM {table.relation}")
        schema = connection.execute(
            f"SELECT name, num_children FROM parquet_schema({path_literal(source.path)})"
        ).fetchall()
    _check_header(source, _top_level_names(schema))
    for name, kind in zip(relation.columns, relation.types, strict=True):
        _check_type(source, name, kind)
    return replace(table, columns={n: str(t) for n, t in zip(relation.columns, relation.types, strict=True)})


def _top_level_names(schema: Sequence[tuple[str, int | None]]) -> list[str]:
    """Return the names of the columns from Parquet's schema, a tree in preorder whose root comes first."""
    names: list[str] = []
    open_children = 0
    for name, children in schema[1:]:
        if open_children == 0:
            names.append(name)
        else:
            open_children -= 1
        open_children += children or 0
    return names


def _read_csv_table(connection: "DuckDBPyConnection", source: LocalSource, dialect: CsvDialect) -> SourceTable:
    header = _read_header(source, dialect)
    _check_header(source, header)
    if unknown := [name for name in dialect.column_types if name not in header]:
        msg = f"column_types names {unknown[0]!r}, but {source.uri} has the columns {_listed(header)}."
        raise DatasetError(msg)
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in dialect.column_types.items())
    query = (
        f"SELECT Columns, TimestampFormat FROM sniff_csv({path_literal(source.path)}, sample_size = -1, header = true, "
        f"skip = 0, dateformat = {literal(_ISO_DATE)}, {_dialect_options(dialect)}"
        + (f", types = {{{types}}})" if types else ")")
    )
    with reading(source.uri, source.path):
        try:
            ((found, time_format),) = connection.execute(query).fetchall()
        except Exception:
            # The sniffer says only that it failed; reading says at which line, if it is the file that is wrong.
            connection.execute(
                f"SELECT count(*) FROM {csv_relation(source, dialect, dict.fromkeys(header, 'VARCHAR'))}"
            )
            raise
    columns = dict(zip(header, (column["type"] for column in found), strict=True))
    for name, kind in columns.items():
        if name in dialect.column_types:
            _check_type(source, name, connection.type(kind))
        elif kind == "HUGEINT" or (time_format and kind.startswith("TIMESTAMP")):
            # Parquet has no integer of 128 bits; and whether 03/04 is in March or in April is not for us to guess.
            columns[name] = "VARCHAR"
    return SourceTable(source=source, columns=columns, dialect=dialect)


def _read_header(source: LocalSource, dialect: CsvDialect) -> list[str]:
    opener = gzip.open if source.path.name.lower().endswith(".gz") else open
    try:
        with opener(source.path, "rt", encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines, delimiter=dialect.delimiter), None)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{source.uri} cannot be read: {error}. CSV sources are UTF-8 text, compressed only as .csv.gz."
        raise DatasetError(msg) from error
    if not header:
        msg = f"{source.uri} is empty: not even a header line is in it."
        raise DatasetError(msg)
    return header


def _dialect_options(dialect: CsvDialect) -> str:
    nulls = ", ".join(literal(text) for text in dict.fromkeys(("", *dialect.null_values)))
    return f"delim = {literal(dialect.delimiter)}, quote = '\"', escape = '\"', comment = '', nullstr = [{nulls}]"


def _check_header(source: LocalSource, names: Sequence[str]) -> None:
    if not names:
        msg = f"{source.uri} has no columns."
        raise DatasetError(msg)
    seen: dict[str, str] = {}
    for position, name in enumerate(names, start=1):
        if not name.strip():
            msg = f"Column {position} of {source.uri} has no name. Name it (pandas: index=False leaves its index out)."
            raise DatasetError(msg)
        if (other := seen.setdefault(name.casefold(), name)) is not name or names.count(name) > 1:
            msg = f"{source.uri} has the columns {other!r} and {name!r}, which differ in case at most. Rename one."
            raise DatasetError(msg)


def _check_type(source: LocalSource, column: str, kind: object) -> None:
    """Refuse a type that a Parquet file would not keep. ``kind`` is a ``duckdb.typing.DuckDBPyType``."""
    identity: str = getattr(kind, "id", "")
    if identity in _NESTED:
        children: list[tuple[str, object]] = getattr(kind, "children", [])
        for _, child in children:
            _check_type(source, column, child)
    elif identity != "decimal" and str(kind) not in _SCALARS:
        msg = (
            f"The column {column!r} of {source.uri} has the type {kind}, which a snapshot cannot hold. Cast it before."
        )
        raise DatasetError(msg)


def _check_names(tables: Sequence[SourceTable]) -> None:
    first = tables[0]
    for table in tables[1:]:
        missing = [name for name in first.columns if name not in table.columns]
        added = [name for name in table.columns if name not in first.columns]
        if missing or added:
            parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"adds {_listed(added)}"] * bool(added)
            msg = (
                f"The columns of {first.source.uri} and {table.source.uri} differ: the second {' and '.join(parts)}. "
                "All files of a dataset need the same columns."
            )
            raise DatasetError(msg)


def _unify_types(
    connection: "DuckDBPyConnection", tables: Sequence[SourceTable], given: Mapping[str, str]
) -> list[SourceTable]:
    """Give every file the same types, as if all were one file.

    A column without any value joins any type, and where types are inferred, as in CSV, BIGINT widens to DOUBLE.
    Anything else is an error: a number that is a text elsewhere is not for us to convert.
    """
    unified: dict[str, str] = dict(given)
    for column in tables[0].columns:
        if column in given:
            continue
        votes: dict[str, SourceTable] = {}
        for table in tables:
            votes.setdefault(table.columns[column], table)
        if len(votes) > 1:
            votes = {}
            for table in tables:
                if _has_type(connection, table, column):
                    votes.setdefault(table.columns[column], table)
        unified[column] = _common_type(column, votes)
    return [replace(table, columns={name: unified[name] for name in table.columns}) for table in tables]


def _has_type(connection: "DuckDBPyConnection", table: SourceTable, column: str) -> bool:
    """Whether the file says anything about the column's type: in CSV a column without a value is inferred as text."""
    if table.dialect is None:
        return table.columns[column] != UNTYPED
    if table.columns[column] != "VARCHAR" or column in table.dialect.column_types:
        return True
    relation = csv_relation(table.source, table.dialect, dict.fromkeys(table.columns, "VARCHAR"))
    with reading(table.source.uri, table.source.path):
        query = f"SELECT 1 FROM {relation} WHERE {identifier(column)} IS NOT NULL LIMIT 1"
        return bool(connection.execute(query).fetchall())


def _common_type(column: str, votes: Mapping[str, SourceTable]) -> str:
    kinds = [kind for kind in votes if kind != UNTYPED]
    if not kinds:
        return "VARCHAR"
    if len(kinds) == 1:
        return kinds[0]
    if set(kinds) == {"BIGINT", "DOUBLE"} and all(table.has_inferred_types for table in votes.values()):
        return "DOUBLE"
    first, second = votes[kinds[0]], votes[kinds[1]]
    remedy = "Write both with one type"
    if first.has_inferred_types or second.has_inferred_types:
        remedy += f', or set column_types={{{column!r}: "VARCHAR"}}'
    msg = f"The column {column!r} is {kinds[0]} in {first.source.uri}, but {kinds[1]} in {second.source.uri}. {remedy}."
    raise DatasetError(msg)


def _listed(columns: Iterable[str]) -> str:
    names = list(columns)
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown  # noqa: PLR2004 - fits a log line
