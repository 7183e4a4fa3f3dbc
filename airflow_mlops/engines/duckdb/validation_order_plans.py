"""Plans of expectations on the order and spread of numbers: median, quantiles, z-scores and outliers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_mlops.engines.duckdb.validation_columns import (
    MACHINE_NUMBERS,
    Column,
    Columns,
    NoSqlError,
    number,
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


def plan_median(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    """Return the plan of a median."""
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, MACHINE_NUMBERS)

    def finish(table: Table, answers: Answers) -> Measured:
        (median,) = _quantiles(table, present, column, [0.5], method="midpoint", count=answers[counted(present)]) or [
            None
        ]
        return Measured(rows=answers[counted(condition)], metrics={"column.median": median})

    return Plan(asks=(counted(condition), counted(present)), finish=finish)


def plan_quantile_values(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    """Return the plan of quantiles, as ``numpy.quantile`` defines them."""
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, MACHINE_NUMBERS)
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


def plan_z_scores(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    """Return the plan of values by their distance from the mean in standard deviations."""
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, MACHINE_NUMBERS)
    mean, deviation = mean_sql(column) + filtered(condition), deviation_sql(column) + filtered(condition)
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


def plan_outliers(arguments: Mapping[str, Any], condition: str, columns: Columns) -> Plan:
    """Return the plan of values beyond quartiles (Tukey's fences) or deviations."""
    column, present = present_rows(arguments, condition, columns)
    of_kind(column, MACHINE_NUMBERS)
    mean, deviation = mean_sql(column) + filtered(condition), deviation_sql(column) + filtered(condition)
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
            sample = [row[0] for row in table.sample(column.sql, where)]
    return Measured(
        rows=answers[counted(condition)], looked_at=answers[counted(present)], failing=failing, sample=tuple(sample)
    )
