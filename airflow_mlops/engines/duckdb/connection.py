"""A DuckDB connection with bounded resources and no network, and how names and paths are written in its SQL."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.exceptions import DatasetError, InvalidInputError, StorageUnavailableError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckDbLimits:
    """What one DuckDB connection may use."""

    memory: str = "1GB"
    """Memory, such as ``2GB``; sorts and aggregates beyond it are spilled to ``spill_folder``."""
    threads: int = 2
    spill_folder: Path | None = None
    """Where to spill; ``None`` is the system's folder for temporary files."""


@contextlib.contextmanager
def connect(limits: DuckDbLimits) -> Iterator["DuckDBPyConnection"]:
    """Open an in-memory database that spills into a folder of its own, which goes when the connection does.

    :raises InvalidInputError: when a limit is not what DuckDB understands.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="airflow-mlops-duckdb-", dir=limits.spill_folder) as spill_folder:
        try:
            connection = duckdb.connect(
                config={
                    "memory_limit": limits.memory,
                    "threads": str(limits.threads),
                    "temp_directory": spill_folder,
                    "autoinstall_known_extensions": "false",  # An extension would be downloaded.
                    "autoload_known_extensions": "false",
                }
            )
        except duckdb.Error as error:
            msg = f"DuckDB refuses its limits {limits}: {_first_lines(error)}"
            raise InvalidInputError(msg) from error
        with connection:
            connection.execute("SET TimeZone = 'UTC'")  # Times with a zone are written and hashed in UTC.
            yield connection


@contextlib.contextmanager
def reading(uri: str, path: Path) -> Iterator[None]:
    """Name the source in errors of reading it.

    :raises DatasetError: when DuckDB cannot read it.
    """
    import duckdb

    try:
        yield
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        reason = _first_lines(error).replace(str(path), uri)
        msg = f"{uri} cannot be read: {reason}. Check that the file is whole and is what its name says."
        raise DatasetError(msg) from error


@contextlib.contextmanager
def working(limits: DuckDbLimits) -> Iterator[None]:
    """Say what to do when DuckDB lacks memory or disk.

    :raises InvalidInputError: when the memory limit is too small for the data.
    :raises StorageUnavailableError: when DuckDB cannot write.
    """
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        msg = f"DuckDB needs more than its memory limit of {limits.memory}: {_first_lines(error)}. Raise the limit."
        raise InvalidInputError(msg) from error
    except duckdb.IOException as error:
        msg = (
            f"DuckDB cannot write: {_first_lines(error)}. Check the disk of temporary files and of the artifact store."
        )
        raise StorageUnavailableError(msg) from error


def identifier(name: str) -> str:
    """Return a column name as it is written in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as it is written in SQL."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(path: Path) -> str:
    """Return a path as it is written in SQL, where ``*``, ``?`` and ``[`` would otherwise be a pattern."""
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def _first_lines(error: Exception) -> str:
    lines = str(error).split("\n\nLINE ")[0].split("\nPossible")[0].splitlines()
    return "; ".join(line.strip() for line in lines[:4] if line.strip())[:500].rstrip(".")
