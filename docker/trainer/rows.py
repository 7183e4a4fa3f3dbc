"""Reading the Parquet files of a channel, with errors that name the file and the column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from job import JobError

if TYPE_CHECKING:
    import pyarrow as pa
    from job import Job


def read_channel(job: Job, channel: str, columns: Sequence[str]) -> pa.Table:
    """Read the named columns of every file of a channel into memory, in order.

    Raises:
        JobError: no file, no row, an unreadable file, or a column that a file does not have.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for path in job.channel_files(channel):
        with readable(path, channel):
            require_columns(columns, pq.read_schema(path).names, path=path, channel=channel)
            tables.append(pq.read_table(path, columns=list(columns)))
    try:
        # "permissive" lets one month hold integers where another holds numbers, or only nulls.
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        message = f"The files of channel {channel!r} do not agree on a column's type: {error}"
        raise JobError(message) from error
    if table.num_rows == 0:
        message = f"Channel {channel!r} has no rows"
        raise JobError(message)
    return table


def require_columns(wanted: Sequence[str], found: Sequence[str], *, path: Path, channel: str) -> None:
    """Refuse a file that lacks a column, with the names that it has."""
    for column in wanted:
        if column not in found:
            message = f"Column {column!r} is not in {path.name} of channel {channel!r}, which has: {', '.join(found)}"
            raise JobError(message)


@contextmanager
def readable(path: Path, channel: str) -> Iterator[None]:
    """Turn Arrow's errors about a damaged file into one that names the file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        message = f"{path.name} of channel {channel!r} is not a readable Parquet file: {error}"
        raise JobError(message) from error
