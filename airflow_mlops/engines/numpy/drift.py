"""How far the columns of two profiles are apart, by the methods that Evidently knows and chooses.

A profile of few different values holds all of them, and the statistics are exact. One of more holds how many lie in
each bin, and a statistic comes with how wrong it can be for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from airflow_mlops.domain.drift import (
    ColumnDrift,
    DriftMethod,
    DriftSpec,
    ValueKind,
    automatic_method,
    judge_columns,
)
from airflow_mlops.domain.drift.method import FEW_VALUES, INTEGER_CATEGORIES
from airflow_mlops.domain.profile import Categories, ColumnProfile, DatasetProfile, Folded, ProfileKind
from airflow_mlops.engines.numpy import drift_shares, drift_tests
from airflow_mlops.engines.numpy.drift_sides import Numbers, Shares, are_categories, numbers, shares
from airflow_mlops.exceptions import InvalidInputError

_NEW_CATEGORIES: Final = 10
_COMPARABLE: Final = {ProfileKind.NUMBER: "numbers", ProfileKind.CATEGORY: "categories"}


def measure(
    reference: DatasetProfile, current: DatasetProfile, spec: DriftSpec, columns: Sequence[str]
) -> tuple[ColumnDrift, ...]:
    """Return the drift of each of ``columns``; of one that cannot be compared, a note that says why.

    :param current: profiled on the grids of ``reference`` (:attr:`DatasetProfile.grids`).
    """
    found = tuple(_column(name, reference.column(name), current.column(name), spec) for name in columns)
    return judge_columns(found, spec)


def _column(name: str, before: ColumnProfile | None, now: ColumnProfile | None, spec: DriftSpec) -> ColumnDrift:
    if before is None or now is None:
        side = "reference" if before is None else "current"
        other = now if before is None else before
        return _nothing(name, f"The {side} data has no column {name}.", before if other is now else None, now)
    note = _incomparable(before, now)
    if note:
        return _nothing(name, note, before, now)
    try:
        return _compared(before, now, spec)
    except (InvalidInputError, ValueError, ArithmeticError) as error:  # One odd column does not spoil the others.
        return _nothing(name, f"{name} cannot be compared: {error}", before, now)


def _incomparable(before: ColumnProfile, now: ColumnProfile) -> str:
    name = before.name
    for side, profile in (("reference", before), ("current", now)):
        if not profile.rows:
            return f"The {side} data has no rows."
        if profile.kind is ProfileKind.NOTHING or (profile.kind in _COMPARABLE and not profile.count):
            return f"{name} has no values in the {side} data."
    for profile in (before, now):
        if profile.kind not in _COMPARABLE:
            what = "dates or times" if profile.kind is ProfileKind.TIME else "nested values or bytes"
            return f"{name} holds {what} ({profile.type}), which are not compared."
    if before.kind is not now.kind:
        was, is_ = _COMPARABLE[before.kind], _COMPARABLE[now.kind]
        return f"{name} holds {was} ({before.type}) in the reference data, but {is_} ({now.type}) in the current data."
    return ""


def _nothing(name: str, note: str, before: ColumnProfile | None, now: ColumnProfile | None) -> ColumnDrift:
    return ColumnDrift(
        column=name,
        method="",
        value=None,
        threshold=0.0,
        drifted=False,
        note=note,
        missing_reference=_missing(before),
        missing_current=_missing(now),
        type_reference=before.type if before else "",
        type_current=now.type if now else "",
    )


def _missing(profile: ColumnProfile | None) -> float:
    return profile.missing / profile.rows if profile and profile.rows else 0.0


def _compared(before: ColumnProfile, now: ColumnProfile, spec: DriftSpec) -> ColumnDrift:
    is_number = _is_number(before, now, spec)
    automatic = automatic_method(is_number=is_number, reference_values=before.count, distinct=_distinct(before, now))
    method = spec.method(before.name, automatic, is_number=is_number)
    sides = numbers(before, now) if before.kind is ProfileKind.NUMBER else None
    value, error = _value(method, before, now, sides if is_number else None)
    if not math.isfinite(value):
        return _nothing(before.name, f"{before.name} has no {method.value}: it is {value}.", before, now)
    threshold = spec.threshold_of(before.name, method)
    moved = (
        drift_tests.ks_distance(*sides)[0] if sides and is_number else drift_shares.total_variation(shares(before, now))
    )
    return ColumnDrift(
        column=before.name,
        method=method.value,
        value=value,
        error=error,
        threshold=threshold,
        drifted=method.says_drift(value, threshold),
        effect=moved,
        missing_reference=_missing(before),
        missing_current=_missing(now),
        outside=_outside(before, now, sides[1]) if sides else None,
        **_new(before, now) if before.kind is ProfileKind.CATEGORY else {},  # type: ignore[arg-type]  # two fields
        type_reference=before.type,
        type_current=now.type,
        note=_folded_note(before, now),
    )


def _is_number(before: ColumnProfile, now: ColumnProfile, spec: DriftSpec) -> bool:
    """Whether a column is compared as numbers. By itself, as Evidently has it, by the current data."""
    if before.kind is not ProfileKind.NUMBER:
        return False
    asked = spec.rule(before.name).kind
    if asked is not None:
        return asked is ValueKind.NUMBER
    # pandas, and so Evidently, has integers as floats where some are missing.
    is_code = now.whole and not now.nulls and (now.distinct() or 0) <= INTEGER_CATEGORIES
    return not (is_code and are_categories(before) and are_categories(now))


def _distinct(before: ColumnProfile, now: ColumnProfile) -> int:
    """Return how many different values both sides have together, where they are few, and else at least more than so."""
    least = max(before.distinct() or 0, now.distinct() or 0)
    if least > FEW_VALUES or not (are_categories(before) and are_categories(now)):
        return max(least, FEW_VALUES + 1)
    return len(shares(before, now).names)


_SHARES: Final[Mapping[DriftMethod, Callable[[Shares], float]]] = {
    DriftMethod.CHI_SQUARE: drift_shares.chi_square,
    DriftMethod.HOMOGENEITY: drift_shares.homogeneity,
    DriftMethod.Z: drift_shares.z,
    DriftMethod.JENSEN_SHANNON: drift_shares.jensen_shannon,
    DriftMethod.PSI: drift_shares.psi,
    DriftMethod.KL_DIVERGENCE: drift_shares.kl_divergence,
    DriftMethod.HELLINGER: drift_shares.hellinger,
}
_NUMBERS: Final[Mapping[DriftMethod, Callable[[Numbers, Numbers], tuple[float, float]]]] = {
    DriftMethod.KS: drift_tests.ks,
    DriftMethod.WASSERSTEIN: drift_tests.wasserstein,
}


def _value(
    method: DriftMethod, before: ColumnProfile, now: ColumnProfile, sides: tuple[Numbers, Numbers] | None
) -> tuple[float, float | None]:
    """Return the statistic, and how wrong it can be at most, as far as that is known.

    :param sides: of a column that is compared as numbers.
    """
    if method in _NUMBERS:
        if sides is None:
            msg = f"{method.value} compares numbers, but it holds categories. Take another method."
            raise InvalidInputError(msg)
        return _NUMBERS[method](*sides)
    if sides and method in drift_shares.BINNED:
        return drift_shares.of_numbers(method, _SHARES[method], before, now)
    if method not in _SHARES:
        msg = f"{method.value} compares texts or embeddings. Name the column in the spec's text or embeddings."
        raise InvalidInputError(msg)
    folded = isinstance(before.distribution, Folded) or isinstance(now.distribution, Folded)
    return _SHARES[method](shares(before, now)), None if folded else 0.0


def _outside(before: ColumnProfile, now: ColumnProfile, current: Numbers) -> float | None:
    if before.minimum is None or before.maximum is None or now.minimum is None or now.maximum is None:
        return None
    if now.minimum >= before.minimum and now.maximum <= before.maximum:
        return 0.0
    return current.share_outside(before.minimum, before.maximum)


def _new(before: ColumnProfile, now: ColumnProfile) -> dict[str, object]:
    known, found = before.distribution, now.distribution
    if not isinstance(known, Categories) or not isinstance(found, Categories):
        return {}
    new = {name: count for name, count in found.counts.items() if name not in known.counts}
    names = sorted(new, key=lambda name: (-new[name], name))[:_NEW_CATEGORIES]
    return {"new_categories": tuple(names), "new_share": sum(new.values()) / now.rows}


def _folded_note(before: ColumnProfile, now: ColumnProfile) -> str:
    for side, profile in (("reference", before), ("current", now)):
        if isinstance(profile.distribution, Folded):
            return (
                f"The {side} data has about {profile.distribution.distinct():,} different values, too many to count "
                "each: the distance is at least this."
            )
    return ""
