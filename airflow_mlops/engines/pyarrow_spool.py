"""Rows that come in batches, such as those of a database, on their way to a snapshot: Parquet files on disk.

One batch is in memory at a time. A column whose type the source does not tell has the type of its values; a new file
begins where a later batch has other types, and the snapshot makes them one or refuses.
"""

import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.sql import SqlColumn, SqlRows
from airflow_mlops.exceptions import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa


def spool_rows(rows: SqlRows, folder: Path, of: str) -> list[Path]:
    """Write rows to Parquet files in ``folder`` and return them, none when there is no row.

    :param of: where the rows are from, for errors.
    :raises DatasetError: when the values of a column are of different types, or of one that no file can hold.
    """
    import pyarrow as pa

    columns = [_Column(column, of) for column in rows.columns]
    batches = (
        pa.record_batch(
            [column.array(values) for column, values in zip(columns, zip(*batch, strict=True), strict=True)],
            names=[column.name for column in columns],
        )
        for batch in rows.batches
        if batch
    )
    return spool_batches(batches, folder)


def spool_batches(batches: "Iterable[pa.RecordBatch]", folder: Path) -> list[Path]:
    """Write Arrow batches to Parquet files in ``folder``, a new one where the schema changes, and return them."""
    import pyarrow.parquet as pq

    files: list[Path] = []
    writer: Any = None
    try:
        for batch in batches:
            if writer is None or not writer.schema.equals(batch.schema):
                if writer is not None:
                    writer.close()
                files.append(folder / f"rows-{len(files):05d}.parquet")
                writer = pq.ParquetWriter(files[-1], batch.schema, compression="zstd")
            writer.write_batch(batch)
    finally:
        if writer is not None:
            writer.close()
    return files


class _Column:
    """A column on its way, and the type that it has so far."""

    def __init__(self, column: SqlColumn, of: str) -> None:
        self.name = column.name
        self._of = of
        self._is_declared = bool(column.type)
        self._type = _arrow_type(column.type)
        self._plain = _to_json if column.type == "json" else _converter(column.type)

    def array(self, values: Sequence[Any]) -> "pa.Array":
        import pyarrow as pa

        plain = [None if value is None else self._plain(value) for value in values]
        try:
            if self._is_declared:
                return pa.array(plain, type=self._type)
            found = pa.array(plain)
            if self._type is None or pa.types.is_null(self._type):
                self._type = found.type
            elif found.type != self._type:
                is_widened = pa.types.is_null(found.type) or (
                    pa.types.is_int64(found.type) and pa.types.is_float64(self._type)
                )
                if is_widened:
                    return found.cast(self._type)
                self._type = found.type
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            kinds = ", ".join(sorted({type(value).__name__ for value in plain if value is not None}))
            msg = (
                f"The column {self.name!r} of {self._of} cannot become a column of a file: it has values of "
                f"{kinds}: {error}. CAST it in the query."
            )
            raise DatasetError(msg) from error
        return found


def _arrow_type(name: str) -> "pa.DataType | None":
    import pyarrow as pa

    if not name:
        return None
    if name.startswith("decimal128"):
        precision, scale = (int(number) for number in name.removeprefix("decimal128(").rstrip(")").split(","))
        return pa.decimal128(precision, scale)
    named = {
        "json": pa.string(),
        "time64[us]": pa.time64("us"),
        "timestamp[us]": pa.timestamp("us"),
        "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
    }
    return named.get(name) or pa.type_for_alias(name)


def _converter(declared: str) -> Callable[[Any], Any]:
    """Return what makes a driver's value one that Arrow takes."""
    keeps_decimals = declared.startswith("decimal")

    def convert(value: Any) -> Any:
        if isinstance(value, decimal.Decimal):
            return value if keeps_decimals else float(value)
        if isinstance(value, dt.datetime):
            return value if value.tzinfo is None else value.astimezone(dt.UTC)
        if isinstance(value, uuid.UUID):
            return str(value)
        if isinstance(value, dict):
            return _to_json(value)
        if isinstance(value, (memoryview, bytearray)):
            return bytes(value)
        return value

    return convert


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
