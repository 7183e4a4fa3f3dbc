"""Take a snapshot of a table or of a query of a database."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from airflow_mlops.domain.dataset import SnapshotManifest, SourceFile
from airflow_mlops.domain.sql import SqlSource
from airflow_mlops.exceptions import NoRowsError
from airflow_mlops.hooks.sql import sql_engine
from airflow_mlops.operators.dataset import SnapshotOperator


class SqlSnapshotOperator(SnapshotOperator):
    """Read a table or a query through an Airflow connection, and write its rows under the digest of their content.

    The rows come in batches out of one read-only transaction, so that memory stays bounded and the snapshot is one
    state of the database. The same rows have the same digest as if they came from files, as long as their types agree.

    :param conn_id: a connection whose provider gives an SQLAlchemy engine, such as PostgreSQL, MySQL, SQLite or
        Snowflake.
    :param table: ``table`` or ``schema.table`` (templated).
    :param query: a SELECT instead of a table (templated). Let it choose the rows: ``start`` and ``end`` are applied
        when they have come.
    :param column_types: DuckDB types that columns shall have: SQLite, for one, has no times, ``{"at": "TIMESTAMP"}``.

    The other parameters are those of :class:`~airflow_mlops.operators.dataset.SnapshotOperator`.
    """

    template_fields: Sequence[str] = ("dataset_name", "table", "query", "start", "end")
    template_fields_renderers: ClassVar[dict[str, str]] = {"query": "sql"}

    def __init__(self, *, conn_id: str, table: str | None = None, query: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table
        self.query = query

    def measure(self, folder: Path) -> SnapshotManifest:
        """Write the rows to ``folder`` as Parquet, and describe them."""
        from airflow_mlops.engines.duckdb import LocalSource
        from airflow_mlops.engines.pyarrow_spool import spool_rows
        from airflow_mlops.engines.sqlalchemy import stream

        source = SqlSource.of(self.conn_id, table=self.table, query=self.query)
        self.log.info("Reading %s", source)
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as temporary:
            with sql_engine(self.conn_id) as engine, stream(engine, source) as rows:
                files = spool_rows(rows, Path(temporary), str(source))
            if not files:
                msg = f"{source} has no rows."
                raise NoRowsError(msg)
            size = sum(file.stat().st_size for file in files)
            return self.write_parts(
                [LocalSource(uri=source.uri, path=file, has_inferred_types=True) for file in files],
                folder,
                described=lambda: (
                    SourceFile(uri=source.uri, digest=source.digest, size_bytes=size, query=source.query),
                ),
                casts=self.column_types,
            )
