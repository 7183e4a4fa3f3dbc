"""What each expectation asks of the one scan over the table, and how its figures follow from the answers.

A plan's ``asks`` are aggregates; those of all expectations go into one query, each written once. Only what one scan
cannot tell takes a query of its own afterwards: values that occur twice, order statistics, and samples of what fails.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from airflow_mlops.domain.validation import SAMPLE_SIZE, Expectation
from airflow_mlops.engines.duckdb.validation_columns import (
    MACHINE_NUMBERS,
    NUMBERS,
    TIMES,
    Column,
    ColumnKind,
    Columns,
    NoSqlError,
    number,
)
from airflow_mlops.engines.duckdb.validation_predicates import RowCheck, row_check, row_condition

Answers = Mapping[str, Any]
"""What the scan found, by the SQL of the aggregate."""

_MOST_TIES = 1000


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

    def count_query(self, query: str) -> tuple[int, list[tuple[Any, ...]]]:
        """Return the number of rows of a query on ``{batch}``, and some of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an expectation is measured."""

    asks: tuple[str, ...]
    finish: Callable[[Table, Answers], Measured]


def plan(expectation: Expectation, columns: Columns) -> Plan:
    """Return how an expectation is measured.

    :raises NoSqlError: when only Python can.
    """
    check = row_check(expectation, columns)
    if check is not None:
        return _rows_plan(check)
    build = _PLANS.get(expectation.type)
    if build is None:
        msg = "the check is written in Python"
        raise NoSqlError(msg)
    return build(expectation.kwargs, row_condition(expectation, columns), columns)


def counted(condition: str) -> str:
    """Return the SQL that counts the rows of a condition."""
    return "count(*)" if condition == "TRUE" else f"count(*) FILTER (WHERE {condition})"


def all_of(*conditions: str) -> str:
    """Return the SQL of all conditions together."""
    wanted = [condition for condition in conditions if condition != "TRUE"]
    return " AND ".join(f"({condition})" for condition in wanted) or "TRUE"


def _rows_plan(check: RowCheck) -> Plan:
    selected = all_of(check.condition, check.domain)
    asks = [counted(check.condition), counted(selected)]
    failing_rows = all_of(selected, check.fails) if check.fails else ""
    if failing_rows:
        asks.append(counted(failing_rows))

    def finish(table: Table, answers: Answers) -> Measured:
        if check.order:
            failing = table.count_out_of_order(selected, check.columns[0], check.order)
        elif check.unique_by:
            failing = table.group_sizes(selected, check.unique_by)[1]
        else:
            failing = answers[asks[2]]
        sample: list[Any] = []
        if failing:
            sample = _sample(table, check, selected, failing_rows)
        return Measured(rows=answers[asks[0]], looked_at=answers[asks[1]], failing=failing, sample=tuple(sample))

    return Plan(asks=tuple(asks), finish=finish)


def _sample(table: Table, check: RowCheck, selected: str, failing_rows: str) -> list[Any]:
    if check.order:
        return table.sample_out_of_order(selected, check.columns[0], check.order)
    select = ", ".join(column.sql for column in check.columns)
    if check.unique_by:
        found = table.rows(select, selected, f"GROUP BY ALL HAVING count(*) > 1 LIMIT {SAMPLE_SIZE}")
    else:
        found = table.rows(select, failing_rows, f"LIMIT {SAMPLE_SIZE}")
    if len(check.columns) == 1:
        return [row[0] for row in found]
    if check.is_pair:
        return list(found)
    names = [column.name for column in check.columns]
    return [dict(zip(names, row, strict=True)) for row in found]


def _aggregate(
    metric: str, render: Callable[[Column], str], kinds: frozenset[ColumnKind], empty: object = None
) -> Callable[[Mapping[str, Any], str, Columns], Plan]:
    """Return the plan of one aggregate of the values that are not missing."""

    def build(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
        column = _of_kind(columns[arguments.get("column")], kinds)
        ask = render(column) + _filter(condition)

        def finish(_: Table, answers: Answers) -> Measured:
            value = answers[ask]
            if column.kind is ColumnKind.INTEGER and isinstance(value, Decimal):
                value = int(value)  # A sum has 128 bits, for which Arrow has decimals only.
            return Measured(rows=answers[counted(condition)], metrics={metric: empty if value is None else value})

        return Plan(asks=(counted(condition), ask), finish=finish)

    return build


def _filter(condition: str) -> str:
    return "" if condition == "TRUE" else f" FILTER (WHERE {condition})"


def _of_kind(column: Column, kinds: frozenset[ColumnKind]) -> Column:
    if column.kind not in kinds:
        msg = f"{column.name!r:.100} holds {column.kind.value}, for which the check has no SQL"
        raise NoSqlError(msg)
    return column


def _end(function: str) -> Callable[[Column], str]:
    return lambda column: f"{function}({column.sql}{_as_time(column)})"


def _as_time(column: Column) -> str:
    return "::TIMESTAMP" if column.kind is ColumnKind.TIME else ""  # A date is the time at which it begins.


def _mean(column: Column) -> str:
    return f"avg({column.sql}::DOUBLE)"


def _deviation(column: Column) -> str:
    return f"stddev_samp({column.sql}::DOUBLE)"


def _sum(column: Column) -> str:
    return f"sum({column.sql}{'' if column.kind is ColumnKind.INTEGER else '::DOUBLE'})"


def _present(arguments: Mapping[str, Any], condition: str, columns: Columns) -> tuple[Column, str]:
    column = columns[arguments.get("column")]
    return column, all_of(condition, f"NOT ({column.is_missing})")


def _non_null_share(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    _, present = _present(arguments, condition, columns)

    def finish(_: Table, answers: Answers) -> Measured:
        rows = answers[counted(condition)]
        share = answers[counted(present)] / rows if rows else 0
        return Measured(rows=rows, metrics={"column.non_null_proportion": share})

    return Plan(asks=(counted(condition), counted(present)), finish=finish)


def _distinct_count(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, _COMPARABLE)

    def finish(table: Table, answers: Answers) -> Measured:
        values = answers[counted(present)]
        distinct = table.group_sizes(present, (column,))[0]
        return Measured(
            rows=answers[counted(condition)],
            metrics={
                "column.distinct_values.count": distinct,
                "column.unique_proportion": distinct / values if values else 0,
            },
        )

    return Plan(asks=(counted(condition), counted(present)), finish=finish)


def _distinct_set(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, _COMPARABLE)
    wanted = arguments.get("value_set")
    values = column.values(wanted)
    if not values or not isinstance(wanted, (list, tuple)) or len(values) != len(wanted):
        msg = "the set is empty, or holds a missing value"
        raise NoSqlError(msg)
    members = ", ".join(values)
    outside = all_of(present, f"{column.sql} NOT IN ({members})")
    inside = all_of(present, f"{column.sql} IN ({members})")
    asks = (
        counted(condition),
        f"count(DISTINCT {column.sql}) FILTER (WHERE {outside})",
        f"list(DISTINCT {column.sql}{_as_time(column)}) FILTER (WHERE {inside})",
        f"list_distinct([{members}])",
    )

    def finish(table: Table, answers: Answers) -> Measured:
        unexpected = answers[asks[1]]
        found, all_members = answers[asks[2]] or [], answers[asks[3]]
        missing = [member for member in all_members if member not in found]
        sample = []
        if unexpected:
            sample = [
                row[0] for row in table.rows(f"DISTINCT {column.sql}", outside, f"ORDER BY 1 LIMIT {SAMPLE_SIZE}")
            ]
        return Measured(
            rows=answers[counted(condition)],
            metrics={
                "column.distinct_values.not_in_set.count": unexpected,
                "column.distinct_values.not_in_set": sample,
                "column.distinct_values.missing_from_column.count": len(missing),
                "column.distinct_values.missing_from_column": missing[:SAMPLE_SIZE],
            },
        )

    return Plan(asks=asks, finish=finish)


def _most_common(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, MACHINE_NUMBERS | {ColumnKind.TEXT, ColumnKind.BOOLEAN})
    members = ", ".join(column.values(arguments.get("value_set") or []))

    def finish(table: Table, answers: Answers) -> Measured:
        _, _, largest = table.group_sizes(present, (column,))
        first = f"{column.sql} IN ({members}) DESC, " if members else ""
        ties = table.rows(
            column.sql,
            present,
            f"GROUP BY ALL HAVING count(*) = {largest} ORDER BY {first}1 LIMIT {_MOST_TIES}",
        )
        return Measured(
            rows=answers[counted(condition)], metrics={"column.most_common_value": [row[0] for row in ties]}
        )

    return Plan(asks=(counted(condition),), finish=finish)


def _median(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, MACHINE_NUMBERS)

    def finish(table: Table, answers: Answers) -> Measured:
        (median,) = _quantiles(table, present, column, [0.5], method="midpoint", count=answers[counted(present)]) or [
            None
        ]
        return Measured(rows=answers[counted(condition)], metrics={"column.median": median})

    return Plan(asks=(counted(condition), counted(present)), finish=finish)


def _quantile_values(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, MACHINE_NUMBERS)
    ranges = arguments.get("quantile_ranges")
    shares = ranges.get("quantiles") if isinstance(ranges, Mapping) else None
    method = arguments.get("allow_relative_error") or "nearest"
    if method not in _RANKS or not isinstance(shares, (list, tuple)) or not all(_is_share(item) for item in shares):
        msg = "the quantiles are none that pandas knows"
        raise NoSqlError(msg)

    def finish(table: Table, answers: Answers) -> Measured:
        found = _quantiles(table, present, column, shares, method=method, count=answers[counted(present)])
        values = found or [math.nan for _ in shares]
        return Measured(rows=answers[counted(condition)], metrics={"column.quantile_values": values})

    return Plan(asks=(counted(condition), counted(present)), finish=finish)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _nearest(place: float) -> tuple[int, int, float]:
    return round(place), round(place), 0.0


def _linear(place: float) -> tuple[int, int, float]:
    return math.floor(place), math.ceil(place), place - math.floor(place)


def _midpoint(place: float) -> tuple[int, int, float]:
    return math.floor(place), math.ceil(place), 0.5


_RANKS: Mapping[str, Callable[[float], tuple[int, int, float]]] = {
    "nearest": _nearest,
    "linear": _linear,
    "midpoint": _midpoint,
    "lower": lambda place: (math.floor(place), math.floor(place), 0.0),
    "higher": lambda place: (math.ceil(place), math.ceil(place), 0.0),
}
"""Between which ranks a quantile lies, and how far from the first, by the names of ``numpy.quantile``."""


def _quantiles(
    table: Table, present: str, column: Column, shares: Sequence[float], *, method: str, count: int
) -> list[Any]:
    """Return quantiles as ``numpy.quantile`` defines them; of no values, nothing."""
    if not count:
        return []
    places = [_RANKS[method](share * (count - 1)) for share in shares]
    ranks = sorted({rank for low, high, _ in places for rank in (low, high)})
    values = dict(zip(ranks, table.order_statistics(present, column, ranks, count), strict=True))
    return [
        values[low] if low == high else values[low] + (values[high] - values[low]) * share
        for low, high, share in places
    ]


def _z_scores(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, MACHINE_NUMBERS)
    mean, deviation = _mean(column) + _filter(condition), _deviation(column) + _filter(condition)
    limit = arguments.get("threshold")
    number(limit)
    double = bool(arguments.get("double_sided", True))

    def finish(table: Table, answers: Answers) -> Measured:
        center, spread = answers[mean], answers[deviation]
        fails = "FALSE"
        if spread and not math.isnan(spread):
            score = f"(({column.sql} - {number(center)}) / {number(spread)})"
            below = f"abs({score}) < abs({number(limit)})" if double else f"{score} < {number(limit)}"
            fails = f"NOT ({below} OR isnan({score}))"
        return _afterwards(table, answers, column, condition=condition, present=present, fails=fails)

    return Plan(asks=(counted(condition), counted(present), mean, deviation), finish=finish)


def _outliers(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = _present(arguments, condition, columns)
    _of_kind(column, MACHINE_NUMBERS)
    mean, deviation = _mean(column) + _filter(condition), _deviation(column) + _filter(condition)
    method = arguments.get("method") or "iqr"
    multiplier = arguments.get("multiplier", 1.5)
    number(multiplier)
    if method not in {"iqr", "std"}:
        msg = f"method is {method!r:.20}"
        raise NoSqlError(msg)

    def finish(table: Table, answers: Answers) -> Measured:
        value, fails = column.sql, "FALSE"
        if method == "iqr":
            found = _quantiles(table, present, column, [0.25, 0.75], method="linear", count=answers[counted(present)])
            low, high = found or (math.nan, math.nan)
            if math.isfinite(low) and math.isfinite(high):
                width = multiplier * (high - low)
                fails = f"{value} < {number(float(low - width))} OR {value} > {number(float(high + width))}"
        else:
            center, spread = answers[mean], answers[deviation]
            if center is not None and spread is not None and math.isfinite(center) and math.isfinite(spread):
                width = multiplier * spread
                distance = f"abs({value} - {number(center)}) >= {number(float(width))}"
                fails = distance if width > 0 else f"{value} <> {number(center)}"
        return _afterwards(table, answers, column, condition=condition, present=present, fails=fails)

    return Plan(asks=(counted(condition), counted(present), mean, deviation), finish=finish)


def _afterwards(
    table: Table, answers: Answers, column: Column, *, condition: str, present: str, fails: str
) -> Measured:
    """Count and sample the rows that fail a condition which the first scan had to find."""
    failing, sample = 0, []
    if fails != "FALSE":
        where = all_of(present, fails)
        failing = table.rows("count(*)", where)[0][0]
        if failing:
            sample = [row[0] for row in table.rows(column.sql, where, f"LIMIT {SAMPLE_SIZE}")]
    return Measured(
        rows=answers[counted(condition)], looked_at=answers[counted(present)], failing=failing, sample=tuple(sample)
    )


def _row_count(_: Mapping[str, Any], condition: str, __: Columns) -> Plan:
    def finish(_: Table, answers: Answers) -> Measured:
        rows = answers[counted(condition)]
        return Measured(rows=rows, metrics={"table.row_count": rows})

    return Plan(asks=(counted(condition),), finish=finish)


def _names(_: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    def finish(_: Table, answers: Answers) -> Measured:
        names = list(columns)
        return Measured(
            rows=answers[counted(condition)], metrics={"table.columns": names, "table.column_count": len(names)}
        )

    return Plan(asks=(counted(condition),), finish=finish)


def _query(arguments: Mapping[str, Any], _: str, __: Columns) -> Plan:
    query = arguments.get("unexpected_rows_query")
    if not isinstance(query, str):
        msg = f"{query!r:.100} is no query"
        raise NoSqlError(msg)

    def finish(table: Table, answers: Answers) -> Measured:
        count, sample = table.count_query(query)
        metrics = {"unexpected_rows_query.row_count": count, "unexpected_rows_query.table": sample}
        return Measured(rows=answers["count(*)"], sample=tuple(sample), metrics=metrics)

    return Plan(asks=("count(*)",), finish=finish)


_COMPARABLE = frozenset(ColumnKind) - {ColumnKind.OTHER}
_PLANS: Mapping[str, Callable[[Mapping[str, Any], str, Columns], Plan]] = {
    "expect_column_min_to_be_between": _aggregate("column.min", _end("min"), NUMBERS | TIMES | {ColumnKind.TEXT}),
    "expect_column_max_to_be_between": _aggregate("column.max", _end("max"), NUMBERS | TIMES | {ColumnKind.TEXT}),
    "expect_column_mean_to_be_between": _aggregate("column.mean", _mean, NUMBERS),
    "expect_column_sum_to_be_between": _aggregate("column.sum", _sum, NUMBERS, empty=0),
    "expect_column_stdev_to_be_between": _aggregate("column.standard_deviation", _deviation, NUMBERS),
    "expect_column_median_to_be_between": _median,
    "expect_column_quantile_values_to_be_between": _quantile_values,
    "expect_column_proportion_of_non_null_values_to_be_between": _non_null_share,
    "expect_column_proportion_of_unique_values_to_be_between": _distinct_count,
    "expect_column_unique_value_count_to_be_between": _distinct_count,
    "expect_column_distinct_values_to_be_in_set": _distinct_set,
    "expect_column_distinct_values_to_contain_set": _distinct_set,
    "expect_column_distinct_values_to_equal_set": _distinct_set,
    "expect_column_most_common_value_to_be_in_set": _most_common,
    "expect_column_value_z_scores_to_be_less_than": _z_scores,
    "expect_column_values_to_not_be_outliers": _outliers,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count,
    "expect_table_column_count_to_be_between": _names,
    "expect_table_column_count_to_equal": _names,
    "expect_table_columns_to_match_ordered_list": _names,
    "expect_table_columns_to_match_set": _names,
    "expect_column_to_exist": _names,
    "unexpected_rows_expectation": _query,
}
