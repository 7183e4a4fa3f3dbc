"""Great Expectations on a database: every check is a query that runs there, and no row comes but failing samples.

All queries run on one connection, in one read-only transaction that sees one state of the database. Results are read
through a cursor of the server, since the library learns the columns of a query by ``SELECT *``, of which nothing is
fetched so.
"""

import contextlib
import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.sql import SqlColumn
from airflow_mlops.domain.validation import SAMPLE_SIZE, ExpectationOutcome, Suite
from airflow_mlops.engines.great_expectations import (
    BOUNDS,
    INDEX_KEY,
    build_all,
    lacking_columns,
    library_context,
    outcome_of,
    quietly,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_TIMES = ("date32", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlTable:
    """What is validated: a relation of an open transaction, and its columns."""

    engine: "Engine"
    connection: "Connection"
    statement: str
    columns: Sequence[SqlColumn]
    table: str = ""
    """``schema.table``, where it is one: the library knows the types of a table's columns, not of a query's."""


def run_suite_in_database(suite: Suite, table: SqlTable) -> tuple[ExpectationOutcome, ...]:
    """Return the outcome of every expectation, in the suite's order.

    :raises SuiteError: when the suite names an expectation or an argument that does not exist.
    """
    names = [column.name for column in table.columns]
    with quietly():
        configurations = build_all(suite)
        outcomes = lacking_columns(suite, names)
        chosen = [_prepare(item, table) for index, item in enumerate(configurations) if index not in outcomes]
        outcomes |= _validate(suite, chosen, table) if chosen else {}
    return tuple(outcomes[index] for index in range(len(configurations)))


def _validate(suite: Suite, configurations: Sequence[Any], table: SqlTable) -> dict[int, ExpectationOutcome]:
    import great_expectations as gx

    result: Any = _validator(table).validate(
        expectation_suite=gx.ExpectationSuite(
            name=suite.name, expectations=[item.to_domain_obj() for item in configurations]
        ),
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE_SIZE},
    )
    outcomes: dict[int, ExpectationOutcome] = {}
    for item in result.results:
        index = item.expectation_config.meta[INDEX_KEY]
        outcomes[index] = outcome_of(suite.expectations[index], item)
    return outcomes


def _validator(table: SqlTable) -> Any:
    from great_expectations.core.batch import Batch
    from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
    from great_expectations.validator.validator import Validator

    context = library_context()  # First: the library looks for it everywhere.
    engine = _execution_engine(table)
    data: Any
    if table.table:
        schema, _, name = table.table.rpartition(".")
        data = SqlAlchemyBatchData(engine, schema_name=schema or None, table_name=name, create_temp_table=False)
    else:
        data = SqlAlchemyBatchData(engine, query=_verbatim(table.statement), create_temp_table=False)
    return Validator(execution_engine=engine, batches=[Batch(data=data)], data_context=context)


def _execution_engine(table: SqlTable) -> Any:
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine

    class OneTransaction(SqlAlchemyExecutionEngine):
        """Runs every query on the connection that is open; the library's own opens one for each."""

        @contextlib.contextmanager
        def get_connection(self) -> Iterator["Connection"]:
            try:
                yield table.connection
            except Exception:
                # Else PostgreSQL would refuse every check after the first that does not fit its column.
                table.connection.rollback()
                raise

    return OneTransaction(engine=table.engine, create_temp_table=False)


def _verbatim(sql: str) -> str:
    """Return SQL in which the library's ``text()`` finds no parameters."""
    return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", sql)


def _prepare(configuration: Any, table: SqlTable) -> Any:
    """Return the configuration as the library can run it on this table."""
    changed: dict[str, Any] = dict(configuration.kwargs)
    kind = next((column.type for column in table.columns if column.name == changed.get("column")), "")
    if kind.startswith(_TIMES):  # A suite in JSON has times as texts, which databases do not compare with times.
        changed |= {key: _time(value, kind) for key, value in changed.items() if key in BOUNDS}
    if (own := changed.get("unexpected_rows_query")) and not table.table:
        # The library writes a query into another twice, and each time doubles its percent signs.
        batch = f"({_verbatim(table.statement)}\n) AS airflow_mlops_batch".replace("{", "{{").replace("}", "}}")
        changed["unexpected_rows_query"] = str(own).replace("{batch}", batch)
    return type(configuration)(
        type=configuration.type, kwargs=changed, severity=configuration.severity, meta=configuration.meta
    )


def _time(value: Any, kind: str) -> Any:
    if not isinstance(value, (str, dt.date)):
        return value
    time = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(time, dt.datetime):
        time = dt.datetime.combine(time, dt.time())
    if "tz" in kind:
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time
    return time if time.tzinfo is None else time.astimezone(dt.UTC).replace(tzinfo=None)
