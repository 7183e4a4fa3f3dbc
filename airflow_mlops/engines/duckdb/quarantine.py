"""The rows of a snapshot that fail expectations, apart from those that pass."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import TimeWindow
from airflow_mlops.domain.quarantine import LABEL_COLUMN
from airflow_mlops.domain.validation import Expectation
from airflow_mlops.engines.duckdb.connection import DuckDbLimits, connect, identifier, literal, working
from airflow_mlops.engines.duckdb.snapshot import MeasuredData, measure_parts, parquet_relation
from airflow_mlops.engines.duckdb.validation_columns import with_nan
from airflow_mlops.engines.duckdb.validation_predicates import failing_predicate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Separated:
    """What was written to two folders; ``None`` for one that has no row."""

    passing: MeasuredData | None
    failing: MeasuredData | None


def row_conditions(
    files: Sequence[Path], expectations: Sequence[Expectation], limits: DuckDbLimits
) -> list[str | None]:
    """Return the SQL condition of the rows that fail each expectation; ``None`` for one that no single row fails."""
    with connect(limits) as connection:
        types = _types(connection, files)
        return [failing_predicate(item, types, parquet_relation(files)) for item in expectations]


def separate_rows(
    files: Sequence[Path],
    conditions: Mapping[str, str],
    *,
    passing: Path,
    failing: Path,
    window: TimeWindow | None,
    limits: DuckDbLimits,
) -> Separated:
    """Write the rows of Parquet files that meet no condition to one folder, the others to another, and measure both.

    The failing rows get a column more, with the names of the ``conditions`` that they meet. Rows keep their order.

    :param conditions: the SQL condition of the rows that fail, by the name of what they fail.
    """
    with connect(limits) as connection, working(limits):
        types = _types(connection, files)
        label = identifier(_free_name(types))
        names = ", ".join(identifier(name) for name in types)
        cases = ", ".join(f"CASE WHEN {condition} THEN {literal(name)} END" for name, condition in conditions.items())
        labels = f"list_filter([{cases}], lambda name: name IS NOT NULL)"
        written: dict[Path, dict[str, int]] = {passing: {}, failing: {}}
        for number, file in enumerate(files):
            labelled = f"(SELECT {names}, {labels} AS {label} FROM {with_nan(parquet_relation([file]), types)})"
            for folder, columns, condition in (
                (passing, names, f"len({label}) = 0"),
                (failing, f"{names}, {label}", f"len({label}) > 0"),
            ):
                query = f"SELECT {columns} FROM {labelled} WHERE {condition}"
                _write(connection, query, folder, f"part-{number:05d}.parquet", written[folder])
        return Separated(
            passing=measure_parts(connection, passing, written[passing], window) if written[passing] else None,
            failing=measure_parts(connection, failing, written[failing], window) if written[failing] else None,
        )


def _write(connection: "DuckDBPyConnection", query: str, folder: Path, name: str, parts: dict[str, int]) -> None:
    file = folder / name
    copy = f"COPY ({query}) TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)"
    ((rows,),) = connection.execute(copy).fetchall()
    if rows:
        parts[name] = int(rows)
    else:
        file.unlink()


def _types(connection: "DuckDBPyConnection", files: Sequence[Path]) -> dict[str, str]:
    table = connection.sql(f"FROM {parquet_relation(files)}")
    return {name: str(kind) for name, kind in zip(table.columns, table.types, strict=True)}


def _free_name(columns: Iterable[str]) -> str:
    taken = {name.casefold() for name in columns}
    name = LABEL_COLUMN
    while name in taken:
        name = f"_{name}"
    return name
