"""Columns out of Parquet files, for the numbers that the worker compares."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.exceptions import EvaluationError

if TYPE_CHECKING:
    import numpy as np


def column_names(file: Path) -> list[str]:
    """Return the names of a Parquet file's columns."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(file).names)


def read_column(files: Sequence[Path], column: str) -> "np.ndarray[Any, Any]":
    """Return one column of Parquet files, in the order of the files and of their rows.

    :raises EvaluationError: when a file cannot be read or has no such column, or when a value is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunks: list[Any] = []
    for file in files:
        try:
            chunks += pq.read_table(file, columns=[column], partitioning=None).column(0).chunks
        except (pa.ArrowInvalid, IndexError) as error:
            msg = f"{file.name} cannot be read as Parquet with a column {column!r}: {error}"
            raise EvaluationError(msg) from error
    values = pa.chunked_array(chunks) if chunks else pa.chunked_array([pa.array([])])
    if values.null_count:
        msg = f"The column {column!r} has {values.null_count} missing values of {len(values)}, so it cannot be judged."
        raise EvaluationError(msg)
    column_values: np.ndarray[Any, Any] = values.to_numpy()
    return column_values
