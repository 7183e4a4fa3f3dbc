"""The library: suites that it accepts, its outcomes as plain values, and its verdict on figures measured elsewhere."""

import contextlib
import datetime as dt
import difflib
import logging
import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_mlops.domain.validation import SAMPLE_SIZE, Expectation, ExpectationOutcome, Suite
from airflow_mlops.exceptions import SuiteError

RESULT_FORMAT: Mapping[str, Any] = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE_SIZE}
BOUNDS = ("min_value", "max_value")
"""Arguments that are compared with values, and are times where those are."""
INDEX_KEY = "airflow_mlops_index"
"""Under ``meta``: the position of an expectation in its suite, by which its result is found."""
_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")
_SCHEMA_PREFIXES = ("expect_table_column", "expect_column_to_exist")
"""Expectations on the names of columns: one that the data lacks is what they look for."""
_TEXT_LENGTH = 1000
_PROBLEM_LENGTH = 300
_LIST_LENGTH = 1000


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


def build_all(suite: Suite) -> list[Any]:
    """Return the library's configurations of a suite's expectations.

    :raises SuiteError: when one of them names an expectation or an argument that does not exist.
    """
    return [build_expectation(number, item) for number, item in enumerate(suite.expectations, start=1)]


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


def with_times(configuration: Any, times: Mapping[str, bool]) -> Any:
    """Return the configuration with the bounds of a time column as times: JSON has texts, which pandas refuses.

    :param times: the columns of times, and whether they have a zone.
    """
    import pandas as pd

    column = configuration.kwargs.get("column")
    if column not in times:
        return configuration
    changed = {
        key: pd.Timestamp(value).to_pydatetime() if isinstance(value, (str, dt.date)) else value
        for key, value in configuration.kwargs.items()
        if key in BOUNDS
    }
    zone = times[column]
    for key, value in changed.items():
        if isinstance(value, dt.datetime) and (value.tzinfo is not None) != zone:
            changed[key] = value.replace(tzinfo=dt.UTC) if zone else value.astimezone(dt.UTC).replace(tzinfo=None)
    return type(configuration)(
        type=configuration.type,
        kwargs=configuration.kwargs | changed,
        severity=configuration.severity,
        meta=configuration.meta,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFigures:
    """What an expectation on rows is judged by."""

    rows: int
    looked_at: int
    failing: int
    sample: Sequence[Any]


def judge_rows(item: Expectation, configuration: Any, figures: RowFigures) -> ExpectationOutcome:
    """Return the library's verdict on the rows that fail."""
    prefix = configuration.to_domain_obj().map_metric
    metrics = _Figures(
        {
            "table.row_count": figures.rows,
            "column_values.nonnull.unexpected_count": figures.rows - figures.looked_at,
            f"{prefix}.filtered_row_count": figures.looked_at,
            f"{prefix}.unexpected_count": figures.failing,
            f"{prefix}.unexpected_values": list(figures.sample),
        }
    )
    outcome, result = _judge(item, configuration, metrics)
    understood = result.get("element_count") == figures.rows and result.get("unexpected_count") == figures.failing
    return outcome if outcome.is_crashed or understood else _misread(item)


def judge_figures(item: Expectation, configuration: Any, figures: Mapping[str, Any]) -> ExpectationOutcome:
    """Return the library's verdict on figures by the names of its metrics, such as ``column.mean``."""
    metrics = _Figures(figures)
    outcome, _ = _judge(item, configuration, metrics)
    return outcome if outcome.is_crashed or metrics.looked_at else _misread(item)


class _Figures(dict[str, Any]):
    """Metrics that tell whether they were looked at: to the library, a metric that it does not find is a pass."""

    looked_at = False

    def __getitem__(self, key: str) -> Any:
        self.looked_at |= key in self
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.looked_at |= key in self
        return super().get(key, default)


def _misread(item: Expectation) -> ExpectationOutcome:
    return crashed(item, "this release of Great Expectations looks for other figures than were measured")


def _judge(
    item: Expectation, configuration: Any, metrics: Mapping[str, Any]
) -> tuple[ExpectationOutcome, Mapping[str, Any]]:
    expectation = configuration.to_domain_obj()
    try:
        # What authors of expectations override: the verdict on the figures that the library would have measured.
        found = expectation._validate(metrics, {"result_format": dict(RESULT_FORMAT)}, None)  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - as the library itself does, whatever an expectation raises
        return crashed(item, str(error) or type(error).__name__), {}
    if not isinstance(found, Mapping):
        found = {"success": found.success, "result": found.result}
    result = found.get("result") or {}
    return _outcome(item, result, success=bool(found["success"])), result


def outcome_of(item: Expectation, found: Any) -> ExpectationOutcome:
    """Return the library's own result of an expectation as an outcome."""
    problem = _exception(found.exception_info or {})
    return _outcome(item, found.result or {}, success=bool(found.success), problem=problem)


def crashed(item: Expectation, reason: str) -> ExpectationOutcome:
    """Return the outcome of a check that broke."""
    return _outcome(item, {}, success=False, problem=reason[:_PROBLEM_LENGTH])


def _outcome(item: Expectation, result: Mapping[str, Any], *, success: bool, problem: str = "") -> ExpectationOutcome:
    observed = result.get("observed_value")
    if details := (result.get("details") or {}).get("mismatched"):
        observed = {"mismatched": details}
    return ExpectationOutcome(
        type=item.type,
        kwargs=plain(item.kwargs),
        success=success,
        severity=item.severity,
        observed=plain(observed),
        unexpected_count=plain(result.get("unexpected_count")),
        unexpected_percent=plain(result.get("unexpected_percent")),
        unexpected_sample=tuple(plain(value) for value in result.get("partial_unexpected_list", [])[:SAMPLE_SIZE]),
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


def lacking_columns(suite: Suite, names: Sequence[str]) -> dict[int, ExpectationOutcome]:
    """Return the outcomes of those expectations that name columns which the data lacks: bad data."""
    has = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")  # noqa: PLR2004 - fits a line
    there = frozenset(names)
    return {
        index: ExpectationOutcome(
            type=item.type,
            kwargs=plain(item.kwargs),
            success=False,
            severity=item.severity,
            problem=f"The dataset has no column {', '.join(map(repr, missing))}. It has: {has}.",
            notes=item.notes,
        )
        for index, item in enumerate(suite.expectations)
        if (missing := _missing_columns(item, there))
    }


def _missing_columns(item: Expectation, names: Collection[str]) -> list[str]:
    if item.type.startswith(_SCHEMA_PREFIXES) and item.type != "expect_column_type_to_be":
        return []
    named = (item.kwargs.get(key) for key in _COLUMN_KEYS)
    wanted = [name for value in named if value for name in ([value] if isinstance(value, str) else value)]
    return [str(name) for name in wanted if name not in names]


def plain(value: Any) -> Any:  # noqa: PLR0911 - one kind of value a line
    """Return JSON values, shortened: numpy and pandas values as Python's, times as text, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value[:_LIST_LENGTH]]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)[:_LIST_LENGTH]
    if hasattr(value, "isoformat"):  # datetime, date, time and pandas' own, whose NaT says "NaT".
        text = value.isoformat()
        return None if text == "NaT" else text
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist())
    if isinstance(value, Decimal):
        return plain(float(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    text = str(value)
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
