"""Rows that two tables share, counted by the hashes of their values."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_mlops.engines.duckdb.connection import DuckDbLimits, connect, identifier, path_literal, working
from airflow_mlops.exceptions import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRows:
    """How many rows of one table are in another, too."""

    rows: int
    columns: tuple[str, ...]
    """By which they were compared: those that both have."""


def count_shared_rows(files: Sequence[Path], others: Sequence[Path], limits: DuckDbLimits) -> SharedRows:
    """Count the rows of the Parquet ``files`` that are among the rows of ``others``, too, once for each occurrence.

    Rows are the same when they have the same values in all columns that both have, missing ones included; the values of
    ``files`` are read in the types of ``others``. Of each row a hash of 64 bits is kept: of a million and a hundred
    million rows, the chance that any two are taken for the same is one in 200,000. What does not fit is spilled.

    :raises DatasetError: when they have no column in common.
    """
    with connect(limits) as connection, working(limits):
        ours, theirs = (
            f"read_parquet([{', '.join(path_literal(file) for file in found)}], hive_partitioning = false)"
            for found in (files, others)
        )
        table = connection.sql(f"FROM {theirs}")
        types = {name: str(kind) for name, kind in zip(table.columns, table.types, strict=True)}
        columns = tuple(name for name in connection.sql(f"FROM {ours}").columns if name in types)
        if not columns:
            msg = f"The rows cannot be compared: they share no column, the others have {', '.join(types)}."
            raise DatasetError(msg)
        values = ", ".join(f"TRY_CAST({identifier(name)} AS {types[name]})" for name in columns)
        ((rows,),) = connection.execute(
            f"SELECT count(*) FROM {ours} WHERE hash({values}) IN (SELECT hash({values}) FROM {theirs})"
        ).fetchall()
        return SharedRows(rows=int(rows), columns=columns)
