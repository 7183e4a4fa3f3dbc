"""The rows of the channel, batch by batch: the columns that the model takes, and the truth beside them."""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from scorer_model import CHANNEL, ScoringError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

BATCH_ROWS = 65_536  # in memory at a time; of 20 columns they are about 10 MB


class Channel:
    """The Parquet files of the channel, in the order of their names."""

    def __init__(self, root: Path, columns: list[str] | None, target: str | None) -> None:
        """Take the columns of the model, None being all but the target, which a model does not get to see."""
        folder = root / "input" / "data" / CHANNEL
        self.files = sorted(folder.glob("*.parquet"), key=lambda path: path.name)
        if not self.files:
            message = f"Channel {CHANNEL!r} has no Parquet file: expected {folder}/*.parquet"
            raise ScoringError(message)
        self.columns, self.target = columns, target

    @cached_property
    def row_count(self) -> int:
        """Rows of all files, by their metadata."""
        import pyarrow.parquet as pq

        count = 0
        for path in self.files:
            with _readable(path):
                count += pq.read_metadata(path).num_rows
        return count

    def batches(self) -> Iterator[tuple[pa.RecordBatch, pa.Array | None]]:
        """Yield batches of at least one row in order, and the truth of their rows where the channel has it."""
        import pyarrow.parquet as pq

        for path in self.files:
            # Pre-buffering would keep a whole row group's columns in memory.
            with _readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
                found = file.schema_arrow.names
                wanted = self.columns or [name for name in found if name != self.target]
                for column in wanted:
                    if column not in found:
                        message = (
                            f"Column {column!r} is not in {path.name} of channel {CHANNEL!r}, "
                            f"which has: {', '.join(found)}"
                        )
                        raise ScoringError(message)
                beside = [self.target] if self.target in found and self.target not in wanted else []
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[*wanted, *beside]):
                    if batch.num_rows:
                        truth = batch.column(self.target) if self.target in found else None
                        yield batch.select(wanted), truth


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        message = f"{path.name} of channel {CHANNEL!r} is not a readable Parquet file: {error}"
        raise ScoringError(message) from error
