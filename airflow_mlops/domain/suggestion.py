"""An expectation suite out of the profile of a dataset: what was seen, with air around it.

A suggestion is where a team starts, and what serving data is held against. It is conservative: it holds for the data it
was made of, and alarms at what that data has no hint of: a column gone, a unit changed, a category nobody has seen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_mlops.domain.profile import LONGEST_TEXT, Categories, ColumnProfile, DatasetProfile, ProfileKind, Values
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

_FEW_NUMBERS = 5
"""Whole numbers of at most so many different values are codes, such as 0 and 1."""
_OFTEN = 20
"""Categories are a closed set when each occurs so many times on average; else new ones are to be expected."""
_KEY_ROWS = 50
"""From so many rows on, different values in all of them are a key."""
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestionSpec(Document):
    """How much air a suggestion leaves."""

    range_margin: float = 0.1
    """On either side of a range, as a share of its span."""
    null_margin: float = 0.01
    """More missing values than were seen, as a share of the rows; none where none was missing."""
    volume_factor: float = 2.0
    """How many times more rows, or fewer, there may be."""
    max_categories: int = 50
    """Texts with more different values are no categories."""
    types: bool = True
    """Whether to expect types, by the names that Great Expectations has for them on pandas."""

    def __post_init__(self) -> None:
        if self.range_margin < 0 or self.null_margin < 0 or self.volume_factor < 1 or self.max_categories < 0:
            msg = f"A suggestion's margins cannot be below 0, nor its volume_factor below 1, but it is {self}."
            raise InvalidInputError(msg)


def suggest_suite(name: str, profile: DatasetProfile, spec: SuggestionSpec) -> dict[str, Any]:
    """Return a suite in the format of Great Expectations 1, with a note on each expectation of what was seen."""
    columns = [column.name for column in profile.columns]
    expectations = [
        _expectation("expect_table_columns_to_match_set", {"column_set": columns, "exact_match": True}, "The schema."),
        _expectation(
            "expect_table_row_count_to_be_between",
            {
                "min_value": math.floor(profile.rows / spec.volume_factor),
                "max_value": math.ceil(profile.rows * spec.volume_factor),
            },
            f"Seen: {profile.rows:,} rows.",
        ),
    ]
    for column in profile.columns:
        expectations += _of_column(column, spec)
    return {
        "name": name,
        "expectations": expectations,
        "meta": {"notes": f"Suggested by the data itself: {profile.rows:,} rows. Correct it by what you know."},
    }


def _of_column(column: ColumnProfile, spec: SuggestionSpec) -> Iterator[dict[str, Any]]:
    yield from _missing(column, spec)
    if spec.types:
        yield from _type(column)
    if column.kind is ProfileKind.NUMBER:
        yield from _numbers(column, spec)
    elif column.kind is ProfileKind.CATEGORY:
        yield from _texts(column, spec)
    if _is_key(column):
        yield _expectation(
            "expect_column_values_to_be_unique", {"column": column.name}, f"Seen: {column.rows:,} different values."
        )


def _missing(column: ColumnProfile, spec: SuggestionSpec) -> Iterator[dict[str, Any]]:
    if not column.rows or column.kind is ProfileKind.NOTHING or column.missing == column.rows:
        return
    if not column.missing:
        yield _expectation("expect_column_values_to_not_be_null", {"column": column.name}, "Seen: none missing.")
        return
    share = column.missing / column.rows
    mostly = math.floor((1 - share - max(spec.null_margin, share / 2)) * 100) / 100
    if mostly > 0:
        yield _expectation(
            "expect_column_values_to_not_be_null",
            {"column": column.name, "mostly": mostly},
            f"Seen: {share:.2%} missing.",
        )


def _type(column: ColumnProfile) -> Iterator[dict[str, Any]]:
    types: tuple[str, ...] = ()
    if column.kind is ProfileKind.NUMBER and column.whole and not column.missing:
        types = _INTEGERS
    elif column.kind is ProfileKind.NUMBER and not column.type.startswith("decimal"):
        types = (*_INTEGERS, "float32", "float64") if column.whole else ("float32", "float64")
    elif column.type in {"string", "large_string"}:
        types = ("str", "object")
    elif column.type == "bool" and not column.missing:
        types = ("bool",)
    if types:
        yield _expectation(
            "expect_column_values_to_be_in_type_list",
            {"column": column.name, "type_list": list(types)},
            f"Seen: {column.type}.",
        )


def _numbers(column: ColumnProfile, spec: SuggestionSpec) -> Iterator[dict[str, Any]]:
    low, high = column.minimum, column.maximum
    if low is None or high is None or column.infinities:
        return
    found = column.distribution
    if column.whole and isinstance(found, Values) and (column.distinct() or 0) <= _FEW_NUMBERS and _recurs(column):
        values = [int(value) for value in found.items()]
        yield _expectation(
            "expect_column_values_to_be_in_set",
            {"column": column.name, "value_set": values},
            f"Seen: {', '.join(map(str, values))}.",
        )
        return
    margin = (high - low) * spec.range_margin or abs(high) * spec.range_margin or spec.range_margin
    bounds = _outward(low, high, margin, whole=column.whole)
    if not all(map(math.isfinite, bounds)):
        return
    yield _expectation(
        "expect_column_values_to_be_between",
        {"column": column.name, "min_value": bounds[0], "max_value": bounds[1]},
        f"Seen: {low:.6g} to {high:.6g}.",
    )


def _texts(column: ColumnProfile, spec: SuggestionSpec) -> Iterator[dict[str, Any]]:
    found = column.distribution
    if column.type == "bool" or not isinstance(found, Categories) or not found.counts:
        return
    if len(found.counts) > spec.max_categories or not _recurs(column):
        return
    if any(len(text) >= LONGEST_TEXT for text in found.counts):  # The profile keeps a hash of their ends.
        return
    most = sorted(found.counts, key=lambda text: -found.counts[text])[:3]
    yield _expectation(
        "expect_column_values_to_be_in_set",
        {"column": column.name, "value_set": sorted(found.counts)},
        f"Seen: {len(found.counts)} different values, most often {', '.join(map(repr, most))}.",
    )


def _recurs(column: ColumnProfile) -> bool:
    return column.count >= _OFTEN * (column.distinct() or 1)


def _is_key(column: ColumnProfile) -> bool:
    if column.rows < _KEY_ROWS or column.missing or column.distinct() != column.rows:
        return False
    return isinstance(column.distribution, Categories) or (
        column.whole and isinstance(column.distribution, Values) and column.maximum != column.minimum
    )


def _outward(low: float, high: float, margin: float, *, whole: bool) -> tuple[float, float]:
    """Return rounder bounds that are at least ``margin`` away, but do not cross zero where no value has."""
    first, last = low - margin, high + margin
    step = 10.0 ** math.floor(math.log10(margin)) if margin > 0 and math.isfinite(margin) else 1.0
    if whole:
        step = max(1.0, step)
    if math.isfinite(first / step) and math.isfinite(last / step):
        first, last = math.floor(first / step) * step, math.ceil(last / step) * step
    if low >= 0:
        first = max(first, 0.0)
    if high <= 0:
        last = min(last, 0.0)
    if whole:
        return int(first), int(last)
    digits = max(0, -math.floor(math.log10(step)))
    rounded = round(first, digits), round(last, digits)
    return (min(rounded[0], low), max(rounded[1], high))


def _expectation(kind: str, kwargs: dict[str, Any], notes: str) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {"notes": notes}}
