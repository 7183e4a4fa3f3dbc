"""Run an expectation suite where the data is: in a database."""

from __future__ import annotations

from datetime import datetime

from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.domain.timeliness import Timeliness
from airflow_mlops.domain.validation import ExpectationOutcome, Suite
from airflow_mlops.hooks.sql import sql_engine


def run_in_database(
    source: SqlSource, suite: Suite, timeliness: Timeliness | None, moment: datetime
) -> tuple[int, tuple[ExpectationOutcome, ...]]:
    """Return the number of rows of a table or a query, and the outcome of each expectation on them.

    :param timeliness: what their times must be like at ``moment``.
    :raises DatasetError: when the database refuses the query.
    :raises DatabaseUnavailableError: when it does not answer, or stops answering between two checks.
    """
    from airflow_mlops.engines.great_expectations_sql import SqlTable, run_suite_in_database
    from airflow_mlops.engines.sqlalchemy import open_source

    with sql_engine(source.conn_id) as engine, open_source(engine, source) as opened:
        rows = int(opened.ask("SELECT count(*) FROM {source}")[0])
        table = SqlTable(
            engine=opened.engine,
            connection=opened.connection,
            statement=opened.statement,
            columns=opened.columns,
            table=source.table,
        )
        outcomes = run_suite_in_database(suite, table)
        if any(outcome.is_crashed for outcome in outcomes):
            opened.require_alive()  # The library reports a lost connection as if the checks did not fit the data.
        if timeliness:
            found = opened.find_times(timeliness.time_column, timeliness.start(moment), moment)
            outcomes += timeliness.judge(found, moment)
    return rows, outcomes
