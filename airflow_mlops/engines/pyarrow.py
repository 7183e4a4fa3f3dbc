"""Columns out of Parquet files, for the numbers that the worker compares."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.exceptions import EvaluationError

if TYPE_CHECKING:
    import numpy as np

MISSING: Final = "(missing)"
"""The label of the rows that have no value."""


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


def read_groups(files: Sequence[Path], column: str) -> "tuple[np.ndarray[Any, np.dtype[np.int32]], tuple[str, ...]]":
    """Return which group each row belongs to by its value in one column: a code for each row, and the codes' labels.

    Codes count from 0 in the order of the values, so that they do not depend on the order of the rows. Rows without a
    value (null or NaN) are a group of their own, the last, with the label ``(missing)``. Files are read a batch at a
    time, so that memory is 4 bytes a row and the distinct values.

    :raises EvaluationError: when a file cannot be read, has no such column, or its values cannot be grouped.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    code_of: dict[Any, int] = {}
    batches: list[np.ndarray[Any, np.dtype[np.int32]]] = [np.zeros(0, dtype=np.int32)]
    for file in files:
        try:
            with pq.ParquetFile(file, pre_buffer=False) as parquet:
                if column not in parquet.schema_arrow.names:
                    msg = f"{file.name} has no column {column!r} to group by; it has {parquet.schema_arrow.names}."
                    raise EvaluationError(msg)
                for batch in parquet.iter_batches(columns=[column]):
                    plain = batch.column(0)
                    if pa.types.is_dictionary(plain.type):  # may hold a null in its dictionary or in its indices
                        plain = plain.cast(plain.type.value_type)
                    encoded = plain.dictionary_encode(null_encoding="encode")
                    values = (_value(value) for value in encoded.dictionary.to_pylist())
                    codes = [code_of.setdefault(value, len(code_of)) for value in values]
                    batches.append(np.asarray(codes, dtype=np.int32)[encoded.indices.to_numpy(zero_copy_only=False)])
        except (pa.ArrowException, TypeError) as error:
            msg = f"The column {column!r} of {file.name} cannot be read as groups: {error}"
            raise EvaluationError(msg) from error
    found = sorted((value for value in code_of if value is not None), key=_sort_key)
    ordered = [*found, None] if None in code_of else found
    rank = np.zeros(len(ordered), dtype=np.int32)
    for position, value in enumerate(ordered):
        rank[code_of[value]] = position
    labels = tuple(MISSING if value is None else _label(value) for value in ordered)
    return rank[np.concatenate(batches)], labels


def _value(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _sort_key(value: Any) -> tuple[str, Any]:
    return (type(value).__name__, value)


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
