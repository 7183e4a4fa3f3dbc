"""What each expectation asks of the one scan over the table, and how its figures follow from the answers.

A plan's ``asks`` are aggregates; those of all expectations go into one query, each written once. Only what one scan
cannot tell takes a query of its own afterwards: values that occur twice, order statistics, and samples of what fails.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from airflow_mlops.domain.validation import SAMPLE_SIZE, Expectation
from airflow_mlops.engines.duckdb.validation_columns import (
    MACHINE_NUMBERS,
    NUMBERS,
    TIMES,
    Column,
    ColumnKind,
    Columns,
    NoSqlError,
)
from airflow_mlops.engines.duckdb.validation_measures import (
    Answers,
    Measured,
    Plan,
    Table,
    all_of,
    counted,
    deviation_sql,
    filtered,
    mean_sql,
    of_kind,
    present_rows,
)
from airflow_mlops.engines.duckdb.validation_order_plans import (
    plan_median,
    plan_outliers,
    plan_quantile_values,
    plan_z_scores,
)
from airflow_mlops.engines.duckdb.validation_predicates import RowCheck, row_check, row_condition

_MOST_TIES = 1000


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
        if failing and check.fails == check.columns[0].is_missing:
            sample = [None] * min(failing, SAMPLE_SIZE)
        elif failing:
            sample = _sample(table, check, selected, failing_rows)
        return Measured(rows=answers[asks[0]], looked_at=answers[asks[1]], failing=failing, sample=tuple(sample))

    return Plan(asks=tuple(asks), finish=finish)


def _sample(table: Table, check: RowCheck, selected: str, failing_rows: str) -> list[Any]:
    if check.order:
        return table.sample_out_of_order(selected, check.columns[0], check.order)
    select = ", ".join(column.sql for column in check.columns)
    if check.unique_by:
        found = table.sample(select, selected, "GROUP BY ALL HAVING count(*) > 1")
    else:
        found = table.sample(select, failing_rows)
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
        column = of_kind(columns[arguments.get("column")], kinds)
        ask = render(column) + filtered(condition)

        def finish(_: Table, answers: Answers) -> Measured:
            value = answers[ask]
            if column.kind is ColumnKind.INTEGER and isinstance(value, Decimal):
                value = int(value)  # A sum has 128 bits, for which Arrow has decimals only.
            return Measured(rows=answers[counted(condition)], metrics={metric: empty if value is None else value})

        return Plan(asks=(counted(condition), ask), finish=finish)

    return build


def _end(function: str) -> Callable[[Column], str]:
    return lambda column: f"{function}({column.sql}{_as_time(column)})"


def _as_time(column: Column) -> str:
    return "::TIMESTAMP" if column.kind is ColumnKind.TIME else ""  # A date is the time at which it begins.


def _sum(column: Column) -> str:
    return f"sum({column.sql}{'' if column.kind is ColumnKind.INTEGER else '::DOUBLE'})"


def _non_null_share(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    _, present = present_rows(arguments, condition, columns)

    def finish(_: Table, answers: Answers) -> Measured:
        rows = answers[counted(condition)]
        share = answers[counted(present)] / rows if rows else 0
        return Measured(rows=rows, metrics={"column.non_null_proportion": share})

    return Plan(asks=(counted(condition), counted(present)), finish=finish)


def _distinct_count(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, _COMPARABLE)

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
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, _COMPARABLE)
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
            sample = [row[0] for row in table.sample(f"DISTINCT {column.sql}", outside, "ORDER BY 1")]
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
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, MACHINE_NUMBERS | {ColumnKind.TEXT, ColumnKind.BOOLEAN})
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
    "expect_column_mean_to_be_between": _aggregate("column.mean", mean_sql, NUMBERS),
    "expect_column_sum_to_be_between": _aggregate("column.sum", _sum, NUMBERS, empty=0),
    "expect_column_stdev_to_be_between": _aggregate("column.standard_deviation", deviation_sql, NUMBERS),
    "expect_column_median_to_be_between": plan_median,
    "expect_column_quantile_values_to_be_between": plan_quantile_values,
    "expect_column_proportion_of_non_null_values_to_be_between": _non_null_share,
    "expect_column_proportion_of_unique_values_to_be_between": _distinct_count,
    "expect_column_unique_value_count_to_be_between": _distinct_count,
    "expect_column_distinct_values_to_be_in_set": _distinct_set,
    "expect_column_distinct_values_to_contain_set": _distinct_set,
    "expect_column_distinct_values_to_equal_set": _distinct_set,
    "expect_column_most_common_value_to_be_in_set": _most_common,
    "expect_column_value_z_scores_to_be_less_than": plan_z_scores,
    "expect_column_values_to_not_be_outliers": plan_outliers,
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_row_count_to_equal": _row_count,
    "expect_table_column_count_to_be_between": _names,
    "expect_table_column_count_to_equal": _names,
    "expect_table_columns_to_match_ordered_list": _names,
    "expect_table_columns_to_match_set": _names,
    "expect_column_to_exist": _names,
    "unexpected_rows_expectation": _query,
}
