"""Measures the expectations of a suite on Parquet files: most of them in one scan, in bounded memory.

The files are read where they lie, column by column; only what the expectations name is read. What does not fit in
:class:`~airflow_mlops.engines.duckdb.connection.DuckDbLimits` is spilled to disk.
"""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.validation import SAMPLE_SIZE, Expectation
from airflow_mlops.engines.duckdb.connection import DuckDbLimits, connect, literal, path_literal
from airflow_mlops.engines.duckdb.validation_columns import Column, Columns, NoSqlError, with_nan
from airflow_mlops.engines.duckdb.validation_measures import Measured, Plan
from airflow_mlops.engines.duckdb.validation_plans import plan
from airflow_mlops.exceptions import InvalidInputError, StorageUnavailableError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Measured", "ParquetTable", "open_table"]

_ASKS_PER_SCAN = 400
_QUANTILE_ROWS = 8_000_000
"""DuckDB's quantiles hold all values in memory; above this many, values are sorted, which spills."""
_SAMPLED_CHECKS = 1000
"""Failing checks whose failing values are looked for, each by a query: as many as a report shows."""
_REASON_LENGTH = 300
_UNITS = {unit: 1024**power for power, unit in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB"))}


class ParquetTable:
    """The rows of Parquet files with one schema, in the order of the files."""

    def __init__(self, connection: "DuckDBPyConnection", relation: str, limits: DuckDbLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._samples_left = _SAMPLED_CHECKS
        self._groups: dict[tuple[str, tuple[str, ...]], tuple[int, int, int]] = {}
        self.types: Mapping[str, str] = {row[0]: row[1] for row in self._fetch(f"DESCRIBE FROM {relation}")}
        """The type of each column, as DuckDB writes it."""
        self._files = relation
        ((limit,),) = self._fetch("SELECT current_setting('memory_limit')")
        amount, unit = str(limit).split()
        self.memory_limit = int(float(amount) * _UNITS[unit])
        """In bytes."""

    def measure(self, expectations: Mapping[int, Expectation]) -> tuple[dict[int, Measured], dict[int, str]]:
        """Return the figures of each expectation, and of those that only Python can check why that is.

        :raises InvalidInputError: when the memory limit is too small.
        :raises StorageUnavailableError: when a file cannot be read any more.
        """
        columns = Columns(self.types)
        plans: dict[int, Plan] = {}
        reasons: dict[int, str] = {}
        for index, expectation in expectations.items():
            try:
                plans[index] = plan(expectation, columns)
            except NoSqlError as error:
                reasons[index] = str(error)
        answers = self._scan(plans)
        measured: dict[int, Measured] = {}
        for index, item in plans.items():
            try:
                found = answers if answers is not None else self._ask(item.asks)
                measured[index] = item.finish(self, found)
            except NoSqlError as error:
                reasons[index] = str(error)
        return measured, reasons

    def _naming(self, *sql: str) -> str:
        """Return the table with the columns that pieces of SQL name."""
        return with_nan(self._files, self.types, *sql)

    def _scan(self, plans: Mapping[int, Plan]) -> dict[str, Any] | None:
        """Return the answers of all plans, or ``None`` when one of them is at fault, so that each has to go alone."""
        asks = dict.fromkeys(ask for item in plans.values() for ask in item.asks)
        try:
            return self._ask(list(asks)) if asks else {}
        except NoSqlError:
            return None

    def _ask(self, asks: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for start in range(0, len(asks), _ASKS_PER_SCAN):
            some = asks[start : start + _ASKS_PER_SCAN]
            (row,) = self._fetch(f"SELECT {', '.join(some)} FROM {self._naming(*some)}")
            found.update(zip(some, row, strict=True))
        return found

    def group_sizes(self, selected: str, keys: Sequence[Column]) -> tuple[int, int, int]:
        """Return the number of groups, the rows of those of more than one row, and the rows of the largest."""
        names = ", ".join(column.sql for column in keys)
        place = (selected, tuple(column.name for column in keys))
        if place not in self._groups:
            ((groups, doubles, largest),) = self._fetch(
                "SELECT count(*), coalesce(sum(size) FILTER (WHERE size > 1), 0)::BIGINT, coalesce(max(size), 0) "
                f"FROM (SELECT count(*) AS size FROM {self._naming(selected, names)} WHERE {selected} GROUP BY {names})"
            )
            self._groups[place] = groups, doubles, largest
        return self._groups[place]

    def order_statistics(self, selected: str, column: Column, ranks: Sequence[int], count: int) -> list[Any]:
        """Return the values at these ranks, from 0, of ``count`` values in ascending order."""
        import duckdb

        if count <= _QUANTILE_ROWS:
            shares = ", ".join(repr((rank + 0.5) / count) for rank in ranks)
            table = self._naming(selected, column.sql)
            query = f"SELECT quantile_disc({column.sql}, [{shares}]) FROM {table} WHERE {selected}"
            with contextlib.suppress(duckdb.OutOfMemoryException):
                return list(self._connection.execute(query).fetchall()[0][0])
        return [
            self.rows(f"{column.sql} AS value", selected, f"ORDER BY value LIMIT 1 OFFSET {rank}")[0][0]
            for rank in ranks
        ]

    def count_out_of_order(self, selected: str, column: Column, wrong: str) -> int:
        """Count the rows whose value stands wrong to the one before."""
        ((count,),) = self._fetch(f"SELECT count(*) FROM {self._with_previous(selected, column)} WHERE {wrong}")
        return int(count)

    def sample_out_of_order(self, selected: str, column: Column, wrong: str) -> list[Any]:
        """Return some of their values."""
        query = f"SELECT value FROM {self._with_previous(selected, column)} WHERE {wrong} LIMIT {SAMPLE_SIZE}"
        return [row[0] for row in self._fetch(query)]

    def _with_previous(self, selected: str, column: Column) -> str:
        # Without ORDER BY, lag() streams in the order of the files.
        return (
            f"(SELECT {column.sql} AS value, lag({column.sql}) OVER () AS previous "
            f"FROM {self._naming(selected, column.sql)} WHERE {selected})"
        )

    def rows(self, select: str, where: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Return rows of the table."""
        return self._fetch(f"SELECT {select} FROM {self._naming(select, where, rest)} WHERE {where} {rest}")

    def sample(self, select: str, where: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Return some rows, or none when enough checks have theirs."""
        if not self._samples_left:
            return []
        self._samples_left -= 1
        return self.rows(select, where, f"{rest} LIMIT {SAMPLE_SIZE}")

    def count_query(self, query: str) -> tuple[int, list[tuple[Any, ...]]]:
        """Return the number of rows of a query on ``{batch}``, and some of them."""
        inner = f"({query.strip().rstrip(';').replace('{batch}', with_nan(self._files, self.types))}\n)"
        ((count,),) = self._fetch(f"SELECT count(*) FROM {inner}")
        return int(count), self._fetch(f"FROM {inner} LIMIT {SAMPLE_SIZE}") if count else []

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        :raises NoSqlError: when the query itself is at fault, such as by a number that is out of range.
        """
        import duckdb

        try:
            # By Arrow, since DuckDB itself needs pytz for times with a zone.
            relation: Any = self._connection.sql(query)
            table = relation.to_arrow_table()
            columns = [column.to_pylist() for column in table.columns]
        except duckdb.OutOfMemoryException as error:
            msg = (
                f"The expectations need more memory than {self._limits.memory} on this data: {str(error)[:200]}. Raise "
                "[mlops] duckdb_memory_limit."
            )
            raise InvalidInputError(msg) from error
        except (duckdb.IOException, duckdb.HTTPException) as error:
            msg = f"The data cannot be read any more: {str(error)[:_REASON_LENGTH]}"
            raise StorageUnavailableError(msg) from error
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            msg = f"DuckDB cannot evaluate it: {str(error).splitlines()[0][:_REASON_LENGTH]}"
            raise NoSqlError(msg) from error
        return list(zip(*columns, strict=True))


@contextlib.contextmanager
def open_table(parts: Sequence[Path], limits: DuckDbLimits) -> Iterator[ParquetTable]:
    """Give the table in Parquet files, which is read when it is measured.

    :raises StorageUnavailableError: when a file cannot be read.
    """
    files = ", ".join(path_literal(part) for part in parts)
    with connect(limits) as connection:
        # A query in a suite is somebody's text: it reads this data, and no other file of the machine.
        connection.execute(f"SET allowed_paths = [{', '.join(literal(str(part)) for part in parts)}]")
        connection.execute("SET parquet_metadata_cache = true")  # else each query reads what a thousand columns are
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield ParquetTable(connection, f"read_parquet([{files}], hive_partitioning = false)", limits)
