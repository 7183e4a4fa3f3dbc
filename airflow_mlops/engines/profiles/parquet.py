"""Profiles of Parquet files: PyArrow reads them a batch of rows at a time, NumPy counts, on as many threads as allowed.

Memory is that of a column of a row group and the counts, for each thread, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from importlib import metadata
from pathlib import Path

from airflow_mlops.domain.profile import ColumnProfile, DatasetProfile, Grid, ProfileKind
from airflow_mlops.engines.profiles.categories import CategoryTally
from airflow_mlops.engines.profiles.numbers import BATCH_ROWS, NumberTally
from airflow_mlops.engines.profiles.plan import PlannedColumn, plan_columns
from airflow_mlops.engines.profiles.tally import Tally
from airflow_mlops.exceptions import DatasetError


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
        plan = plan_columns(files, schema, wanted, grids or {}, opened)
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


def _merged(tallies: tuple[Tally, ...]) -> ColumnProfile:
    first, *others = tallies
    rest = [other for other in others if not first.absorb(other)]
    return reduce(ColumnProfile.merge, (other.profile() for other in rest), first.profile())


def version() -> str:
    """Return the name and version of the engine, for the evidence."""
    return f"pyarrow {metadata.version('pyarrow')}, numpy {metadata.version('numpy')}"


def _count(share: Sequence[tuple[Path, int]], plan: Sequence[PlannedColumn]) -> list[Tally]:
    """Count the row groups of one thread."""
    import numpy as np

    with np.errstate(all="ignore"):  # Numbers that are not finite, or at the ends of the range, are looked at apart.
        return _counted(share, plan)


def _counted(share: Sequence[tuple[Path, int]], plan: Sequence[PlannedColumn]) -> list[Tally]:
    import pyarrow.parquet as pq

    tallies = _tallies(plan)
    texts = [column.name for column in plan if column.kind is ProfileKind.CATEGORY and column.type != "bool"]
    for file, groups in _by_file(share):
        with pq.ParquetFile(file, pre_buffer=False, read_dictionary=texts) as parquet:
            for tally in tallies:  # A column after the other, so that what is decoded is counted from the cache.
                name = [tally.column.name]
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=name, use_threads=False):
                    tally.add(batch.column(0))
    return tallies


def _by_file(share: Sequence[tuple[Path, int]]) -> Iterator[tuple[Path, list[int]]]:
    groups: dict[Path, list[int]] = {}
    for file, group in share:
        groups.setdefault(file, []).append(group)
    yield from groups.items()


def _tallies(plan: Sequence[PlannedColumn]) -> list[Tally]:
    kinds = {ProfileKind.NUMBER: NumberTally, ProfileKind.CATEGORY: CategoryTally}
    return [kinds.get(column.kind, Tally)(column) for column in plan]
