"""Profiles of Parquet files: PyArrow reads them a batch of rows at a time, NumPy counts, on as many threads as allowed.

Memory is that of a batch and the counts, for each thread, whatever the number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_mlops.domain.packing import pack_integers
from airflow_mlops.domain.profile import (
    EXACT_CATEGORIES,
    EXACT_VALUES,
    TAIL_BINS,
    TAIL_FIRST,
    TAIL_STEPS,
    ColumnProfile,
    DatasetProfile,
    Folded,
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
"""Rows of a column that are counted at once: few enough to stay in the processor's cache, and many for a call."""
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
    return DatasetProfile(rows=rows, columns=tuple(map(_merged, zip(*tallies, strict=True))), engine=version())


def _merged(tallies: tuple[_Tally, ...]) -> ColumnProfile:
    first, *others = tallies
    rest = [other for other in others if not first.absorb(other)]
    return reduce(ColumnProfile.merge, (other.profile() for other in rest), first.profile())


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
    rows = sum(found.num_rows for found in opened)
    plan = [_column(schema.field(name), grids.get(name), rows) for name in names]
    unknown = [column.name for column in plan if column.kind is ProfileKind.NUMBER and column.grid is None]
    if not unknown:
        return plan
    sample = _sample(files, unknown, opened)
    return [_decided(column, sample[column.name], rows) if column.name in sample else column for column in plan]


def _column(of: pa.Field, grid: Grid | None, rows: int) -> _Column:
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
    by_value = grid is not None and (grid.few or rows <= EXACT_VALUES)
    return _Column(of.name, str(kind), found, whole, grid, by_value)


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

    if not len(sample):
        return replace(column, by_value=True)
    low, high = (float(value) for value in np.quantile(sample, (0.001, 0.999)))
    grid = Grid.of(
        low=low,
        high=high,
        minimum=float(sample.min()),
        maximum=float(sample.max()),
        whole=column.whole,
        few=len(np.unique(sample)) <= _FEW,
    )
    return replace(column, grid=grid, by_value=grid.few or rows <= EXACT_VALUES)


def _count(share: Sequence[tuple[Path, int]], plan: Sequence[_Column]) -> list[_Tally]:
    """Count the row groups of one thread."""
    import numpy as np

    with np.errstate(all="ignore"):  # Numbers that are not finite, or at the ends of the range, are looked at apart.
        return _counted(share, plan)


def _counted(share: Sequence[tuple[Path, int]], plan: Sequence[_Column]) -> list[_Tally]:
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

    def absorb(self, _other: _Tally) -> bool:
        """Add what another thread has counted, where that is quicker than to merge profiles, and say whether."""
        return False

    def profile(self) -> ColumnProfile:
        column = self.column
        return ColumnProfile(
            name=column.name, type=column.type, kind=column.kind, rows=self.rows, nulls=self.nulls, whole=column.whole
        )


@dataclass(slots=True)
class _Categories(_Tally):
    """Counts texts and truth values: by the texts as long as there are not too many, and else by their hash."""

    texts: pa.Array | None = None
    """All different texts that have come, and how often each has."""
    counts: Array | None = None
    pending: tuple[pa.Array, Array] | None = None
    """The dictionary of the last batches, and how often each of its entries has come: a row group has one."""
    folded: Folded | None = None

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
        """Add the pending counts to those of all texts."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.pending is None:
            return
        texts, found = self.pending
        self.pending = None
        if texts.null_count or (found == 0).any():  # A dictionary may hold a null, or what only other rows have.
            kept = np.flatnonzero((found > 0) & texts.is_valid().to_numpy(zero_copy_only=False))
            self.nulls += int(found.sum() - found[kept].sum())
            texts, found = texts.take(pa.array(kept)), found[kept]
        if self.texts is None or self.counts is None:
            self.texts, self.counts = texts, found
        else:
            places = pc.index_in(texts, value_set=self.texts)
            new = places.is_null().to_numpy(zero_copy_only=False)
            at = places.fill_null(0).to_numpy()
            np.add.at(self.counts, at[~new], found[~new])
            if new.any():
                self.texts = pa.concat_arrays([self.texts, texts.filter(pa.array(new))])
                self.counts = np.concatenate([self.counts, found[new]])
        if len(self.texts) > EXACT_CATEGORIES:
            self._fold()

    def _fold(self) -> None:
        """Keep the counts by hash only."""
        if self.texts is not None and self.counts is not None:
            known = Folded.of(_named(self.texts, self.counts))
            self.folded = known if self.folded is None else self.folded.merge(known)
        self.texts = self.counts = None

    def profile(self) -> ColumnProfile:
        self._settle()
        if self.folded is not None:
            self._fold()
            return replace(_Tally.profile(self), distribution=self.folded)
        counts = {} if self.texts is None or self.counts is None else _named(self.texts, self.counts)
        return replace(_Tally.profile(self), distribution=distribution_of(counts))


def _named(texts: pa.Array, counts: Array) -> dict[str, int]:
    """Return how often each text has come, texts that are too long by what is kept of them."""
    named: dict[str, int] = {}
    for text, count in zip(texts.to_pylist(), counts.tolist(), strict=True):
        name = category(text) if isinstance(text, str) else str(text).lower()
        named[name] = named.get(name, 0) + count
    return named


@dataclass(slots=True)
class _Numbers(_Tally):
    """Counts numbers: by their value as long as they are few, and else by the bins of the grid."""

    nans: int = 0
    infinities: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    by_value: dict[float, int] | None = None
    work: _Work | None = None

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
        for start in range(0, len(numbers), _BATCH_ROWS):
            self._add_block(numbers[start : start + _BATCH_ROWS])

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

        work = self.work = _Work.of(grid)
        counts = np.array(binned(known, grid), dtype=np.int64)
        work.low[:] = counts[:TAIL_BINS][::-1]
        work.bins[1:-1] = counts[TAIL_BINS : TAIL_BINS + grid.bins]
        work.high[:] = counts[TAIL_BINS + grid.bins :]
        values, weights = np.array(list(known)), np.array(list(known.values()), dtype=float)
        scaled = (values - grid.start) / grid.width + 1
        work.sums[:] = float((scaled * weights).sum()), float((scaled * scaled * weights).sum())
        self.minimum, self.maximum = float(values.min()), float(values.max())
        self.by_value = None

    def _count_odd(self, finite: Array, numbers: Array) -> None:
        import numpy as np

        odd = len(numbers) - len(finite)
        if odd:
            nans = int(np.isnan(numbers).sum())
            self.nans += nans
            self.infinities += odd - nans

    def _add_block(self, numbers: Array) -> None:
        """Count numbers in few passes of NumPy over memory that is used again and again."""
        import numpy as np

        grid = self.column.grid
        if grid is None:
            return
        if self.work is None:
            self.work = _Work.of(grid)
        work = self.work
        scaled, positions = work.scaled[: len(numbers)], work.positions[: len(numbers)]
        # The first bin of equal width is number 1: 0 and the last number are of what lies beyond on either side.
        np.subtract(numbers, grid.start - grid.width, out=scaled)
        np.multiply(scaled, 1 / grid.width, out=scaled)
        total = float(scaled.sum())
        if not math.isfinite(total):
            finite = _finite(numbers)
            if len(finite) < len(numbers):
                self._count_odd(finite, numbers)
                if len(finite):
                    self._add_block(finite)
                return
        # Not a dot product: BLAS would start threads of its own.
        work.sums[0] += total
        work.sums[1] += float(np.einsum("i,i->", scaled, scaled))
        self.minimum = min(self.minimum, float(numbers.min()))
        self.maximum = max(self.maximum, float(numbers.max()))
        np.clip(scaled, 0.0, grid.bins + 1.0, out=scaled)
        np.copyto(positions, scaled, casting="unsafe")
        below, above = work.bins[0], work.bins[-1]
        np.add.at(work.bins, positions, 1)  # faster than bincount, which looks for the largest position first
        if work.bins[0] > below:
            _add_tail(work.low, (grid.start - numbers[positions == 0]) / grid.width, grid)
        if work.bins[-1] > above:
            _add_tail(work.high, (numbers[positions == grid.bins + 1] - grid.end) / grid.width, grid)

    def absorb(self, other: _Tally) -> bool:
        if not isinstance(other, _Numbers) or self.work is None or other.work is None:
            return False
        for name in ("rows", "nulls", "nans", "infinities"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.work.absorb(other.work)
        return True

    def profile(self) -> ColumnProfile:
        base = replace(_Tally.profile(self), nans=self.nans, infinities=self.infinities, grid=self.column.grid)
        if self.by_value is not None:
            return with_values(base, self.by_value)
        grid, work = self.column.grid, self.work
        if grid is None or work is None or not base.count:
            return with_values(base, {})
        import numpy as np

        counts = np.concatenate([work.low[::-1], work.bins[1:-1], work.high])
        mean = work.sums[0] / base.count
        squares = max(work.sums[1] - work.sums[0] * mean, 0.0)
        return replace(
            base,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=grid.start + (mean - 1) * grid.width,
            squares=squares * grid.width**2,
            distribution=Histogram(grid=grid, counts=pack_integers(counts.tolist())),
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """The counts of a column, and memory to count with."""

    bins: Array
    """Those of equal width, and before and behind them one of all that lies beyond."""
    low: Array
    """The growing ones below, the nearest first."""
    high: Array
    sums: list[float]
    """Of the numbers and of their squares, in widths of the grid, from one width before its start."""
    scaled: Array
    positions: Array

    @classmethod
    def of(cls, grid: Grid) -> _Work:
        import numpy as np

        bins, low, high = (np.zeros(size, dtype=np.int64) for size in (grid.bins + 2, TAIL_BINS, TAIL_BINS))
        return cls(bins, low, high, [0.0, 0.0], np.empty(_BATCH_ROWS), np.empty(_BATCH_ROWS, dtype=np.intp))

    def absorb(self, other: _Work) -> None:
        """Add the counts of another thread."""
        import numpy as np

        for mine, theirs in ((self.bins, other.bins), (self.low, other.low), (self.high, other.high)):
            np.add(mine, theirs, out=mine)
        self.sums[:] = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]


def _add_tail(tail: Array, beyond: Array, grid: Grid) -> None:
    """Count numbers that lie beyond the equal bins, by how many widths."""
    import numpy as np

    steps = np.log2(1 + TAIL_FIRST / grid.bins * np.maximum(beyond, 0)) * TAIL_STEPS
    np.add.at(tail, np.minimum(steps, TAIL_BINS - 1).astype(np.intp), 1)


def with_values(profile: ColumnProfile, counts: Mapping[float, int]) -> ColumnProfile:
    """Return the profile with the moments and the distribution of numbers that were counted by their value."""
    total = sum(counts.values())
    if not total:
        return replace(profile, distribution=numbers_of({}, profile.grid, profile.rows))
    mean = math.fsum(value / total * count for value, count in counts.items())
    squares = math.fsum((value - mean) * (value - mean) * count for value, count in counts.items())
    return replace(
        profile,
        minimum=min(counts),
        maximum=max(counts),
        mean=mean,
        squares=squares,
        distribution=numbers_of(counts, profile.grid, profile.rows),
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
