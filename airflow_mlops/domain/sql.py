"""A table or a query of a database, as its author names it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from airflow_mlops.exceptions import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSource:
    """The rows of a table, or those that a query finds, behind an Airflow connection."""

    conn_id: str
    table: str = ""
    """``schema.table``, by which its author knows it; empty when there is a query."""
    query: str = ""

    @classmethod
    def of(cls, conn_id: str, *, table: str | None = None, query: str | None = None) -> Self:
        """Check what an author gave: a table or a query, and not both.

        :raises InvalidInputError: when it is neither, or both.
        """
        if bool(table and table.strip()) == bool(query and query.strip()):
            msg = (
                f"Give either table or query of the connection {conn_id!r}, but table={table!r}, query={query!r:.200}."
            )
            raise InvalidInputError(msg)
        if table:
            return cls(conn_id=conn_id, table=table.strip())
        return cls(conn_id=conn_id, query=(query or "").strip().rstrip(";").strip())

    @property
    def uri(self) -> str:
        """The address in manifests and reports; of a query it has the beginning of its digest."""
        return f"sql://{self.conn_id}/{self.table or f'query-{self.digest[:12]}'}"

    @property
    def digest(self) -> str:
        """SHA-256 hex digest of the table's name or of the query's text: of the question, not of the rows."""
        return hashlib.sha256((self.query or self.table).encode()).hexdigest()

    def __str__(self) -> str:
        """Return the source in words."""
        return f"the {'table ' + self.table if self.table else 'query'} of the connection {self.conn_id!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlColumn:
    """A column of a result: its name, and the Arrow type that the database tells (or ``json``), or ``""``."""

    name: str
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlRows:
    """A result that is still open: its columns, and its rows in batches, which can be read once."""

    columns: tuple[SqlColumn, ...]
    batches: Iterator[Sequence[Sequence[Any]]]
