"""How the values of columns are distributed, in a few numbers for people to look at."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.dataset import ColumnSummary
from airflow_mlops.engines.duckdb.connection import identifier

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BINS = 20
_FEW = 20
"""Texts of more different values have no counts."""
_TEXT_LENGTH = 60


def add_shapes(
    connection: "DuckDBPyConnection", relation: str, columns: Sequence[ColumnSummary]
) -> tuple[ColumnSummary, ...]:
    """Return the columns with the distribution of their values, from one more scan of those that can have one."""
    expressions = [_expression(column) for column in columns]
    wanted = [text for text in expressions if text]
    if not wanted:
        return tuple(columns)
    (row,) = connection.execute(f"SELECT {', '.join(wanted)} FROM {relation}").fetchall()
    values = iter(row)
    return tuple(
        _with_shape(column, next(values)) if text else column for column, text in zip(columns, expressions, strict=True)
    )


def _expression(column: ColumnSummary) -> str:
    name = identifier(column.name)
    if isinstance(column.minimum, (int, float)) and isinstance(column.maximum, (int, float)):
        low, high = float(column.minimum), float(column.maximum)
        width = (high - low) / _BINS
        if not (math.isfinite(width) and width > 0):
            return ""
        number = f"({name})::DOUBLE"
        place = f"least({_BINS - 1}, floor(({number} - {low!r}) / {width!r}))::INTEGER"
        # A FILTER would be too late: an infinite number is no INTEGER.
        return f"histogram(CASE WHEN isfinite({number}) THEN {place} END)"
    if column.type in {"VARCHAR", "BOOLEAN"} and column.distinct <= _FEW:
        return f"histogram(left(({name})::VARCHAR, {_TEXT_LENGTH})) FILTER ({name} IS NOT NULL)"
    return ""


def _with_shape(column: ColumnSummary, found: Any) -> ColumnSummary:
    counts = dict(found or {})
    if column.type in {"VARCHAR", "BOOLEAN"}:
        return replace(column, counts={str(value): int(count) for value, count in counts.items()})
    return replace(column, histogram=tuple(int(counts.get(place, 0)) for place in range(_BINS)) if counts else ())
