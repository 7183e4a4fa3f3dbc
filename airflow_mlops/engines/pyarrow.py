"""Columns out of Parquet files, for the numbers that the worker compares."""

import bisect
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.dataset import ColumnKind
from airflow_mlops.domain.drift import Sample
from airflow_mlops.domain.slices import MISSING
from airflow_mlops.exceptions import EvaluationError, TooManyGroupsError

if TYPE_CHECKING:
    import numpy as np


def column_names(file: Path) -> list[str]:
    """Return the names of a Parquet file's columns."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(file).names)


def read_column(files: Sequence[Path], column: str, of: str) -> "np.ndarray[Any, Any]":
    """Return one column of Parquet files, in the order of the files and of their rows.

    :param of: whose column it is, for errors, such as ``the holdout``.
    :raises EvaluationError: when a file cannot be read or has no such column, or when a value is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunks: list[Any] = []
    for file in files:
        try:
            chunks += pq.read_table(file, columns=[column], partitioning=None).column(0).chunks
        except (pa.ArrowInvalid, IndexError) as error:
            msg = f"{file.name} of {of} cannot be read as Parquet with a column {column!r}: {error}"
            raise EvaluationError(msg) from error
    values = pa.chunked_array(chunks) if chunks else pa.chunked_array([pa.array([])])
    if values.null_count:
        msg = (
            f"The column {column!r} of {of} has {values.null_count} missing values of {len(values)}, "
            f"so it cannot be judged."
        )
        raise EvaluationError(msg)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        numbers: np.ndarray[Any, Any] = values.to_numpy()
        return numbers
    encoded = values.dictionary_encode().combine_chunks()  # Rows of the same text share one Python object.
    texts: np.ndarray[Any, Any] = encoded.dictionary.to_numpy(zero_copy_only=False)[encoded.indices.to_numpy()]
    return texts


def write_columns(file: Path, columns: "Mapping[str, np.ndarray[Any, Any]]") -> None:
    """Write arrays of one length to a Parquet file. The same values give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), file, compression="zstd")


def column_kinds(file: Path) -> dict[str, ColumnKind]:
    """Return the kind of each column of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(of: Any) -> ColumnKind:
        if pa.types.is_dictionary(of):
            of = of.value_type
        if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
            return ColumnKind.NUMBER
        if pa.types.is_temporal(of):
            return ColumnKind.TIME
        is_value = pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_string_view(of)
        return ColumnKind.VALUE if is_value or pa.types.is_boolean(of) or pa.types.is_null(of) else ColumnKind.NESTED

    return {field.name: kind(field.type) for field in pq.read_schema(file)}


def read_groups(
    files: Sequence[Path], column: str, at_most: int | None = None
) -> "tuple[np.ndarray[Any, np.dtype[np.int32]], tuple[str, ...]]":
    """Return which group each row belongs to by its value in one column: a code for each row, and the codes' labels.

    Codes count from 0 in the order of the values, so that they do not depend on the order of the rows. Rows without a
    value (null or NaN) are a group of their own, the last, with the label ``(missing)``. Files are read a batch at a
    time, so that memory is 4 bytes a row and the distinct values.

    :raises TooManyGroupsError: when there are more than ``at_most`` values; reading ends with the batch that has them.
    :raises EvaluationError: when a file cannot be read, has no such column, or its values cannot be grouped.
    """
    import numpy as np
    import pyarrow as pa

    code_of: dict[Any, int] = {}
    codes: list[np.ndarray[Any, np.dtype[np.int32]]] = [np.zeros(0, dtype=np.int32)]
    for values in _batches(files, column):
        plain = values
        if pa.types.is_dictionary(plain.type):  # may hold a null in its dictionary or in its indices
            plain = plain.cast(plain.type.value_type)
        try:
            encoded = plain.dictionary_encode(null_encoding="encode")
            found = [code_of.setdefault(_value(value), len(code_of)) for value in encoded.dictionary.to_pylist()]
        except (pa.ArrowException, TypeError) as error:
            msg = f"The column {column!r} has values of the type {plain.type}, which cannot be grouped: {error}"
            raise EvaluationError(msg) from error
        if at_most is not None and len(code_of) > at_most:
            msg = f"The column {column!r} has more than {at_most:,} different values."
            raise TooManyGroupsError(msg)
        codes.append(np.asarray(found, dtype=np.int32)[encoded.indices.to_numpy(zero_copy_only=False)])
    known = sorted((value for value in code_of if value is not None), key=_sort_key)
    ordered = [*known, None] if None in code_of else known
    rank = np.zeros(len(ordered), dtype=np.int32)
    for position, value in enumerate(ordered):
        rank[code_of[value]] = position
    labels = tuple(MISSING if value is None else _label(value) for value in ordered)
    return rank[np.concatenate(codes)], labels


def read_numbers(files: Sequence[Path], column: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return a column of numbers as floats, a missing value as NaN.

    :raises EvaluationError: when a file cannot be read, has no such column, or its values are no numbers.
    """
    import numpy as np
    import pyarrow as pa

    parts: list[np.ndarray[Any, np.dtype[np.float64]]] = [np.zeros(0)]
    for values in _batches(files, column):
        try:
            numbers = values.cast(pa.float64(), safe=False)
        except pa.ArrowException as error:
            msg = f"The column {column!r} has values of the type {values.type}, which are no numbers: {error}"
            raise EvaluationError(msg) from error
        parts.append(numbers.to_numpy(zero_copy_only=False))
    return np.concatenate(parts)


def _batches(files: Sequence[Path], column: str) -> Iterator[Any]:
    """Yield the arrays of a column, a batch of rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            with pq.ParquetFile(file, pre_buffer=False) as parquet:
                names = parquet.schema_arrow.names
                if column not in names:
                    msg = f"{file.name} has no column {column!r} to group by; it has {', '.join(names)}."
                    raise EvaluationError(msg)
                for batch in parquet.iter_batches(columns=[column]):
                    yield batch.column(0)
        except (pa.ArrowException, OSError) as error:
            msg = f"{file.name} cannot be read as Parquet with a column {column!r}: {error}"
            raise EvaluationError(msg) from error


def read_sample(files: Sequence[Path], columns: Sequence[str], rows: int, seed: str) -> Sample:
    """Return a random sample of rows without replacement, as plain numbers, texts and ``None`` by column.

    The same files and seed give the same rows. Files are read a batch at a time, so that memory is that of the sample.

    :param columns: with numbers, texts or truth values.
    :param rows: of the sample; all, when the files have fewer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = sum(pq.read_metadata(file).num_rows for file in files)
    chosen = sorted(random.Random(seed).sample(range(total), min(rows, total)))  # noqa: S311 - a sample, no secret
    sample: dict[str, list[float | str | None]] = {column: [] for column in columns}
    start = taken = 0
    for file in files:
        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(columns=list(columns)):
                end = bisect.bisect_left(chosen, start + batch.num_rows)
                picked = batch.take(pa.array([position - start for position in chosen[taken:end]], pa.int64()))
                for column in columns:
                    sample[column] += [_plain(value) for value in picked.column(column).to_pylist()]
                start, taken = start + batch.num_rows, end
    return sample


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return _label(value)
    number = float(value)
    return None if math.isnan(number) else number


def _value(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _sort_key(value: Any) -> tuple[str, Any]:
    return (type(value).__name__, value)


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
