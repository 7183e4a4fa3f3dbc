"""From the measured columns to a verdict on the window, with its reasons in sentences."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from airflow_mlops.domain.drift.found import ColumnDrift, DataDrift
from airflow_mlops.domain.drift.method import DriftMethod, benjamini_hochberg
from airflow_mlops.domain.drift.spec import Correction, DriftSpec
from airflow_mlops.domain.drift.volume import Volume
from airflow_mlops.domain.monitoring import CheckVerdict

_SHOWN: Final = 5
"""Columns that a sentence names; the report has all."""


def judge_columns(columns: Sequence[ColumnDrift], spec: DriftSpec) -> tuple[ColumnDrift, ...]:
    """Say of each measured column whether it has drifted, after the correction and by the least effect asked for.

    Columns that could not be compared are none of the tests that are corrected for; texts and embeddings, whose value
    must also be more than chance, are some of them.
    """
    tests = {index: p for index, item in enumerate(columns) if (p := _p_value(item)) is not None}
    adjusted: dict[int, float] = {}
    if spec.correction is Correction.BENJAMINI_HOCHBERG:
        adjusted = dict(zip(tests, benjamini_hochberg([*tests.values()]), strict=True))
    return tuple(_judge(item, adjusted.get(index), spec) for index, item in enumerate(columns))


def _judge(item: ColumnDrift, adjusted: float | None, spec: DriftSpec) -> ColumnDrift:
    if item.value is None:
        return replace(item, drifted=False, adjusted=None)
    method, p_value = _method(item), _p_value(item) if adjusted is None else adjusted
    if not method.is_p_value:
        is_chance = p_value is not None and p_value > spec.significance
        return replace(item, drifted=method.says_drift(item.value, item.threshold) and not is_chance, adjusted=adjusted)
    drifted = p_value is not None and method.says_drift(p_value, item.threshold)
    if spec.min_effect is not None and item.effect is not None:
        drifted = drifted and item.effect >= spec.min_effect
    return replace(item, drifted=drifted, adjusted=adjusted)


def _p_value(item: ColumnDrift) -> float | None:
    if item.value is None:
        return None
    return item.value if _method(item).is_p_value else item.p_value


def _method(item: ColumnDrift) -> DriftMethod:
    return DriftMethod(item.method)


def judge_window(drift: DataDrift, spec: DriftSpec, volume: Volume | None) -> tuple[CheckVerdict, tuple[str, ...]]:
    """Return the verdict on a window and its reasons, the most important one first."""
    rows = drift.current.rows
    if rows < spec.min_rows:
        return CheckVerdict.UNDECIDED, (_too_few(rows, spec.min_rows),)
    violations = tuple(
        sentence
        for sentence in (
            *_must_stay(drift, spec),
            _share(drift, spec) if drift.share >= spec.drift_share else "",
            *drift.lost,
            *_missing(drift.all_columns, spec.missing_change),
            *_new(drift.all_columns, spec.new_category_share),
            *_outside(drift.all_columns, spec.outside_share),
            _volume(volume, spec),
        )
        if sentence
    )
    if violations:
        return CheckVerdict.VIOLATED, violations
    if not any(item.value is not None for item in drift.all_columns):
        return CheckVerdict.UNDECIDED, ("There was no column to compare.", *drift.notes)
    return CheckVerdict.PASSED, (_share(drift, spec),)


def _too_few(rows: int, least: int) -> str:
    if rows == 0:
        return "The window has no rows, so nothing can be said of it. Did the data arrive?"
    return f"The window has {rows:,} rows, and nothing is said of fewer than {least:,} (min_rows): chance moves them."


def _share(drift: DataDrift, spec: DriftSpec) -> str:
    below = drift.share < spec.drift_share
    names = _names((f"{item.column} {_value(item)}" for item in drift.drifted), len(drift.drifted))
    return (
        f"{len(drift.drifted)} of {drift.compared} columns have drifted ({drift.share:.0%}), "
        f"{'below' if below else 'which reaches'} the drift_share of {spec.drift_share:.0%}{names}"
    )


def _must_stay(drift: DataDrift, spec: DriftSpec) -> Iterable[str]:
    for what, columns in (("prediction", drift.prediction), ("label", drift.label)):
        for item in columns:
            if item.drifted:
                yield f"The {what} {item.column} has drifted: {_value(item)}{_against(item)}."
    for item in drift.columns:
        if item.drifted and item.column in spec.stable:
            yield f"{item.column} must not drift, and has: {_value(item)}{_against(item)}."


def _missing(columns: Sequence[ColumnDrift], most: float | None) -> Iterable[str]:
    if most is None:
        return ()
    found = [item for item in columns if abs(item.missing_current - item.missing_reference) >= most]
    found.sort(key=lambda item: -abs(item.missing_current - item.missing_reference))
    return _each(
        (f"{item.column} lacks {item.missing_current:.1%} of its values, instead of {item.missing_reference:.1%}")
        for item in found
    )


def _new(columns: Sequence[ColumnDrift], most: float | None) -> Iterable[str]:
    if most is None:
        return ()
    found = [(item, item.new_share) for item in columns if item.new_share and item.new_share >= most]
    found.sort(key=lambda pair: -pair[1])
    return _each(
        f"{share:.1%} of the rows have a category of {item.column} that the reference does not know, such as "
        f"{', '.join(item.new_categories[:3])}"
        for item, share in found
    )


def _outside(columns: Sequence[ColumnDrift], most: float | None) -> Iterable[str]:
    if most is None:
        return ()
    found = sorted(
        (item for item in columns if (item.outside or 0) >= max(most, 1e-12)), key=lambda i: -(i.outside or 0)
    )
    return _each(f"{item.outside:.1%} of the rows have a {item.column} outside the reference's range" for item in found)


def _volume(volume: Volume | None, spec: DriftSpec) -> str:
    if volume is None:
        return ""
    too_few = spec.least_volume is not None and volume.ratio < spec.least_volume
    too_many = spec.most_volume is not None and volume.ratio > spec.most_volume
    return f"{'Too few' if too_few else 'Too many'} rows came: {volume}." if too_few or too_many else ""


def _each(sentences: Iterable[str]) -> Iterable[str]:
    found = list(sentences)
    yield from (f"{sentence}." for sentence in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"So it is with {len(found) - _SHOWN:,} more columns."


def _names(names: Iterable[str], count: int) -> str:
    shown = [name for name, _ in zip(names, range(_SHOWN), strict=False)]
    return f": {', '.join(shown)}{', …' if count > _SHOWN else '.'}" if shown else "."


def _value(item: ColumnDrift) -> str:
    if item.value is None:
        return "not compared"
    value = item.value if item.adjusted is None else item.adjusted
    return f"p {value:.2g}" if _method(item).is_p_value else f"{value:.2f}"


def _against(item: ColumnDrift) -> str:
    sign = "≤" if _method(item).is_p_value else "≥"
    return f" ({item.method} {sign} {item.threshold:g})"
