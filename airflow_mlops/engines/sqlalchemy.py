"""SQLAlchemy: what a query finds, in batches of bounded size, out of one read-only transaction.

A PostgreSQL database tells the type of every column, so that the same query has the same types each day. Others, as
far as they do not, have the types of the values that come. Nothing is converted in secret: NUMERIC without a precision
becomes DOUBLE, JSON and UUID become text, and what a snapshot cannot hold is an error that says so.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.sql import SqlColumn, SqlRows, SqlSource
from airflow_mlops.domain.timeliness import FoundTimes
from airflow_mlops.exceptions import DatabaseUnavailableError, DatasetError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BATCH_ROWS = 10_000
"""Rows that are in memory at once; as many again wait at the driver."""

_MAX_DIGITS = 38
_VERBATIM = {"no_parameters": True}
"""An author's SQL may have percent signs, which drivers take for parameters."""
_SAMPLE_ROWS = 100
"""Rows that are fetched ahead where samples are all that is wanted."""
# The OIDs of pg_type.dat, which never change, to names of Arrow types.
_POSTGRESQL_TYPES: Mapping[int, str] = {
    16: "bool", 17: "binary", 18: "string", 19: "string", 20: "int64", 21: "int16", 23: "int32", 25: "string",
    26: "int64", 114: "json", 700: "float", 701: "double", 1042: "string", 1043: "string", 1082: "date32",
    1083: "time64[us]", 1114: "timestamp[us]", 1184: "timestamp[us, tz=UTC]", 2950: "string", 3802: "json",
}  # fmt: skip
_POSTGRESQL_NUMERIC = 1700


def select_statement(engine: "Engine", source: SqlSource) -> str:
    """Return the SQL that reads a source. The names of a table are quoted where they must be."""
    if source.query:
        return source.query
    preparer = engine.dialect.identifier_preparer
    return "SELECT * FROM " + ".".join(preparer.quote(part) for part in source.table.split("."))  # noqa: S608 - quoted


@contextlib.contextmanager
def stream(engine: "Engine", source: SqlSource, *, batch_rows: int = BATCH_ROWS) -> Iterator[SqlRows]:
    """Run the source's query in a read-only transaction that sees one state of the database, and give its rows.

    :raises DatasetError: when the database refuses the query, or two columns have one name.
    :raises DatabaseUnavailableError: when the database does not answer.
    """
    with _errors(source), reading(engine) as connection:
        options = {"stream_results": True, "max_row_buffer": batch_rows, **_VERBATIM}
        result = connection.exec_driver_sql(select_statement(engine, source), execution_options=options)
        with result:
            if not result.returns_rows:
                msg = f"{source} has no rows: it must be a SELECT."
                raise DatasetError(msg)
            assert result.cursor is not None  # noqa: S101 - a result that returns rows has one
            columns = _columns(engine.dialect.name, result.cursor.description, source)
            yield SqlRows(columns=columns, batches=result.partitions(batch_rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSource:
    """A source inside an open transaction, for what is asked of it there."""

    engine: "Engine"
    """Reads results through a cursor of the server, so that a result that nobody fetches costs nothing."""
    connection: "Connection"
    statement: str
    columns: tuple[SqlColumn, ...]

    def ask(self, select: str) -> tuple[Any, ...]:
        """Return the one row that ``select`` finds, in which ``{source}`` stands for the source's rows."""
        statement = select.replace("{source}", f"({self.statement}\n) AS airflow_mlops_source")
        row = self.connection.exec_driver_sql(statement, execution_options=_VERBATIM).one()
        return tuple(row)

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query in this transaction. They are in memory, so let them be few."""
        found = self.connection.exec_driver_sql(statement, execution_options=_VERBATIM)
        return [tuple(row) for row in found]

    def find_times(self, column: str, start: datetime, end: datetime) -> FoundTimes:
        """Return the newest time before ``end`` in a column, and how many rows lie from ``start`` to before ``end``.

        :raises DatasetError: when there is no such column, or what is in it is no time.
        """
        if column not in {item.name for item in self.columns}:
            msg = f"There is no time column {column!r}. There is: {', '.join(item.name for item in self.columns)}."
            raise DatasetError(msg)
        kind = next(item.type for item in self.columns if item.name == column)
        name = self.quoted(column)
        first, last = (_time_literal(time, kind, self.engine.dialect.name) for time in (start, end))
        if self.engine.dialect.name == "sqlite":
            name = f"datetime({name})"  # Its times are texts in several forms, which this makes one, in UTC.
        newest, rows = self.ask(
            f"SELECT max(CASE WHEN {name} < {last} THEN {name} END), "  # noqa: S608 - quoted
            f"sum(CASE WHEN {name} < {last} AND {name} >= {first} THEN 1 ELSE 0 END) FROM {{source}}"
        )
        return FoundTimes(newest=_utc(newest, column), rows=int(rows or 0))

    def require_alive(self) -> None:
        """Ask whether the database is still there.

        :raises DatabaseUnavailableError: through :func:`open_source`, when it is not.
        """
        self.connection.rollback()  # A query that failed may have left the transaction unusable.
        self.connection.exec_driver_sql("SELECT 1")

    def quoted(self, column: str) -> str:
        """Return a column's name as this database writes it."""
        quoted: str = self.engine.dialect.identifier_preparer.quote_identifier(column)
        return quoted


def _time_literal(time: datetime, kind: str, dialect: str) -> str:
    text = time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if dialect == "sqlite":
        return f"'{text}'"
    return f"TIMESTAMP WITH TIME ZONE '{text}+00'" if "tz" in kind else f"TIMESTAMP '{text}'"


def _utc(value: Any, column: str) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except (AttributeError, ValueError) as error:
        msg = f"The time column {column!r} has values such as {value!r:.100}, which are no times."
        raise DatasetError(msg) from error
    return utc(time)


@contextlib.contextmanager
def open_source(engine: "Engine", source: SqlSource) -> Iterator[OpenSource]:
    """Open a source in a read-only transaction that sees one state of the database, without reading its rows.

    :raises DatasetError: when the database refuses the query, or two columns have one name.
    :raises DatabaseUnavailableError: when the database does not answer.
    """
    lazy = engine.execution_options(stream_results=True, max_row_buffer=_SAMPLE_ROWS)
    with _errors(source), reading(lazy) as connection, _closing_cursors(engine):
        statement = select_statement(engine, source)
        head = f"SELECT * FROM ({statement}\n) AS airflow_mlops_source WHERE 1 = 0"  # noqa: S608 - the author's
        with connection.exec_driver_sql(head, execution_options=_VERBATIM) as result:
            assert result.cursor is not None  # noqa: S101 - a result that returns rows has one
            description = result.cursor.description
        columns = _columns(engine.dialect.name, description, source)
        if engine.dialect.name == "postgresql":
            columns = _with_enums(connection, columns, [item[1] for item in description])
        yield OpenSource(engine=lazy, connection=connection, statement=statement, columns=columns)


@contextlib.contextmanager
def _closing_cursors(engine: "Engine") -> Iterator[None]:
    """Close the cursors that others open on this engine and leave open, before their connection goes."""
    from sqlalchemy import event

    cursors: list[Any] = []

    def remember(_connection: Any, cursor: Any, *_: Any) -> None:
        cursors.append(cursor)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", remember)
        for cursor in cursors:
            with contextlib.suppress(Exception):  # It is closed, or its connection is lost.
                cursor.close()


@contextlib.contextmanager
def reading(engine: "Engine") -> Iterator["Connection"]:
    """Give a connection inside a transaction that reads one state of the database, and cannot write where it can tell.

    A single statement sees one state anyway; REPEATABLE READ makes it so for all that run here.
    """
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql("BEGIN")  # The driver begins a transaction only for what writes.
        try:
            yield connection
        finally:
            with contextlib.suppress(Exception):  # A lost connection cannot be tidied, and its own error tells more.
                connection.rollback()
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA query_only = OFF")


def _columns(dialect: str, description: Sequence[Any], source: SqlSource) -> tuple[SqlColumn, ...]:
    names = [str(item[0]) for item in description]
    if doubled := [name for name in names if names.count(name) > 1]:
        msg = f"{source} has the column {doubled[0]!r} twice. Name each once, by AS."
        raise DatasetError(msg)
    return tuple(SqlColumn(name=str(item[0]), type=_type(dialect, item)) for item in description)


def _with_enums(
    connection: "Connection", columns: tuple[SqlColumn, ...], codes: Sequence[Any]
) -> tuple[SqlColumn, ...]:
    """Return columns of enumerations and of ``citext`` as the texts that they are: each database numbers them anew."""
    unknown = {code for column, code in zip(columns, codes, strict=True) if not column.type}
    if not unknown:
        return columns
    statement = (
        f"SELECT oid FROM pg_type WHERE oid IN ({', '.join(map(str, sorted(unknown)))}) "  # noqa: S608 - numbers
        "AND (typtype = 'e' OR typname = 'citext')"
    )
    texts = set(connection.exec_driver_sql(statement, execution_options=_VERBATIM).scalars())
    return tuple(
        replace(column, type="string") if code in texts else column for column, code in zip(columns, codes, strict=True)
    )


def _type(dialect: str, item: Any) -> str:
    code, precision, scale = item[1], item[4], item[5]
    if dialect == "postgresql" and code != _POSTGRESQL_NUMERIC:
        return _POSTGRESQL_TYPES.get(code, "")
    if dialect == "postgresql":
        fits = precision is not None and 0 < precision <= _MAX_DIGITS and scale is not None and 0 <= scale <= precision
        return f"decimal128({precision}, {scale})" if fits else "double"
    return ""


@contextlib.contextmanager
def _errors(source: SqlSource) -> Iterator[None]:
    """Tell a query that is wrong from a database that is away. Neither message carries the connection's password."""
    import sqlalchemy.exc as errors

    try:
        yield
    except (errors.OperationalError, errors.InterfaceError) as error:
        reason = _reason(error)
        if _is_refusal(error):
            msg = f"{source} cannot be read: {reason}"
            raise DatasetError(msg) from error
        msg = f"The database of the connection {source.conn_id!r} does not answer as it should: {reason}"
        raise DatabaseUnavailableError(msg) from error
    except errors.DBAPIError as error:
        if error.connection_invalidated:
            msg = f"The database of the connection {source.conn_id!r} went away: {_reason(error)}"
            raise DatabaseUnavailableError(msg) from error
        msg = f"{source} cannot be read: {_reason(error)}"
        raise DatasetError(msg) from error


def _is_refusal(error: Any) -> bool:
    """Whether SQLite, for which everything is an operational error, refuses the query and not the file."""
    text = str(error.orig)
    return type(error.orig).__module__ == "sqlite3" and not any(
        word in text for word in ("locked", "unable to open", "disk I/O", "busy")
    )


def _reason(error: Any) -> str:
    return " ".join(str(error.orig).split())[:500]
