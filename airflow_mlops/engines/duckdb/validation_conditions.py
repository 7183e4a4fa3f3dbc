"""``row_condition`` of an expectation as SQL: every form that Great Expectations takes, as pandas' ``query`` means it.

- The mappings into which ``Column("n") > 1`` is stored, with ``and`` and ``or``.
- ``condition_parser: great_expectations``: ``col("n") > 1``, ``col("n").notNull()``.
- ``condition_parser: pandas``: comparisons of a column with a value, ``in`` and ``not in`` a list, joined by ``and``,
  ``or`` and ``not``. Anything else that pandas can evaluate has no SQL here.

A missing value equals nothing: ``!=`` is true for it, as in pandas, and every other comparison false.
"""

import ast
from collections.abc import Mapping
from typing import Any

from airflow_mlops.engines.duckdb.validation_columns import Columns, NoSqlError

_OPERATORS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "IN",
    ast.NotIn: "NOT_IN",
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def condition_sql(condition: object, columns: Columns) -> str:
    """Return the SQL of a row condition, which is true or false and never NULL.

    :raises NoSqlError: when it has none.
    """
    if isinstance(condition, Mapping):
        return _stored(condition, columns)
    if not isinstance(condition, str):
        msg = f"{condition!r:.100} is no row condition"
        raise NoSqlError(msg)
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        msg = f"the row condition {condition!r:.100} is more than comparisons of columns with values"
        raise NoSqlError(msg) from error
    return _parsed(tree, columns)


def _stored(condition: Mapping[str, Any], columns: Columns) -> str:
    kind = condition.get("type")
    if kind in {"and", "or"} and isinstance(condition.get("conditions"), list):
        return _joined(kind, [_stored(item, columns) for item in condition["conditions"]])
    if kind == "pass_through":
        return condition_sql(condition.get("pass_through_filter"), columns)
    column = condition.get("column")
    name = column.get("name") if isinstance(column, Mapping) else column
    if kind == "nullity":
        missing = columns[name].is_missing
        return f"({missing})" if condition.get("is_null") else f"(NOT ({missing}))"
    if kind == "comparison":
        return _comparison(columns, name, str(condition.get("operator")), condition.get("parameter"))
    msg = f"the row condition {condition!r:.100} is of no known type"
    raise NoSqlError(msg)


def _parsed(node: ast.expr, columns: Columns) -> str:
    if isinstance(node, ast.BoolOp):
        word = "and" if isinstance(node.op, ast.And) else "or"
        return _joined(word, [_parsed(value, columns) for value in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        return f"(NOT {_parsed(node.operand, columns)})"
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
        word = "and" if isinstance(node.op, ast.BitAnd) else "or"
        return _joined(word, [_parsed(node.left, columns), _parsed(node.right, columns)])
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and (sign := _OPERATORS.get(type(node.ops[0]))):
        left, right = node.left, node.comparators[0]
        if _column_name(left) is None and sign in _MIRRORED:
            left, right, sign = right, left, _MIRRORED[sign]
        return _comparison(columns, _column_name(left), sign, _constant(right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        missing = columns[_column_name(node.func.value)].is_missing
        if node.func.attr.lower() in {"notnull", "notna"}:
            return f"(NOT ({missing}))"
        if node.func.attr in {"isnull", "isna"}:
            return f"({missing})"
    msg = f"the row condition holds {ast.unparse(node)!r:.100}, which is no comparison of a column with a value"
    raise NoSqlError(msg)


def _column_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "col" and len(node.args) == 1:
        argument = node.args[0]
        return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None
    return None


def _constant(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        msg = f"the row condition compares with {ast.unparse(node)!r:.100}, which is no value"
        raise NoSqlError(msg) from error


def _comparison(columns: Columns, name: object, sign: str, value: object) -> str:
    column = columns[name]
    if sign in {"IN", "NOT_IN"}:
        values = column.values(value)
        found = f"coalesce({column.sql} IN ({', '.join(values)}), FALSE)" if values else "FALSE"
        return found if sign == "IN" else f"(NOT {found})"
    if sign == "==":
        return f"({column.sql} IS NOT DISTINCT FROM {column.value(value)})"
    if sign == "!=":
        return f"({column.sql} IS DISTINCT FROM {column.value(value)})"
    if sign not in _MIRRORED:
        msg = f"the row condition has the operator {sign!r:.20}"
        raise NoSqlError(msg)
    return f"coalesce({column.sql} {sign} {column.value(value)}, FALSE)"


def _joined(word: str, parts: list[str]) -> str:
    if not parts:
        msg = f"the row condition has an empty {word!r}"
        raise NoSqlError(msg)
    return f"({f' {word.upper()} '.join(parts)})"
