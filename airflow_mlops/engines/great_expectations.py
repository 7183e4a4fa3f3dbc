"""Great Expectations: runs a suite on the Parquet parts of a snapshot, in memory, and leaves nothing behind.

Only the columns that the suite names are loaded. Two cases are kept apart that the library reports alike, as an
exception in a result: a column that the data lacks is bad data and fails the expectation; a check that breaks says
nothing about the data, and its outcome says so (``is_crashed``).
"""

import contextlib
import datetime as dt
import difflib
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.validation import SAMPLE_SIZE, Expectation, ExpectationOutcome, Suite
from airflow_mlops.exceptions import SuiteError

if TYPE_CHECKING:
    import pandas as pd

_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")
BOUNDS = ("min_value", "max_value")
"""Arguments that are compared with values, and are times where those are."""
_SCHEMA_PREFIXES = ("expect_table_column", "expect_column_to_exist")
"""Expectations on the names of columns, for which no row is loaded."""
_TEXT_LENGTH = 1000
_PROBLEM_LENGTH = 300
_LIST_LENGTH = 1000
INDEX_KEY = "airflow_mlops_index"
"""Under ``meta``: the position of an expectation in its suite, by which its result is found."""


def run_suite(suite: Suite, parts: Sequence[Path]) -> tuple[ExpectationOutcome, ...]:
    """Return the outcome of every expectation, in the suite's order.

    :raises SuiteError: when the suite names an expectation or an argument that does not exist.
    """
    import pyarrow.parquet as pq

    with quietly():
        expectations = [build_expectation(number, item) for number, item in enumerate(suite.expectations, start=1)]
        schema = pq.read_schema(parts[0])
        outcomes = {
            index: lacking_columns(item, missing, schema.names)
            for index, item in enumerate(suite.expectations)
            if (missing := missing_columns(item, schema.names))
        }
        on_schema = [i for i, item in enumerate(suite.expectations) if item.type.startswith(_SCHEMA_PREFIXES)]
        on_rows = [i for i in range(len(expectations)) if i not in outcomes and i not in on_schema]
        if on_schema:
            outcomes |= _validate(suite, expectations, on_schema, schema.empty_table().to_pandas())
        if on_rows:
            columns = _needed_columns([suite.expectations[i] for i in on_rows], schema.names)
            outcomes |= _validate(suite, expectations, on_rows, _load(parts, columns))
    return tuple(outcomes[index] for index in range(len(expectations)))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the library's remarks on itself out of the task's log: deprecations, and what it registers on import."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def build_expectation(number: int, item: Expectation) -> Any:
    """Return the library's configuration of an expectation, once it is known that it can be built."""
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = list_registered_expectation_implementations()
    if item.type not in known:
        near = difflib.get_close_matches(item.type, known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else " See https://greatexpectations.io/expectations/."
        msg = f"Expectation {number} of the suite, {item.type}, is not known to Great Expectations.{hint}"
        raise SuiteError(msg)
    try:
        configuration = ExpectationConfiguration(
            type=item.type,
            kwargs=dict(item.kwargs),
            severity=FailureSeverity(item.severity),
            meta={INDEX_KEY: number - 1},
        )
        configuration.to_domain_obj()
    except ValidationError as error:
        reason = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}".removeprefix("__root__: ") for e in error.errors()
        )
        msg = f"Expectation {number} of the suite, {item.type}, cannot take its arguments: {reason}."
        raise SuiteError(msg) from error
    except (GreatExpectationsError, TypeError, ValueError) as error:
        msg = f"Expectation {number} of the suite, {item.type}, cannot be built: {error}"
        raise SuiteError(msg) from error
    return configuration


def missing_columns(item: Expectation, names: Sequence[str]) -> list[str]:
    """Return the columns that an expectation on rows names and the data lacks."""
    if item.type.startswith(_SCHEMA_PREFIXES):
        return []
    named = (item.kwargs.get(key) for key in _COLUMN_KEYS)
    wanted = [name for value in named if value for name in ([value] if isinstance(value, str) else value)]
    return [str(name) for name in wanted if name not in names]


def lacking_columns(item: Expectation, missing: Sequence[str], names: Sequence[str]) -> ExpectationOutcome:
    """Return the outcome of an expectation on columns that the data lacks: bad data, which fails it."""
    has = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")  # noqa: PLR2004 - fits a line
    return ExpectationOutcome(
        type=item.type,
        kwargs=_plain(item.kwargs),
        success=False,
        severity=item.severity,
        problem=f"The dataset has no column {', '.join(map(repr, missing))}. It has: {has}.",
        notes=item.notes,
    )


def _needed_columns(items: Sequence[Expectation], names: Sequence[str]) -> list[str]:
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


def _load(parts: Sequence[Path], columns: Sequence[str]) -> "pd.DataFrame":
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables([pq.read_table(part, columns=list(columns), partitioning=None) for part in parts])
    # Dates as timestamps, since pandas compares its own dates with nothing else.
    frame: pd.DataFrame = table.to_pandas(date_as_object=False, split_blocks=True, self_destruct=True)
    return frame


def library_context() -> Any:
    """Return a context of the library that lives in memory, writes nothing and shows no progress."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    configuration = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),  # Without its default, a site of HTML on disk.
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=configuration)


def _validate(
    suite: Suite, configurations: Sequence[Any], indices: Sequence[int], frame: "pd.DataFrame"
) -> dict[int, ExpectationOutcome]:
    import great_expectations as gx

    context = library_context()
    definition = context.data_sources.add_pandas("snapshot").add_dataframe_asset("rows")
    batch = definition.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    chosen = [_with_times(configurations[index], frame).to_domain_obj() for index in indices]
    result = batch.validate(
        gx.ExpectationSuite(name=suite.name, expectations=chosen),
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE_SIZE},
    )
    outcomes: dict[int, ExpectationOutcome] = {}
    for item in result.results:
        assert item.expectation_config is not None  # noqa: S101 - `validate` always says which expectation it was
        index = item.expectation_config.meta[INDEX_KEY]
        outcomes[index] = outcome_of(suite.expectations[index], item)
    return outcomes


def _with_times(configuration: Any, frame: "pd.DataFrame") -> Any:
    """Return the configuration with the bounds of a time column as times: JSON has texts, which pandas refuses."""
    import pandas as pd

    column = configuration.kwargs.get("column")
    if column not in frame.columns or not pd.api.types.is_datetime64_any_dtype(frame[column]):
        return configuration
    changed = {
        key: pd.Timestamp(value).to_pydatetime() if isinstance(value, (str, dt.date)) else value
        for key, value in configuration.kwargs.items()
        if key in BOUNDS
    }
    zone = frame[column].dt.tz
    for key, value in changed.items():
        if isinstance(value, dt.datetime) and (value.tzinfo is None) != (zone is None):
            changed[key] = value.replace(tzinfo=dt.UTC) if zone else value.astimezone(dt.UTC).replace(tzinfo=None)
    return type(configuration)(
        type=configuration.type,
        kwargs=configuration.kwargs | changed,
        severity=configuration.severity,
        meta=configuration.meta,
    )


def outcome_of(item: Expectation, found: Any) -> ExpectationOutcome:
    """Return a result of the library as an outcome."""
    result: Mapping[str, Any] = found.result or {}
    problem = _exception(found.exception_info or {})
    observed = result.get("observed_value")
    if details := result.get("details", {}).get("mismatched"):
        observed = {"mismatched": details}
    return ExpectationOutcome(
        type=item.type,
        kwargs=_plain(item.kwargs),
        success=bool(found.success),
        severity=item.severity,
        observed=_plain(observed),
        unexpected_count=_plain(result.get("unexpected_count")),
        unexpected_percent=_plain(result.get("unexpected_percent")),
        unexpected_sample=tuple(_plain(value) for value in result.get("partial_unexpected_list", [])[:SAMPLE_SIZE]),
        problem=problem and f"It could not be checked: {problem}",
        is_crashed=bool(problem),
        notes=item.notes,
    )


def _exception(info: Mapping[str, Any]) -> str:
    """Return the message of the first exception: ``info`` is flat, or has one entry for each metric that failed."""
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "an exception without a message")[:_PROBLEM_LENGTH]
    return ""


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one kind of value a line
    """Return JSON values, shortened: numpy and pandas values as Python's, times as text, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:_LIST_LENGTH]]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)[:_LIST_LENGTH]
    if hasattr(value, "isoformat"):  # datetime, date, time and pandas' own, whose NaT says "NaT".
        text = value.isoformat()
        return None if text == "NaT" else text
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    if isinstance(value, Decimal):
        return _plain(float(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    text = str(value)
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
