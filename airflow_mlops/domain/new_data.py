"""What is new: files that have come, or rows of a table, told in numbered batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_mlops.domain.serialization import Document, digest_of
from airflow_mlops.exceptions import InvalidInputError

SHOWN_FILES: Final = 100
"""Files that an event names; the list of all is in the artifact store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataWatch(Document):
    """Where new data is looked for: files at an address, or rows of a table."""

    address: str | None = None
    """A folder or a glob, such as ``s3://lake@flights/*.parquet``."""
    conn_id: str | None = None
    table: str | None = None
    column: str | None = None
    """Of the table: a number or a time that grows with each row, such as an id."""

    def __post_init__(self) -> None:
        """Check that it is either."""
        of_table = (self.conn_id, self.table, self.column)
        if bool(self.address) == any(of_table) or (not self.address and not all(of_table)):
            msg = (
                f"Watch either files, by address, or a table, by conn_id, table and column; given were address="
                f"{self.address!r}, conn_id={self.conn_id!r}, table={self.table!r} and column={self.column!r}."
            )
            raise InvalidInputError(msg)

    @property
    def key(self) -> str:
        """What tells watches apart: the same place is watched once."""
        return digest_of(self.to_dict())[:16]

    def __str__(self) -> str:
        """Return the place in words."""
        return self.address or f"the table {self.table} of the connection {self.conn_id!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewData(Document):
    """One batch of new data, as the payload of an asset event."""

    source: str
    """The address, or the table in words."""
    batch: int
    """Counts from 1 without a gap. A batch that is told again, after a crash, has its old number and content."""
    files: tuple[str, ...] = ()
    """Addresses, sorted; the first 100."""
    file_count: int = 0
    list_uri: str = ""
    """Where the batch is written down: JSON lines of ``[address, version]``, of all files; of a table its bounds."""
    rows: int = 0
    """Of a table: rows whose column is above ``after`` and up to ``until``."""
    after: str | int | float | None = None
    until: str | int | float | None = None


def settled_news(known: Mapping[str, str], seen: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """Return the files that are new or have changed, and are no longer being written.

    :param known: version of each file that was told before.
    :param seen: version of each file at the look before: one that differs since is still on its way.
    :param found: version of each file now.
    """
    return {
        path: version for path, version in found.items() if known.get(path) != version and seen.get(path) == version
    }
