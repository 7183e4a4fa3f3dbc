"""How each column of Parquet files is counted: by its type, by the reference's grid, or by a sample of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.domain.profile import CORE, FEW_NUMBERS, Grid, ProfileKind, keeps_values
from airflow_mlops.engines.profiles.floats import finite_of, floats

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_SAMPLED_GROUPS: Final = 8
_SAMPLED_ROWS: Final = 4_096
"""Rows of each sampled group, by which the grid is chosen."""


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """How one column is counted."""

    name: str
    type: str
    kind: ProfileKind
    whole: bool
    grid: Grid | None
    by_value: bool


def plan_columns(
    files: Sequence[Path], schema: pa.Schema, names: Sequence[str], grids: Mapping[str, Grid], opened: Sequence[Any]
) -> list[PlannedColumn]:
    """Return how each of the columns ``names`` is counted.

    :param grids: those of the reference's profile; a column that is not in them gets a grid by a sample of the files.
    :param opened: the metadata of each file.
    """
    rows = sum(found.num_rows for found in opened)
    plan = [_column(schema.field(name), grids.get(name), rows) for name in names]
    unknown = [column.name for column in plan if column.kind is ProfileKind.NUMBER and column.grid is None]
    if not unknown:
        return plan
    sample = _sample(files, unknown, opened)
    return [_decided(column, sample[column.name], rows) if column.name in sample else column for column in plan]


def _column(of: pa.Field, grid: Grid | None, rows: int) -> PlannedColumn:
    import pyarrow as pa

    kind = of.type.value_type if pa.types.is_dictionary(of.type) else of.type
    whole = pa.types.is_integer(kind)
    if whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found = ProfileKind.NUMBER
    elif _is_text(kind) or pa.types.is_boolean(kind):
        found = ProfileKind.CATEGORY
    elif pa.types.is_temporal(kind):
        found = ProfileKind.TIME
    else:
        found = ProfileKind.NOTHING if pa.types.is_null(kind) else ProfileKind.OTHER
    return PlannedColumn(of.name, str(kind), found, whole, grid, keeps_values(grid, rows))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _sample(files: Sequence[Path], names: Sequence[str], opened: Sequence[Any]) -> dict[str, Array]:
    """Return some finite numbers of each column: the first rows of groups that lie evenly over all files."""
    import numpy as np
    import pyarrow.parquet as pq

    groups = [(file, group) for file, found in zip(files, opened, strict=True) for group in range(found.num_row_groups)]
    step = max(1, math.ceil(len(groups) / _SAMPLED_GROUPS))
    parts: dict[str, list[Array]] = {name: [np.zeros(0)] for name in names}
    for file, group in groups[::step]:
        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            batches = parquet.iter_batches(_SAMPLED_ROWS, row_groups=[group], columns=list(names), use_threads=False)
            for batch in islice(batches, 1):
                for name in names:
                    parts[name].append(floats(batch.column(batch.schema.get_field_index(name))))
    return {name: finite_of(np.concatenate(found)) for name, found in parts.items()}


def _decided(column: PlannedColumn, sample: Array, rows: int) -> PlannedColumn:
    import numpy as np

    if not len(sample):
        return replace(column, by_value=True)
    low, high = (float(value) for value in np.quantile(sample, CORE))
    grid = Grid.of(
        low=low,
        high=high,
        minimum=float(sample.min()),
        maximum=float(sample.max()),
        whole=column.whole,
        few=len(np.unique(sample)) <= FEW_NUMBERS,
    )
    return replace(column, grid=grid, by_value=keeps_values(grid, rows))
