"""Great Expectations on pandas, for what DuckDB cannot check, with no column that it does not need.

A check of single rows sees a batch of rows at a time, so that its memory does not grow with the data. One that needs
the whole column at once is refused when the column would not fit in the memory limit.
"""

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.validation import SAMPLE_SIZE, Expectation, ExpectationOutcome, Suite
from airflow_mlops.engines.great_expectations.library import (
    RESULT_FORMAT,
    RowFigures,
    crashed,
    judge_rows,
    library_context,
    outcome_of,
    with_times,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ON_SINGLE_ROWS = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
"""Expectations whose verdict on a row depends on that row alone."""
ON_TYPES = frozenset(
    {
        "expect_column_type_to_be",
        "expect_column_values_to_be_in_type_list",
        "expect_column_values_to_be_of_type",
    }
)
"""Expectations on the type of a column, of which every value of a Parquet column is an example."""
_BATCH_ROWS = 200_000
_BATCH_SECONDS = 60.0
"""CPU time for one batch of one expectation: what takes longer is a regular expression that backtracks forever."""
_AGAIN_SECONDS = 0.2
_TEXT_BYTES = 60
_COPIES = 4
"""Great Expectations holds about so many copies of a column while it checks it."""


class TakesTooLongError(Exception):
    """A check used up its time on one batch of rows."""


def check_types(
    suite: Suite, configurations: Sequence[Any], indices: Sequence[int], parts: Sequence[Path]
) -> dict[int, ExpectationOutcome]:
    """Check expectations on types by one value of each column, and a missing one if there are some.

    pandas' type of a column depends on both: integers with a missing value are floating-point numbers to it.
    """
    outcomes: dict[int, ExpectationOutcome] = {}
    for index in indices:
        item = suite.expectations[index]
        table, present = _example(parts, item.kwargs["column"])
        outcome = validate_frame(suite, configurations, [index], _frame(table))[index]
        if outcome.unexpected_count:
            outcome = replace(outcome, unexpected_count=present)
        outcomes[index] = outcome
    return outcomes


def _example(parts: Sequence[Path], column: str) -> tuple["pa.Table", int]:
    """Return a table of at most one value and one missing value of a column, and the number of its values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    examples: dict[bool, pa.Table] = {}
    present = 0
    for batch in _batches(parts, [column]):
        missing = pc.is_null(batch[column], nan_is_null=True)
        present += batch.num_rows - (pc.sum(missing).as_py() or 0)
        for wanted in (False, True):
            place = pc.index(missing, wanted).as_py()
            if wanted not in examples and place >= 0:
                examples[wanted] = batch.slice(place, 1)
    tables = [examples[wanted] for wanted in sorted(examples)]
    return pa.concat_tables(tables) if tables else _empty(parts[0], [column]), present


def check_rows(
    suite: Suite, configurations: Sequence[Any], indices: Sequence[int], parts: Sequence[Path], columns: Sequence[str]
) -> dict[int, ExpectationOutcome]:
    """Check expectations on single rows batch by batch; the verdict is on the sums."""
    sums = {index: RowFigures(rows=0, looked_at=0, failing=0, sample=()) for index in indices}
    broken: dict[int, ExpectationOutcome] = {}
    for table in _batches(parts, columns):
        running = [index for index in indices if index not in broken]
        if not running:
            break
        for index, found in _results(suite, configurations, running, _frame(table)).items():
            outcome = outcome_of(suite.expectations[index], found)
            if outcome.is_crashed:
                broken[index] = outcome
                continue
            sums[index] = _plus(sums[index], found.result)
    return {
        index: broken.get(index) or judge_rows(suite.expectations[index], configurations[index], sums[index])
        for index in indices
    }


def _plus(sums: RowFigures, result: Mapping[str, Any]) -> RowFigures:
    rows = int(result["element_count"])
    room = SAMPLE_SIZE - len(sums.sample)
    return RowFigures(
        rows=sums.rows + rows,
        looked_at=sums.looked_at + rows - int(result.get("missing_count") or 0),
        failing=sums.failing + int(result["unexpected_count"]),
        sample=[*sums.sample, *result.get("partial_unexpected_list", [])[:room]],
    )


def check_whole(
    suite: Suite,
    configurations: Sequence[Any],
    indices: Sequence[int],
    parts: Sequence[Path],
    *,
    columns: Sequence[str],
    memory: int,
) -> dict[int, ExpectationOutcome]:
    """Check expectations on whole columns, one after the other, as long as they fit in ``memory`` bytes."""
    import pyarrow as pa

    outcomes = {}
    for index in indices:
        item = suite.expectations[index]
        own = needed_columns([item], columns)
        needed = _size(parts, own)
        if needed > memory:
            reason = (
                f"it needs whole columns in memory, some {needed / 1e9:.2g} GB, which is more than [mlops] "
                "duckdb_memory_limit allows. Raise the limit, or expect something else"
            )
            outcomes[index] = crashed(item, reason)
            continue
        table = pa.concat_tables(list(_batches(parts, own)) or [_empty(parts[0], own)])
        outcomes |= validate_frame(suite, configurations, [index], _frame(table))
    return outcomes


def needed_columns(items: Sequence[Expectation], names: Sequence[str]) -> list[str]:
    """Return the columns whose values the expectations look at; too many rather than too few."""
    texts = [text for item in items for text in _texts(item.kwargs)]
    conditions = [text for item in items for text in _texts(item.kwargs.get("row_condition"))]
    exact = set(texts)
    needed = [name for name in names if name in exact or any(name in condition for condition in conditions)]
    return needed or list(names[:1])  # One column tells the number of rows.


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _batches(parts: Sequence[Path], columns: Sequence[str]) -> Iterator["pa.Table"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in parts:
        with pq.ParquetFile(part, pre_buffer=False) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns)):
                yield pa.Table.from_batches([batch]).select(list(columns))


def _empty(part: Path, columns: Sequence[str]) -> "pa.Table":
    import pyarrow.parquet as pq

    return pq.read_schema(part).empty_table().select(list(columns))


def _frame(table: "pa.Table") -> "pd.DataFrame":
    # Dates as timestamps, since pandas compares its own dates with nothing else.
    frame: pd.DataFrame = table.to_pandas(date_as_object=False, split_blocks=True)
    return frame


def _size(parts: Sequence[Path], columns: Sequence[str]) -> int:
    """Return about how many bytes Great Expectations takes for whole columns."""
    import pyarrow.parquet as pq
    import pyarrow.types as kinds

    size = 0
    for part in parts:
        metadata = pq.read_metadata(part)
        schema = pq.read_schema(part)
        stored = dict.fromkeys(columns, 0)
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                name = chunk.path_in_schema.split(".")[0]
                if name in stored:
                    stored[name] += chunk.total_uncompressed_size
        for name in columns:
            kind = schema.field(name).type
            fixed = kinds.is_primitive(kind)
            size += metadata.num_rows * (8 if fixed else _TEXT_BYTES) + (0 if fixed else stored[name])
    return size * _COPIES


def validate_frame(
    suite: Suite, configurations: Sequence[Any], indices: Sequence[int], frame: "pd.DataFrame"
) -> dict[int, ExpectationOutcome]:
    """Return the outcomes of expectations on a frame, by their place in the suite."""
    found = _results(suite, configurations, indices, frame)
    return {index: outcome_of(suite.expectations[index], result) for index, result in found.items()}


def _results(
    suite: Suite, configurations: Sequence[Any], indices: Sequence[int], frame: "pd.DataFrame"
) -> dict[int, Any]:
    import great_expectations as gx
    import pandas as pd

    batch = _batch_definition().get_batch({"dataframe": frame})
    kinds = pd.api.types
    times = {
        str(name): frame[name].dt.tz is not None
        for name in frame.columns
        if kinds.is_datetime64_any_dtype(frame[name].dtype)
    }
    results: dict[int, Any] = {}
    for index in indices:
        chosen = with_times(configurations[index], times).to_domain_obj()
        with _limited(_BATCH_SECONDS):
            found = batch.validate(
                gx.ExpectationSuite(name=suite.name, expectations=[chosen]), result_format=dict(RESULT_FORMAT)
            )
            results[index] = found.results[0]
    return results


@functools.cache
def _batch_definition() -> Any:
    assets = library_context().data_sources.add_pandas("snapshot").add_dataframe_asset("rows")
    return assets.add_batch_definition_whole_dataframe("all")


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise :class:`TakesTooLongError` inside when it has used up so much CPU time; only a main thread can.

    The virtual timer leaves Airflow's own, of ``execution_timeout``, alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        msg = (
            f"it took more than {seconds:.0f} s for {_BATCH_ROWS:,} rows. A regular expression that tries every way to "
            "match a text does: write it without repeats within repeats"
        )
        raise TakesTooLongError(msg)

    before = signal.signal(signal.SIGVTALRM, stop)
    # Again and again, since the library tries a check that raised three times.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
