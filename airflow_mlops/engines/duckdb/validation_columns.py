"""Columns and values of expectations, as DuckDB's SQL has them, with the meaning that pandas gives them.

What is missing in pandas is NULL here: NaN of a floating-point column counts as missing, as it does in Great
Expectations on pandas. A value that does not fit its column, such as a text as the bound of a number, has no SQL:
:class:`NoSqlError` says so, and the expectation is left to pandas.
"""

import datetime as dt
import enum
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from airflow_mlops.engines.duckdb.connection import identifier, literal

_INTEGER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_HUGE = 10**38
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"((?:[^"]|"")*)\"""")
"""Texts and names in SQL; the group is that of a name."""


class NoSqlError(Exception):
    """This part of an expectation cannot be said in DuckDB's SQL with the meaning that it has in pandas."""


class ColumnKind(enum.Enum):
    """What the values of a column can be compared with."""

    INTEGER = "integers"
    FLOAT = "floating-point numbers"
    DECIMAL = "decimals"
    TEXT = "texts"
    BOOLEAN = "booleans"
    TIME = "times without a zone"
    ZONED_TIME = "times with a zone"
    OTHER = "values of another type"


NUMBERS = frozenset({ColumnKind.INTEGER, ColumnKind.FLOAT, ColumnKind.DECIMAL})
MACHINE_NUMBERS = frozenset({ColumnKind.INTEGER, ColumnKind.FLOAT})
TIMES = frozenset({ColumnKind.TIME, ColumnKind.ZONED_TIME})


def kind_of(sql_type: str) -> ColumnKind:
    """Return the kind of a column by its type as DuckDB writes it, such as ``DECIMAL(10,2)``."""
    if _INTEGER.fullmatch(sql_type):
        return ColumnKind.INTEGER
    if sql_type.startswith("DECIMAL(") and not sql_type.endswith("]"):
        return ColumnKind.DECIMAL
    if sql_type in {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}:
        return ColumnKind.ZONED_TIME
    if sql_type in {"DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"}:
        return ColumnKind.TIME
    return {
        "FLOAT": ColumnKind.FLOAT,
        "DOUBLE": ColumnKind.FLOAT,
        "VARCHAR": ColumnKind.TEXT,
        "BOOLEAN": ColumnKind.BOOLEAN,
    }.get(sql_type, ColumnKind.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table that is validated."""

    name: str
    kind: ColumnKind

    @property
    def sql(self) -> str:
        """Its value: NULL where pandas finds it missing."""
        quoted = identifier(self.name)
        return f"nullif({quoted}, 'NaN')" if self.kind is ColumnKind.FLOAT else quoted

    @property
    def is_missing(self) -> str:
        """Whether it is missing, which is never NULL itself."""
        quoted = identifier(self.name)
        return f"({quoted} IS NULL OR isnan({quoted}))" if self.kind is ColumnKind.FLOAT else f"{quoted} IS NULL"

    def value(self, value: object) -> str:
        """Return a value of the suite as it is compared with this column.

        :raises NoSqlError: when it does not fit.
        """
        found = _literal(self.kind, value)
        if found is None:
            msg = f"{value!r:.100} is not to be compared with {self.kind.value}"
            raise NoSqlError(msg)
        return found

    def values(self, values: object) -> list[str]:
        """Return the values of a set, without those that are missing: a missing value is looked up in no set.

        :raises NoSqlError: when one does not fit.
        """
        if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
            msg = f"{values!r:.100} is no set of values"
            raise NoSqlError(msg)
        return [self.value(value) for value in values if not _is_missing(value)]


class Columns:
    """The columns of a table, by name."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._columns = {name: Column(name=name, kind=kind_of(kind)) for name, kind in types.items()}

    def __getitem__(self, name: object) -> Column:
        column = self._columns.get(name) if isinstance(name, str) else None
        if column is None:
            msg = f"the table has no column {name!r:.100}"
            raise NoSqlError(msg)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)


def with_nan(relation: str, types: Mapping[str, str], *sql: str) -> str:
    """Return a relation of Parquet files with the columns that pieces of SQL name, which may hold NaN.

    DuckDB takes the least and the greatest value that a file tells for those of all values, but other writers than
    DuckDB leave NaN out there: of 0.1, NaN and 0.9 it would not even look for what is NaN, or above 1.

    :param types: the type of each column of the relation, as DuckDB writes it.
    :param sql: without any, the relation has all its columns. A thousand that nobody asks for take DuckDB a second.
    """
    named = {name.replace('""', '"') for piece in sql for name in _QUOTED.findall(piece)} if sql else set(types)
    values = [_nan_kept(name, kind) for name, kind in types.items() if name in named]
    return f"(SELECT {', '.join(values)} FROM {relation})" if values else relation  # noqa: S608 - quoted


def _nan_kept(name: str, kind: str) -> str:
    quoted = identifier(name)
    if kind_of(kind) is not ColumnKind.FLOAT:
        return quoted
    return f"CASE WHEN isnan({quoted}) THEN 'NaN'::{kind} ELSE {quoted} END AS {quoted}"


def number(value: object) -> str:
    """Return a number as SQL: an integer exactly, a floating-point number with all its digits.

    :raises NoSqlError: when it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        msg = f"{value!r:.100} is no number"
        raise NoSqlError(msg)
    if isinstance(value, int):
        if abs(value) >= _HUGE:
            msg = f"{value!r:.100} has more digits than DuckDB's integers"
            raise NoSqlError(msg)
        return f"({value})"
    return f"'{value!s}'::DOUBLE" if isinstance(value, Decimal) or not math.isfinite(value) else f"{value!r}::DOUBLE"


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _literal(kind: ColumnKind, value: object) -> str | None:
    if kind is ColumnKind.TEXT and isinstance(value, str) and "\0" not in value:
        return literal(value)
    if kind is ColumnKind.BOOLEAN and isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if kind in NUMBERS and isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        # 0.1 as the bound of a decimal is 0.1, and not the nearest binary fraction.
        exact = kind is ColumnKind.DECIMAL and isinstance(value, (float, Decimal)) and math.isfinite(value)
        return _decimal(value) if exact else number(value)
    if kind in TIMES and isinstance(value, (str, dt.date)):
        return _time(kind, value)
    return None


def _decimal(value: object) -> str | None:
    text = f"{Decimal(str(value)):f}"
    return text if len(text) <= 38 else None  # noqa: PLR2004 - digits of DuckDB's widest decimal


def _time(kind: ColumnKind, value: str | dt.date) -> str | None:
    """Return a time as SQL; without a zone it is in UTC, where the column has zones, and the other way round."""
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone comes below
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    text = value.isoformat(sep=" ")
    return f"TIMESTAMPTZ '{text}+00'" if kind is ColumnKind.ZONED_TIME else f"TIMESTAMP '{text}'"
