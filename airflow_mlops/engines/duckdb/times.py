"""The newest time of a column before a moment, and the rows of a period."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from airflow_mlops.domain.timeliness import FoundTimes
from airflow_mlops.engines.duckdb.connection import DuckDbLimits, connect, identifier, working
from airflow_mlops.engines.duckdb.snapshot import check_time_column, from_epoch, parquet_relation, time_literal


def find_times(files: Sequence[Path], column: str, start: datetime, end: datetime, limits: DuckDbLimits) -> FoundTimes:
    """Return the newest time before ``end`` in Parquet files, and how many rows lie from ``start`` to before ``end``.

    :param start: in UTC, as ``end`` is.
    :raises DatasetError: when there is no such column, or it has no times.
    """
    with connect(limits) as connection, working(limits):
        relation = parquet_relation(files)
        table = connection.sql(f"FROM {relation}")
        types = {name: str(kind) for name, kind in zip(table.columns, table.types, strict=True)}
        kind = check_time_column(types, column, "The dataset")
        name = identifier(column)
        before = f"{name} < {time_literal(end, kind)}"
        query = (
            f"SELECT epoch_us(max({name}) FILTER ({before} AND isfinite({name}))), "
            f"count(*) FILTER ({before} AND {name} >= {time_literal(start, kind)}) FROM {relation}"
        )
        ((newest, rows),) = connection.execute(query).fetchall()
        return FoundTimes(newest=from_epoch(newest), rows=int(rows))
