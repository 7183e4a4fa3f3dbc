"""Groups of rows by one column: values as they are, the rarest pooled, numbers in bins of equal size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from airflow_mlops.domain.slices import OTHER
from airflow_mlops.engines.numpy.metrics import Array

PLAIN_NUMBERS = 10
"""Numbers of at most so many different values are taken value by value, as weekdays are."""
_MANY_CELLS = 100_000
"""Beyond so many possible combinations only those that occur are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Which group each row belongs to: a code a row, which counts from 0, and a label for each code."""

    column: str
    codes: Array
    labels: tuple[str, ...]
    note: str = ""
    """What was done to the values, when something was."""


def pool(column: str, codes: Array, labels: Sequence[str], keep: int) -> Groups:
    """Keep the most frequent groups and make the rest one, ``(other)``. Of equally frequent ones the first stay."""
    import numpy as np

    if len(labels) <= keep:
        return Groups(column=column, codes=_small(codes, len(labels)), labels=tuple(labels))
    rows = np.bincount(codes, minlength=len(labels))
    kept = np.sort(np.argsort(-rows, kind="stable")[:keep])
    place = np.full(len(labels), keep)
    place[kept] = np.arange(keep)
    rare = int(rows.sum() - rows[kept].sum())
    return Groups(
        column=column,
        codes=_small(place[codes], keep + 1),
        labels=(*(labels[index] for index in kept), OTHER),
        note=f"{column} has {len(labels):,} values: the {keep} most frequent stand alone, the rest, {rare:,} rows, are "
        f"{OTHER}.",
    )


def is_identifier(values: Array) -> bool:
    """Whether each row has a whole number of its own, as a key has."""
    import numpy as np

    return bool(
        len(values) > PLAIN_NUMBERS and (values == np.floor(values)).all() and len(np.unique(values)) == len(values)
    )


def bin_numbers(column: str, values: Array, bins: int, missing: str) -> Groups:
    """Put numbers into quantile bins; NaN is the group ``missing``, the last. Few different values stay as they are.

    A bin holds its lower end and not its upper one. Where a value is very frequent, bins fall together.
    """
    import numpy as np

    gone = np.isnan(values)
    known = values[~gone]
    distinct = np.unique(known)
    plain = len(distinct) <= PLAIN_NUMBERS
    if plain:
        labels = [f"{value:.6g}" for value in distinct]
        codes = np.searchsorted(distinct, values)
    else:
        edges = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
        edges = np.unique(np.maximum(edges, distinct[1]))  # the lowest value alone can fill whole bins, as no rain does
        shown = [f"{edge:.6g}" for edge in edges]
        labels = [f"{low} to below {high}" for low, high in pairwise(shown)]
        labels = [f"below {shown[0]}", *labels, f"{shown[-1]} or more"]
        codes = np.searchsorted(edges, values, side="right")
    if gone.any():
        codes = np.where(gone, len(labels), codes)
        labels.append(missing)
    groups = Groups(column=column, codes=_small(codes, len(labels)), labels=tuple(labels))
    return (
        groups if plain else replace(groups, note=f"{column} is in {len(labels) - gone.any()} bins by its quantiles.")
    )


def combine(parts: Sequence[Groups]) -> tuple[Array, Array]:
    """Return a code a row for the combination of columns that it has, and of each code the columns' own codes.

    Only combinations that occur have a code when there are very many possible ones, so memory stays in proportion to
    the rows.
    """
    import numpy as np

    codes = parts[0].codes.astype(np.int64)
    cells = np.arange(len(parts[0].labels))[:, None]
    for part in parts[1:]:
        size = len(part.labels)
        codes = codes * size + part.codes
        cells = np.column_stack([np.repeat(cells, size, axis=0), np.tile(np.arange(size), len(cells))])
        if len(cells) > _MANY_CELLS:
            seen, codes = np.unique(codes, return_inverse=True)
            cells = cells[seen]
    return codes, cells


def _small(codes: Array, count: int) -> Array:
    """Return codes in the smallest type that holds them: one byte a row for most columns."""
    import numpy as np

    small: Array = codes.astype(np.min_scalar_type(max(count - 1, 0)))
    return small
