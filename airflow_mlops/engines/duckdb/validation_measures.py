"""Figures of expectations, and the plans by which they are measured: aggregates of one scan, and what follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_mlops.engines.duckdb.validation_columns import (
    Column,
    ColumnKind,
    Columns,
    NoSqlError,
)

Answers = Mapping[str, Any]
"""What the scan found, by the SQL of the aggregate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of an expectation, from which its verdict follows."""

    rows: int
    """Rows that count: all, or those of ``row_condition``."""
    looked_at: int | None = None
    """Of an expectation on rows: those whose values are not left out as missing."""
    failing: int | None = None
    sample: tuple[Any, ...] = ()
    """At most 20 failing values: of two columns as tuples, of several as mappings."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Of any other expectation: figures by the names that Great Expectations gives its metrics."""


class Table(Protocol):
    """The table behind a plan, for what takes a query of its own."""

    def group_sizes(self, selected: str, keys: Sequence[Column]) -> tuple[int, int, int]:
        """Return the number of groups, the rows of those of more than one row, and the rows of the largest."""

    def order_statistics(self, selected: str, column: Column, ranks: Sequence[int], count: int) -> list[Any]:
        """Return the values at these ranks, from 0, of ``count`` values in ascending order."""

    def count_out_of_order(self, selected: str, column: Column, wrong: str) -> int:
        """Count the rows whose value stands wrong to the one before."""

    def sample_out_of_order(self, selected: str, column: Column, wrong: str) -> list[Any]:
        """Return some of their values."""

    def rows(self, select: str, where: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Return rows of the table."""

    def sample(self, select: str, where: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Return some rows, or none when enough checks have theirs."""

    def count_query(self, query: str) -> tuple[int, list[tuple[Any, ...]]]:
        """Return the number of rows of a query on ``{batch}``, and some of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an expectation is measured."""

    asks: tuple[str, ...]
    finish: Callable[[Table, Answers], Measured]


def counted(condition: str) -> str:
    """Return the SQL that counts the rows of a condition."""
    return "count(*)" if condition == "TRUE" else f"count(*) FILTER (WHERE {condition})"


def all_of(*conditions: str) -> str:
    """Return the SQL of all conditions together."""
    wanted = [condition for condition in conditions if condition != "TRUE"]
    return " AND ".join(f"({condition})" for condition in wanted) or "TRUE"


def filtered(condition: str) -> str:
    """Return the SQL that restricts an aggregate to the rows of a condition."""
    return "" if condition == "TRUE" else f" FILTER (WHERE {condition})"


def of_kind(column: Column, kinds: frozenset[ColumnKind]) -> Column:
    """Return the column.

    :raises NoSqlError: when it holds something else.
    """
    if column.kind not in kinds:
        msg = f"{column.name!r:.100} holds {column.kind.value}, for which the check has no SQL"
        raise NoSqlError(msg)
    return column


def mean_sql(column: Column) -> str:
    """Return the SQL of the mean."""
    return f"avg({column.sql}::DOUBLE)"


def deviation_sql(column: Column) -> str:
    """Return the SQL of the standard deviation of a sample."""
    return f"stddev_samp({column.sql}::DOUBLE)"


def present_rows(arguments: Mapping[str, Any], condition: str, columns: Columns) -> tuple[Column, str]:
    """Return the column of an expectation, and the SQL of the rows in which it is not missing."""
    column = columns[arguments.get("column")]
    return column, all_of(condition, f"NOT ({column.is_missing})")
