"""Expectations on rows as SQL: which rows they look at, which of those fail, and which values show it.

Each means what Great Expectations' own check on pandas means: missing values are left out where it leaves them out,
and a comparison with a missing value fails where it fails.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_mlops.domain.validation import Expectation
from airflow_mlops.engines.duckdb.connection import identifier, literal
from airflow_mlops.engines.duckdb.validation_columns import (
    MACHINE_NUMBERS,
    NUMBERS,
    TIMES,
    Column,
    ColumnKind,
    Columns,
    NoSqlError,
    number,
    with_nan,
)
from airflow_mlops.engines.duckdb.validation_conditions import condition_sql
from airflow_mlops.engines.duckdb.validation_regex import to_re2

_MOST_PAIRS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCheck:
    """An expectation on rows. Its SQL stands for the relation's columns by their names; none of it is ever NULL."""

    condition: str
    """Which rows count at all: ``row_condition``."""
    domain: str
    """Which of them are looked at, such as those whose value is not missing."""
    fails: str
    """Which of those fail; empty when that takes a look at other rows, too."""
    columns: tuple[Column, ...]
    is_pair: bool = False
    unique_by: tuple[Column, ...] = ()
    """Those whose values must not occur twice together."""
    order: str = ""
    """Compares ``value`` with the ``previous`` one; empty when the order of rows does not matter."""


def failing_predicate(expectation: Expectation, types: Mapping[str, str], relation: str) -> str | None:
    """Return the SQL condition that is true for the rows of a relation that do not meet an expectation, else false.

    :param types: the type of each column, as DuckDB writes it.
    :param relation: Parquet files as they stand behind ``FROM``; looked at for expectations of unique values.

    ``None``: the expectation is not one on single rows, or only Python can check it.
    """
    try:
        check = row_check(expectation, Columns(types))
    except NoSqlError:
        return None
    if check is None or check.order:
        return None
    selected = f"({check.condition}) AND ({check.domain})"
    if not check.unique_by:
        return f"{selected} AND ({check.fails})"
    keys = ", ".join(column.sql for column in check.unique_by)
    same = " AND ".join(f"{column.sql} IS NOT DISTINCT FROM {_key(i)}" for i, column in enumerate(check.unique_by))
    names = ", ".join(f"{column.sql} AS {_key(i)}" for i, column in enumerate(check.unique_by))
    table = with_nan(relation, types, names, selected)
    doubles = f"SELECT {names} FROM {table} WHERE {selected} GROUP BY {keys} HAVING count(*) > 1"  # noqa: S608 - quoted
    return f"{selected} AND EXISTS (FROM ({doubles}) WHERE {same})"


def _key(index: int) -> str:
    return identifier(f"airflow_mlops_key_{index}")


def row_check(expectation: Expectation, columns: Columns) -> RowCheck | None:
    """Return an expectation as SQL, or ``None`` when it is not one on rows.

    :raises NoSqlError: when it is, but SQL cannot check it as pandas does.
    """
    build = _BUILDERS.get(expectation.type)
    if build is None:
        return None
    condition = row_condition(expectation, columns)
    arguments = expectation.kwargs
    if "column_list" in arguments:
        return _several(build, condition, arguments, columns)
    if "column_A" in arguments:
        return _pair(build, condition, arguments, columns)
    column = columns[arguments.get("column")]
    if expectation.type in _ORDERS:
        return RowCheck(
            condition=condition,
            domain=f"NOT ({column.is_missing})",
            fails="",
            columns=(column,),
            order=build(arguments, column),
        )
    if expectation.type == "expect_column_values_to_be_unique":
        _comparable(column)
        return RowCheck(
            condition=condition, domain=f"NOT ({column.is_missing})", fails="", columns=(column,), unique_by=(column,)
        )
    everywhere = expectation.type in _ON_MISSING
    return RowCheck(
        condition=condition,
        domain="TRUE" if everywhere else f"NOT ({column.is_missing})",
        fails=build(arguments, column),
        columns=(column,),
    )


def row_condition(expectation: Expectation, columns: Columns) -> str:
    """Return the SQL of ``row_condition``; of an expectation without one, ``TRUE``."""
    condition = expectation.kwargs.get("row_condition")
    return condition_sql(condition, columns) if condition else "TRUE"


def between(value: str, arguments: Mapping[str, Any], render: Callable[[Any], str]) -> str:
    """Return the SQL of a value that is out of ``min_value`` and ``max_value``."""
    least, most = arguments.get("min_value"), arguments.get("max_value")
    if least is None and most is None:
        msg = "min_value and max_value cannot both be None"
        raise NoSqlError(msg)
    if least is not None and most is not None:
        try:
            swapped = least > most
        except TypeError as error:
            msg = "min_value and max_value are not of one type"
            raise NoSqlError(msg) from error
        if swapped:
            msg = "min_value is greater than max_value"
            raise NoSqlError(msg)
    failing = []
    if least is not None:
        failing.append(f"{value} {'<=' if arguments.get('strict_min') else '<'} {render(least)}")
    if most is not None:
        failing.append(f"{value} {'>=' if arguments.get('strict_max') else '>'} {render(most)}")
    return " OR ".join(failing)


def _within(arguments: Mapping[str, Any], column: Column) -> str:
    if column.kind not in NUMBERS | TIMES | {ColumnKind.TEXT}:
        raise _unfit(column)
    return between(column.sql, arguments, column.value)


def _in_set(arguments: Mapping[str, Any], column: Column) -> str:
    if arguments.get("value_set") is None:
        return "FALSE"
    values = column.values(arguments["value_set"])
    return f"{column.sql} NOT IN ({', '.join(values)})" if values else "TRUE"


def _not_in_set(arguments: Mapping[str, Any], column: Column) -> str:
    if arguments.get("value_set") is None:
        return "FALSE"
    values = column.values(arguments["value_set"])
    return f"{column.sql} IN ({', '.join(values)})" if values else "FALSE"


def _length(column: Column) -> str:
    return f"length({_text(column)})"


def _length_between(arguments: Mapping[str, Any], column: Column) -> str:
    return between(_length(column), arguments, number)


def _length_equal(arguments: Mapping[str, Any], column: Column) -> str:
    return f"{_length(column)} <> {number(arguments.get('value'))}"


def _text(column: Column) -> str:
    """Return the value as Python's ``str`` writes it; other types are written otherwise in DuckDB."""
    if column.kind is ColumnKind.TEXT:
        return column.sql
    if column.kind is ColumnKind.INTEGER:
        return f"{column.sql}::VARCHAR"
    raise _unfit(column)


def _regexes(arguments: Mapping[str, Any], column: Column) -> list[str]:
    patterns = arguments["regex_list"] if "regex_list" in arguments else [arguments.get("regex", "(?s).*")]
    if not isinstance(patterns, (list, tuple)) or not patterns:
        msg = f"{patterns!r:.100} is no list of regular expressions"
        raise NoSqlError(msg)
    return [f"regexp_matches({_text(column)}, {literal(to_re2(pattern))})" for pattern in patterns]


def _likes(arguments: Mapping[str, Any], column: Column) -> list[str]:
    if column.kind is not ColumnKind.TEXT:
        raise _unfit(column)
    patterns = arguments["like_pattern_list"] if "like_pattern_list" in arguments else [arguments.get("like_pattern")]
    escape = arguments.get("escape")
    if not isinstance(patterns, (list, tuple)) or not patterns or not all(isinstance(item, str) for item in patterns):
        msg = f"{patterns!r:.100} is no list of LIKE patterns"
        raise NoSqlError(msg)
    suffix = f" ESCAPE {literal(escape)}" if isinstance(escape, str) and escape else ""
    return [f"{column.sql} LIKE {literal(pattern)}{suffix}" for pattern in patterns]


def _matching(
    found: Callable[[Mapping[str, Any], Column], list[str]],
) -> Callable[[Mapping[str, Any], Column], str]:
    def fails(arguments: Mapping[str, Any], column: Column) -> str:
        match_on = arguments.get("match_on") or "any"
        if match_on not in {"any", "all"}:
            msg = f"match_on is {match_on!r:.20}"
            raise NoSqlError(msg)
        return f"NOT ({(' OR ' if match_on == 'any' else ' AND ').join(found(arguments, column))})"

    return fails


def _not_matching(
    found: Callable[[Mapping[str, Any], Column], list[str]],
) -> Callable[[Mapping[str, Any], Column], str]:
    return lambda arguments, column: " OR ".join(found(arguments, column))


def _ordered(sign: str) -> Callable[[Mapping[str, Any], Column], str]:
    def fails(arguments: Mapping[str, Any], column: Column) -> str:
        if column.kind not in NUMBERS | TIMES:
            raise _unfit(column)
        wrong = sign if not arguments.get("strictly") else f"{sign}="
        # pandas looks at the difference, and inf - inf is none.
        both_infinite = " AND NOT (isinf(value) AND value = previous)" if column.kind is ColumnKind.FLOAT else ""
        return f"value {wrong} previous{both_infinite}"

    return fails


def _pair(build: Callable[..., str], condition: str, arguments: Mapping[str, Any], columns: Columns) -> RowCheck:
    first, second = columns[arguments.get("column_A")], columns[arguments.get("column_B")]
    rule = arguments.get("ignore_row_if") or "both_values_are_missing"
    domains = {
        "both_values_are_missing": f"NOT ({first.is_missing} AND {second.is_missing})",
        "either_value_is_missing": f"NOT ({first.is_missing} OR {second.is_missing})",
        "neither": "TRUE",
    }
    if rule not in domains:
        msg = f"ignore_row_if is {rule!r:.50}"
        raise NoSqlError(msg)
    return RowCheck(
        condition=condition,
        domain=domains[rule],
        fails=build(arguments, first, second),
        columns=(first, second),
        is_pair=True,
    )


def _pair_equal(_: Mapping[str, Any], first: Column, second: Column) -> str:
    _comparable(first, second)
    return f"NOT coalesce({first.sql} = {second.sql}, FALSE)"


def _pair_greater(arguments: Mapping[str, Any], first: Column, second: Column) -> str:
    _comparable(first, second)
    return f"NOT coalesce({first.sql} {'>=' if arguments.get('or_equal') else '>'} {second.sql}, FALSE)"


def _pair_in_set(arguments: Mapping[str, Any], first: Column, second: Column) -> str:
    pairs = arguments.get("value_pairs_set")
    if pairs is None:
        return "FALSE"
    if not isinstance(pairs, (list, tuple)) or not pairs or len(pairs) > _MOST_PAIRS:
        msg = f"value_pairs_set is no list of 1 to {_MOST_PAIRS} pairs"
        raise NoSqlError(msg)
    _comparable(first)
    _comparable(second)
    allowed = [
        f"({first.sql} IS NOT DISTINCT FROM {_or_null(first, pair[0])}"
        f" AND {second.sql} IS NOT DISTINCT FROM {_or_null(second, pair[1])})"
        for pair in pairs
    ]
    return f"NOT ({' OR '.join(allowed)})"


def _or_null(column: Column, value: object) -> str:
    return "NULL" if value is None else column.value(value)


def _several(build: Callable[..., str], condition: str, arguments: Mapping[str, Any], columns: Columns) -> RowCheck:
    names = arguments["column_list"]
    if not isinstance(names, (list, tuple)) or not names:
        msg = f"{names!r:.100} is no list of columns"
        raise NoSqlError(msg)
    found = tuple(columns[name] for name in names)
    missing = [column.is_missing for column in found]
    rule = arguments.get("ignore_row_if") or "all_values_are_missing"
    domains = {
        "all_values_are_missing": f"NOT ({' AND '.join(missing)})",
        "any_value_is_missing": f"NOT ({' OR '.join(missing)})",
        "never": "TRUE",
    }
    if rule not in domains:
        msg = f"ignore_row_if is {rule!r:.50}"
        raise NoSqlError(msg)
    if build is _compound:
        for column in found:
            _comparable(column)
        return RowCheck(condition=condition, domain=domains[rule], fails="", columns=found, unique_by=found)
    return RowCheck(condition=condition, domain=domains[rule], fails=build(arguments, found), columns=found)


def _compound(*_: object) -> str:
    return ""


def _sum_equal(arguments: Mapping[str, Any], columns: tuple[Column, ...]) -> str:
    if any(column.kind not in MACHINE_NUMBERS for column in columns):
        raise _unfit(*columns)
    whole = all(column.kind is ColumnKind.INTEGER for column in columns)
    total = " + ".join(f"{column.sql}::{'HUGEINT' if whole else 'DOUBLE'}" for column in columns)
    return f"NOT coalesce({total} = {number(arguments.get('sum_total'))}, FALSE)"


def _all_equal(_: Mapping[str, Any], columns: tuple[Column, ...]) -> str:
    _comparable(*columns)
    reference = columns[0].sql
    return " OR ".join(f"{column.sql} IS DISTINCT FROM {reference}" for column in columns[1:]) or "FALSE"


def _all_different(_: Mapping[str, Any], columns: tuple[Column, ...]) -> str:
    _comparable(*columns)
    pairs = itertools.combinations(columns, 2)
    return " OR ".join(f"{one.sql} IS NOT DISTINCT FROM {other.sql}" for one, other in pairs) or "FALSE"


def _comparable(*columns: Column) -> None:
    kinds = {column.kind for column in columns}
    if ColumnKind.OTHER in kinds or not (len(kinds) == 1 or kinds <= NUMBERS):
        raise _unfit(*columns)


def _unfit(*columns: Column) -> NoSqlError:
    found = ", ".join(f"{column.name!r:.100} holds {column.kind.value}" for column in columns[:5])
    return NoSqlError(f"{found}, for which the check has no SQL")


_ORDERS = frozenset({"expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing"})
_ON_MISSING = frozenset({"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"})
_BUILDERS: Mapping[str, Callable[..., str]] = {
    "expect_column_values_to_be_null": lambda _, column: f"NOT ({column.is_missing})",
    "expect_column_values_to_not_be_null": lambda _, column: column.is_missing,
    "expect_column_values_to_be_unique": _compound,
    "expect_column_values_to_be_between": _within,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_value_lengths_to_be_between": _length_between,
    "expect_column_value_lengths_to_equal": _length_equal,
    "expect_column_values_to_match_regex": _matching(_regexes),
    "expect_column_values_to_match_regex_list": _matching(_regexes),
    "expect_column_values_to_not_match_regex": _not_matching(_regexes),
    "expect_column_values_to_not_match_regex_list": _not_matching(_regexes),
    "expect_column_values_to_match_like_pattern": _matching(_likes),
    "expect_column_values_to_match_like_pattern_list": _matching(_likes),
    "expect_column_values_to_not_match_like_pattern": _not_matching(_likes),
    "expect_column_values_to_not_match_like_pattern_list": _not_matching(_likes),
    "expect_column_values_to_be_increasing": _ordered("<"),
    "expect_column_values_to_be_decreasing": _ordered(">"),
    "expect_column_pair_values_to_be_equal": _pair_equal,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair_greater,
    "expect_column_pair_values_to_be_in_set": _pair_in_set,
    "expect_compound_columns_to_be_unique": _compound,
    "expect_select_column_values_to_be_unique_within_record": _all_different,
    "expect_multicolumn_values_to_be_equal": _all_equal,
    "expect_multicolumn_sum_to_equal": _sum_equal,
}
