"""Profiles of Parquet files: PyArrow reads them a batch of rows at a time, NumPy counts, on as many threads as allowed.

Memory is that of a batch and the counts, for each thread, whatever the number of rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import reduce
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.domain.packing import pack_integers
from airflow_mlops.domain.profile import (
    EXACT_VALUES,
    TAIL_BINS,
    TAIL_FIRST,
    TAIL_STEPS,
    ColumnProfile,
    DatasetProfile,
    Grid,
    Histogram,
    ProfileKind,
    binned,
    category,
    distribution_of,
    numbers_of,
)
from airflow_mlops.exceptions import DatasetError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_BATCH_ROWS: Final = 65_536
_BLOCK_ROWS: Final = 16_384
"""Rows that are counted at once: what NumPy works on then stays in the processor's cache."""
_SAMPLED_GROUPS: Final = 8
_SAMPLED_ROWS: Final = 4_096
"""Rows of each sampled group, by which the grid is chosen."""
_FEW: Final = 64
"""With at most so many different numbers in the sample, all are looked for by their value."""


def profile_parquet(
    files: Sequence[Path],
    *,
    columns: Sequence[str] | None = None,
    grids: Mapping[str, Grid] | None = None,
    threads: int = 2,
) -> DatasetProfile:
    """Return the profile of Parquet files that have the same columns.

    :param columns: which to profile; ``None`` is all.
    :param grids: those of the reference's profile (:attr:`DatasetProfile.grids`), to compare with it or to merge parts;
        a column that is not in them gets a grid of its own.
    :param threads: that read and count, each with memory for a batch of 65,536 rows.
    :raises DatasetError: when a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = [pq.read_metadata(file) for file in files]
        schema = pq.read_schema(files[0]) if files else pa.schema([])
        wanted = [name for name in schema.names if columns is None or name in columns]
        plan = _plan(files, schema, wanted, grids or {}, opened)
        groups = [
            (file, group) for file, found in zip(files, opened, strict=True) for group in range(found.num_row_groups)
        ]
        shares = [groups[start::threads] for start in range(min(threads, len(groups)))]
        with ThreadPoolExecutor(max(len(shares), 1)) as pool:
            tallies = list(pool.map(lambda share: _count(share, plan), shares)) or [_tallies(plan)]
    except (pa.ArrowException, OSError) as error:
        names = ", ".join(file.name for file in files[:3])
        msg = f"{names} cannot be read as Parquet: {error}"
        raise DatasetError(msg) from error
    rows = sum(found.num_rows for found in opened)
    profiles = [[tally.profile() for tally in side] for side in tallies]
    merged = [reduce(ColumnProfile.merge, column) for column in zip(*profiles, strict=True)]
    return DatasetProfile(rows=rows, columns=tuple(merged), engine=version())


def version() -> str:
    """Return the name and version of the engine, for the evidence."""
    return f"pyarrow {metadata.version('pyarrow')}, numpy {metadata.version('numpy')}"


@dataclass(frozen=True, slots=True)
class _Column:
    """How one column is counted."""

    name: str
    type: str
    kind: ProfileKind
    whole: bool
    grid: Grid | None
    by_value: bool


def _plan(
    files: Sequence[Path], schema: pa.Schema, names: Sequence[str], grids: Mapping[str, Grid], opened: Sequence[Any]
) -> list[_Column]:
    plan = [_column(schema.field(name), grids.get(name)) for name in names]
    numbers = [column.name for column in plan if column.kind is ProfileKind.NUMBER]
    if not numbers:
        return plan
    sample = _sample(files, numbers, opened)
    rows = sum(found.num_rows for found in opened)
    return [
        _decided(column, sample[column.name], rows) if column.kind is ProfileKind.NUMBER else column for column in plan
    ]


def _column(of: pa.Field, grid: Grid | None) -> _Column:
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
    return _Column(of.name, str(kind), found, whole, grid, by_value=False)


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
                    parts[name].append(_floats(batch.column(batch.schema.get_field_index(name))))
    return {name: _finite(np.concatenate(found)) for name, found in parts.items()}


def _decided(column: _Column, sample: Array, rows: int) -> _Column:
    import numpy as np

    by_value = rows <= EXACT_VALUES or len(np.unique(sample)) <= _FEW
    if column.grid is not None:
        return replace(column, by_value=by_value)
    if not len(sample):
        return replace(column, by_value=True)
    low, high = (float(value) for value in np.quantile(sample, (0.001, 0.999)))
    grid = Grid.of(low=low, high=high, minimum=float(sample.min()), maximum=float(sample.max()), whole=column.whole)
    return replace(column, grid=grid, by_value=by_value)


def _count(share: Sequence[tuple[Path, int]], plan: Sequence[_Column]) -> list[_Tally]:
    """Count the row groups of one thread."""
    import pyarrow.parquet as pq

    tallies = _tallies(plan)
    names = [column.name for column in plan]
    texts = [column.name for column in plan if column.kind is ProfileKind.CATEGORY and column.type != "bool"]
    for file, groups in _by_file(share):
        with pq.ParquetFile(file, pre_buffer=False, read_dictionary=texts) as parquet:
            batches = parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names, use_threads=False)
            for batch in batches:
                arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
                for tally in tallies:
                    tally.add(arrays[tally.column.name])
    return tallies


def _by_file(share: Sequence[tuple[Path, int]]) -> Iterator[tuple[Path, list[int]]]:
    groups: dict[Path, list[int]] = {}
    for file, group in share:
        groups.setdefault(file, []).append(group)
    yield from groups.items()


def _tallies(plan: Sequence[_Column]) -> list[_Tally]:
    kinds = {ProfileKind.NUMBER: _Numbers, ProfileKind.CATEGORY: _Categories}
    return [kinds.get(column.kind, _Tally)(column) for column in plan]


@dataclass(slots=True)
class _Tally:
    """Counts rows and nulls, of a column whose values are of no kind that can be compared."""

    column: _Column
    rows: int = 0
    nulls: int = 0

    def add(self, values: pa.Array) -> None:
        self.rows += len(values)
        self.nulls += values.null_count

    def profile(self) -> ColumnProfile:
        column = self.column
        return ColumnProfile(
            name=column.name, type=column.type, kind=column.kind, rows=self.rows, nulls=self.nulls, whole=column.whole
        )


@dataclass(slots=True)
class _Categories(_Tally):
    """Counts texts and truth values."""

    counts: Counter[str] = field(default_factory=Counter)
    pending: tuple[pa.Array, Array] | None = None
    """The dictionary of the last batches, and how often each of its entries has come: row groups share one."""

    def add(self, values: pa.Array) -> None:
        import numpy as np
        import pyarrow as pa

        # slots=True makes a new class, which super() without arguments does not know.
        _Tally.add(self, values)
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        indices = values.indices.drop_null() if values.indices.null_count else values.indices
        found = np.bincount(indices.to_numpy(), minlength=len(values.dictionary))
        if self.pending is not None and values.dictionary.equals(self.pending[0]):
            self.pending = (self.pending[0], self.pending[1] + found)
            return
        self._settle()
        self.pending = (values.dictionary, found)

    def _settle(self) -> None:
        if self.pending is None:
            return
        texts, found = self.pending
        for text, count in zip(texts.to_pylist(), found.tolist(), strict=True):
            if count and text is not None:
                self.counts[category(text) if isinstance(text, str) else str(text).lower()] += count
        self.pending = None

    def profile(self) -> ColumnProfile:
        self._settle()
        return replace(_Tally.profile(self), distribution=distribution_of(self.counts))


@dataclass(slots=True)
class _Numbers(_Tally):
    """Counts numbers: by their value as long as they are few, and else by the bins of the grid."""

    nans: int = 0
    infinities: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    sums: tuple[float, float] = (0.0, 0.0)
    """Of the numbers and of their squares, in widths of the grid from its start."""
    by_value: dict[float, int] | None = None
    bins: Array | None = None
    low: Array | None = None
    high: Array | None = None
    space: Array | None = None
    positions: Array | None = None

    def __post_init__(self) -> None:
        if self.column.by_value:
            self.by_value = {}

    def add(self, values: pa.Array) -> None:
        _Tally.add(self, values)
        numbers = _floats(values)
        if not len(numbers):
            return
        if self.by_value is not None:
            self._add_values(_finite(numbers), numbers)
            return
        for start in range(0, len(numbers), _BLOCK_ROWS):
            self._add_block(numbers[start : start + _BLOCK_ROWS])

    def _add_values(self, finite: Array, numbers: Array) -> None:
        import numpy as np

        self._count_odd(finite, numbers)
        if not len(finite):
            return
        found, counts = np.unique(finite, return_counts=True)
        known = self.by_value
        if known is None:
            return
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            known[value] = known.get(value, 0) + count
        if len(known) > EXACT_VALUES and self.column.grid is not None:
            self._to_bins(known, self.column.grid)

    def _to_bins(self, known: Mapping[float, int], grid: Grid) -> None:
        """Go on with bins: put what is known into them."""
        import numpy as np

        self._make_bins(grid)
        counts = np.array(binned(known, grid), dtype=np.int64)
        self.low = counts[:TAIL_BINS][::-1].copy()
        self.high = counts[TAIL_BINS + grid.bins :].copy()
        if self.bins is not None:
            self.bins[1:-1] = counts[TAIL_BINS : TAIL_BINS + grid.bins]
        values = np.fromiter(known.keys(), dtype=float)
        scaled, weights = (values - grid.start) / grid.width, np.fromiter(known.values(), dtype=float)
        self.sums = (float(scaled @ weights), float((scaled * scaled) @ weights))
        self.minimum, self.maximum = float(values.min()), float(values.max())
        self.by_value = None

    def _make_bins(self, grid: Grid) -> None:
        import numpy as np

        self.bins = np.zeros(grid.bins + 2, dtype=np.int64)
        self.low = np.zeros(TAIL_BINS, dtype=np.int64)
        self.high = np.zeros(TAIL_BINS, dtype=np.int64)
        self.space = np.empty(_BLOCK_ROWS)
        self.positions = np.empty(_BLOCK_ROWS, dtype=np.intp)

    def _count_odd(self, finite: Array, numbers: Array) -> None:
        import numpy as np

        odd = len(numbers) - len(finite)
        if odd:
            nans = int(np.isnan(numbers).sum())
            self.nans += nans
            self.infinities += odd - nans

    def _add_block(self, numbers: Array) -> None:
        import numpy as np

        grid = self.column.grid
        if grid is None:
            return
        if self.bins is None or self.space is None or self.positions is None:
            self._make_bins(grid)
        space, positions = self.space[: len(numbers)], self.positions[: len(numbers)]  # type: ignore[index]
        np.subtract(numbers, grid.start, out=space)
        np.multiply(space, 1 / grid.width, out=space)
        total = float(space.sum())
        if not math.isfinite(total):
            finite = _finite(numbers)
            if len(finite) < len(numbers):
                self._count_odd(finite, numbers)
                if len(finite):
                    self._add_block(finite)
                return
        # Not a dot product: BLAS would start threads of its own.
        self.sums = (self.sums[0] + total, self.sums[1] + float(np.einsum("i,i->", space, space)))
        self.minimum = min(self.minimum, float(numbers.min()))
        self.maximum = max(self.maximum, float(numbers.max()))
        np.add(space, 1.0, out=space)
        np.clip(space, 0.0, grid.bins + 1.0, out=space)
        np.copyto(positions, space, casting="unsafe")
        found = np.bincount(positions, minlength=grid.bins + 2)
        self.bins += found  # type: ignore[operator]
        if found[0] or found[-1]:
            self._add_tails(numbers, grid)

    def _add_tails(self, numbers: Array, grid: Grid) -> None:
        import numpy as np

        scaled = (numbers - grid.start) * (1 / grid.width)
        for beyond, counts in ((-scaled[scaled < 0], self.low), (scaled[scaled >= grid.bins] - grid.bins, self.high)):
            if len(beyond) and counts is not None:
                steps = np.log2(1 + TAIL_FIRST / grid.bins * beyond) * TAIL_STEPS
                counts[:] += np.bincount(np.minimum(steps, TAIL_BINS - 1).astype(np.intp), minlength=TAIL_BINS)

    def profile(self) -> ColumnProfile:
        base = replace(_Tally.profile(self), nans=self.nans, infinities=self.infinities, grid=self.column.grid)
        if self.by_value is not None:
            return with_values(base, self.by_value)
        grid = self.column.grid
        if grid is None or self.bins is None or self.low is None or self.high is None or not base.count:
            return with_values(base, {})
        import numpy as np

        counts = np.concatenate([self.low[::-1], self.bins[1:-1], self.high])
        mean = self.sums[0] / base.count
        squares = max(self.sums[1] - self.sums[0] * mean, 0.0)
        return replace(
            base,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=grid.start + mean * grid.width,
            squares=squares * grid.width**2,
            distribution=Histogram(grid=grid, counts=pack_integers(counts.tolist())),
        )


def with_values(profile: ColumnProfile, counts: Mapping[float, int]) -> ColumnProfile:
    """Return the profile with the moments and the distribution of numbers that were counted by their value."""
    total = sum(counts.values())
    if not total:
        return replace(profile, distribution=numbers_of({}, profile.grid))
    mean = math.fsum(value / total * count for value, count in counts.items())
    squares = math.fsum((value - mean) * (value - mean) * count for value, count in counts.items())
    return replace(
        profile,
        minimum=min(counts),
        maximum=max(counts),
        mean=mean,
        squares=squares,
        distribution=numbers_of(counts, profile.grid),
    )


def _floats(values: pa.Array) -> Array:
    """Return the values that are not null as floats; without a copy where nothing is missing and they are floats."""
    import numpy as np
    import pyarrow as pa

    plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    plain = plain.drop_null() if plain.null_count else plain
    if pa.types.is_decimal(plain.type) or pa.types.is_float16(plain.type):
        plain = plain.cast(pa.float64())
    numbers: Array = plain.to_numpy(zero_copy_only=False)
    return numbers if numbers.dtype == np.float64 else numbers.astype(np.float64)


def _finite(numbers: Array) -> Array:
    import numpy as np

    kept = np.isfinite(numbers)
    return numbers if kept.all() else numbers[kept]
