"""One suite on one snapshot: DuckDB measures, pandas does what is left, Great Expectations judges."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_mlops.domain.validation import Expectation, ExpectationOutcome, Suite
from airflow_mlops.engines.duckdb import DuckDbLimits
from airflow_mlops.engines.duckdb.validation import Measured, open_table
from airflow_mlops.engines.duckdb.validation_columns import ColumnKind, kind_of
from airflow_mlops.engines.great_expectations.frames import (
    ON_SINGLE_ROWS,
    ON_TYPES,
    check_rows,
    check_types,
    check_whole,
    needed_columns,
)
from airflow_mlops.engines.great_expectations.library import (
    RowFigures,
    build_all,
    crashed,
    judge_figures,
    judge_rows,
    lacking_columns,
    plain,
    quietly,
    with_times,
)
from airflow_mlops.exceptions import DatasetError, StorageUnavailableError


def run_suite(
    suite: Suite, parts: Sequence[Path], limits: DuckDbLimits | None = None
) -> tuple[ExpectationOutcome, ...]:
    """Return the outcome of every expectation, in the suite's order.

    :param parts: Parquet files of one schema.
    :param limits: what DuckDB may use, and pandas may load at once; by default 1 GB.

    A column that the data lacks is bad data and fails the expectation; a check that breaks says nothing about the data,
    and its outcome says so (``is_crashed``).

    :raises SuiteError: when the suite names an expectation or an argument that does not exist.
    :raises DatasetError: when two columns have one name, or a file has changed while it was read.
    :raises InvalidInputError: when the memory limit is too small.
    :raises StorageUnavailableError: when a file cannot be read.
    """
    with quietly():
        configurations = build_all(suite)
        with _unchanged(parts):
            names = _column_names(parts[0])
            outcomes = lacking_columns(suite, names)
            rest = [index for index in range(len(configurations)) if index not in outcomes]
            outcomes |= _run(suite, configurations, rest, parts, limits or DuckDbLimits())
    return tuple(outcomes[index] for index in range(len(configurations)))


def _run(
    suite: Suite, configurations: Sequence[Any], indices: Sequence[int], parts: Sequence[Path], limits: DuckDbLimits
) -> dict[int, ExpectationOutcome]:
    on_types = [index for index in indices if suite.expectations[index].type in ON_TYPES]
    with open_table(parts, limits) as table:
        types = table.types
        memory = table.memory_limit
        measured, reasons = table.measure({i: suite.expectations[i] for i in indices if i not in on_types})
    times = _times(types)
    outcomes = {
        index: _judge(suite.expectations[index], with_times(configurations[index], times), found)
        for index, found in measured.items()
    }
    for index in [index for index in reasons if suite.expectations[index].type == "unexpected_rows_expectation"]:
        outcomes[index] = crashed(suite.expectations[index], reasons.pop(index))  # pandas speaks no SQL.
    by_row = [index for index in reasons if suite.expectations[index].type in ON_SINGLE_ROWS]
    whole = [index for index in reasons if index not in by_row]
    columns = needed_columns([suite.expectations[index] for index in by_row], list(types))
    slow = check_types(suite, configurations, on_types, parts)
    slow |= check_rows(suite, configurations, by_row, parts, columns)
    slow |= check_whole(suite, configurations, whole, parts, columns=list(types), memory=memory)
    for index, outcome in slow.items():
        outcomes[index] = replace(outcome, fallback=reasons.get(index, ""))
    return outcomes


def _judge(item: Expectation, configuration: Any, found: Measured) -> ExpectationOutcome:
    if found.looked_at is not None and found.failing is not None:
        figures = RowFigures(rows=found.rows, looked_at=found.looked_at, failing=found.failing, sample=found.sample)
        return judge_rows(item, configuration, figures)
    outcome = judge_figures(item, configuration, found.metrics)
    if found.sample and not outcome.is_crashed:
        outcome = replace(outcome, unexpected_sample=tuple(plain(value) for value in found.sample))
    return outcome


def _times(types: Mapping[str, str]) -> dict[str, bool]:
    kinds = {name: kind_of(kind) for name, kind in types.items()}
    return {
        name: kind is ColumnKind.ZONED_TIME
        for name, kind in kinds.items()
        if kind in {ColumnKind.TIME, ColumnKind.ZONED_TIME}
    }


def _column_names(part: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = [str(name) for name in pq.read_schema(part).names]
    except (pa.ArrowException, pa.ArrowInvalid) as error:
        msg = f"{part.name} is no whole Parquet file: {error}"
        raise DatasetError(msg) from error
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other is not name or names.count(name) > 1:
            msg = f"{part.name} has the columns {other!r} and {name!r}, which differ in case at most. Rename one."
            raise DatasetError(msg)
    return names


@contextlib.contextmanager
def _unchanged(parts: Sequence[Path]) -> Iterator[None]:
    """Refuse a verdict on files that are changed while they are read, or cannot be read."""
    before = [_state(part) for part in parts]
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:
        _compare(parts, before)
        if isinstance(error, OSError):
            msg = f"The data cannot be read any more: {error}"
            raise StorageUnavailableError(msg) from error
        raise
    _compare(parts, before)


def _compare(parts: Sequence[Path], before: Sequence[tuple[int, ...]]) -> None:
    for part, state in zip(parts, before, strict=True):
        if _state(part) != state:
            msg = f"{part.name} was changed while it was validated, so no verdict holds. Validate it when it is whole."
            raise DatasetError(msg)


def _state(part: Path) -> tuple[int, ...]:
    try:
        found = os.stat(part)  # noqa: PTH116
    except OSError as error:
        msg = f"{part.name} cannot be read: {error}"
        raise StorageUnavailableError(msg) from error
    return found.st_ino, found.st_size, found.st_mtime_ns
