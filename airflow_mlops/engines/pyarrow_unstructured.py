"""Samples of texts and embeddings out of Parquet files."""

import bisect
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.exceptions import DatasetError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSample:
    """Some of the texts of a column."""

    texts: tuple[str, ...]
    missing: float
    """Share of the sampled rows without a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSample:
    """Some of the embeddings of a column."""

    vectors: "np.ndarray[Any, np.dtype[np.float32]]"
    """Rows by numbers, all finite."""
    missing: float
    """Share of the sampled rows without a vector, or with a number in it that is missing or not finite."""


def sample_texts(files: Sequence[Path], column: str, rows: int, seed: str, of: str) -> TextSample:
    """Return a random sample of a column of texts; the same files and seed give the same rows.

    :param of: whose column it is, for errors, such as ``the window``.
    :raises DatasetError: when there is no such column, or it holds no texts.
    """
    import pyarrow as pa

    values = _sample(files, column, rows, seed, of)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if not (is_text or pa.types.is_string_view(values.type) or pa.types.is_null(values.type)):
        msg = f"The column {column!r} of {of} holds {values.type}, no texts."
        raise DatasetError(msg)
    return TextSample(
        texts=tuple(value for value in values.to_pylist() if value is not None),
        missing=values.null_count / len(values) if len(values) else 0.0,
    )


def sample_vectors(files: Sequence[Path], column: str, rows: int, seed: str, of: str) -> VectorSample:
    """Return a random sample of a column of embeddings; the same files and seed give the same rows.

    :param of: whose column it is, for errors, such as ``the window``.
    :raises DatasetError: when there is no such column, or it does not hold lists of numbers of one length.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _sample(files, column, rows, seed, of)
    kind = values.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        msg = f"The column {column!r} of {of} holds {kind}, no lists of numbers."
        raise DatasetError(msg)
    present = values.drop_null()
    widths = pc.unique(pc.list_value_length(present)).to_pylist()
    if len(widths) > 1:
        msg = f"The column {column!r} of {of} holds lists of different lengths, such as {widths[0]} and {widths[1]}."
        raise DatasetError(msg)
    flat = pc.list_flatten(present).cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    vectors = flat.reshape(len(present), widths[0] if widths else 0)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    return VectorSample(vectors=vectors, missing=1 - len(vectors) / len(values) if len(values) else 0.0)


def _sample(files: Sequence[Path], column: str, rows: int, seed: str, of: str) -> Any:
    """Return an array of the sampled values. A row group is read at a time, and none that has no sampled row."""
    import pyarrow as pa

    try:
        return _read_rows(files, column, rows, seed, of)
    except (pa.ArrowException, OSError) as error:  # such as a null of a fixed-size list, which no snapshot has
        msg = f"The column {column!r} of {of} cannot be read: {error}"
        raise DatasetError(msg) from error


def _read_rows(files: Sequence[Path], column: str, rows: int, seed: str, of: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = sum(pq.read_metadata(file).num_rows for file in files)
    chosen = sorted(random.Random(seed).sample(range(total), min(rows, total)))  # noqa: S311 - a sample, no secret
    parts: list[Any] = []
    start = taken = 0
    for file in files:
        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            if column not in parquet.schema_arrow.names:
                msg = f"There is no column {column!r} in {of}; it has {', '.join(parquet.schema_arrow.names)}."
                raise DatasetError(msg)
            parts.append(pa.array([], parquet.schema_arrow.field(column).type))
            for group in range(parquet.num_row_groups):
                end_of_group = start + parquet.metadata.row_group(group).num_rows
                if bisect.bisect_left(chosen, end_of_group) > taken:
                    for batch in parquet.iter_batches(row_groups=[group], columns=[column]):
                        end = bisect.bisect_left(chosen, start + batch.num_rows)
                        picked = [position - start for position in chosen[taken:end]]
                        parts.append(batch.column(0).take(pa.array(picked, pa.int64())))
                        start, taken = start + batch.num_rows, end
                start = end_of_group
    return pa.chunked_array(parts).combine_chunks() if parts else pa.nulls(0)
