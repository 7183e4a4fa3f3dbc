"""How far a table has grown, by a column that grows with each row."""

from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.engines.sqlalchemy import open_source

if TYPE_CHECKING:
    from sqlalchemy import Engine


def highest(engine: "Engine", source: SqlSource, column: str) -> str | int | float | None:
    """Return the highest value of a column as JSON can hold it; ``None`` of a table without rows.

    :raises DatasetError: when there is no such table or column.
    :raises DatabaseUnavailableError: when the database does not answer.
    """
    found = _ask(engine, source, f"max({_quoted(engine, column)})", "", {})
    return found if found is None or isinstance(found, int | float) else str(found)


def count_rows(engine: "Engine", source: SqlSource, column: str, after: str | float | None, until: str | float) -> int:
    """Return how many rows have the column above ``after``, if that is not ``None``, and up to ``until``.

    :raises DatasetError: when there is no such table or column.
    :raises DatabaseUnavailableError: when the database does not answer.
    """
    name = _quoted(engine, column)
    condition = f"WHERE {name} <= :until" + ("" if after is None else f" AND {name} > :after")
    bounds = {"until": until} | ({} if after is None else {"after": after})
    return int(_ask(engine, source, "count(*)", condition, bounds))


def _ask(engine: "Engine", source: SqlSource, what: str, condition: str, values: dict[str, Any]) -> Any:
    from sqlalchemy import bindparam, text
    from sqlalchemy.types import NullType

    with open_source(engine, source) as opened:
        statement = f"SELECT {what} FROM ({opened.statement}) AS airflow_mlops_source {condition}"  # noqa: S608 - quoted
        # Without a type the database reads a value as one of the column's, such as a time out of its text.
        typed = [bindparam(name, value, type_=NullType()) for name, value in values.items()]
        return opened.connection.execute(text(statement).bindparams(*typed)).scalar()


def _quoted(engine: "Engine", column: str) -> str:
    return str(engine.dialect.identifier_preparer.quote(column))
