"""Profiles computed by the database that holds the data: SQL that PostgreSQL and DuckDB both understand.

The database is sent aggregates and sends counts back, so that no row leaves it: one query for the moments, one for the
bins of up to 16 columns of numbers (``GROUPING SETS``), and one for each column of texts. A profile on the grids of a
reference can be compared with it, whichever engine made either.
"""
# ruff: noqa: S608 - SQL has no parameters for names and relations; identifiers are quoted, the query is the author's

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from airflow_mlops.domain.packing import pack_integers
from airflow_mlops.domain.profile import (
    CORE,
    EXACT_CATEGORIES,
    EXACT_VALUES,
    FEW_NUMBERS,
    FOLDS,
    SKETCH,
    TAIL_BINS,
    TAIL_FIRST,
    TAIL_STEPS,
    ColumnProfile,
    DatasetProfile,
    Folded,
    Grid,
    Histogram,
    ProfileKind,
    category,
    distribution_of,
    keeps_values,
    numbers_of,
)

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query and returns all of its rows; they are few."""

_TOGETHER: Final = 16
"""Columns whose bins are counted in one query; PostgreSQL tells up to 31 groupings apart."""
_SAMPLE_ROWS: Final = 20_000
_FIRST_HASH: Final = {"postgresql": "('x' || {digits})::bit(60)::bigint", "duckdb": "('0x' || {digits})::BIGINT"}
"""How hexadecimal digits become a number."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    kind: ProfileKind

    @property
    def sql(self) -> str:
        return '"' + self.name.replace('"', '""') + '"'

    @property
    def number(self) -> str:
        return f"({self.sql})::float8"

    @property
    def is_finite(self) -> str:
        """The condition of numbers that count; NaN is above all numbers in both dialects."""
        return f"({self.number} > '-Infinity'::float8 AND {self.number} < 'Infinity'::float8)"

    @property
    def text(self) -> str:
        if self.type == "bool":
            return f"CASE WHEN {self.sql} THEN 'true' ELSE 'false' END"
        # A cast to text drops the blanks at the end of a PostgreSQL CHAR(n), which a client and a snapshot get.
        return f"CASE WHEN {self.sql} IS NOT NULL THEN concat({self.sql}) END"


def profile_sql(
    ask: Ask,
    relation: str,
    types: Mapping[str, str],
    *,
    dialect: str,
    grids: Mapping[str, Grid] | None = None,
    engine: str = "",
) -> DatasetProfile:
    """Return the profile of the rows of a relation.

    :param ask: runs a query. Let it be in one transaction that sees one state, since there are several queries.
    :param relation: a quoted table name, or a query in parentheses.
    :param types: the columns to profile, and their Arrow types, such as ``double``, ``int64``, ``string`` or ``bool``.
    :param dialect: ``postgresql`` or ``duckdb``.
    :param grids: those of the reference's profile; a column that is not in them gets a grid of its own.
    :param engine: what computes it, with its version.
    """
    source = f"{relation} AS source"
    columns = [_Column(name, kind, _kind(kind)) for name, kind in types.items()]
    rows, profiles = _moments(ask, source, columns)
    numbers = [column for column in columns if column.kind is ProfileKind.NUMBER]
    placed = {
        column.name: (grids or {}).get(column.name) or _grid(ask, source, column, profiles[column.name])
        for column in numbers
    }
    for column in numbers:
        profiles[column.name] = replace(profiles[column.name], grid=placed[column.name])
    binned = [column for column in numbers if not keeps_values(placed[column.name], rows)]
    for start in range(0, len(binned), _TOGETHER):
        for name, counts in _bins(ask, source, binned[start : start + _TOGETHER], placed):
            profiles[name] = replace(profiles[name], distribution=counts)
    for column in columns:
        profile = profiles[column.name]
        if column.kind is ProfileKind.NUMBER and profile.distribution is None:
            profiles[column.name] = _with_values(ask, source, column, profile)
        elif column.kind is ProfileKind.CATEGORY:
            profiles[column.name] = replace(profile, distribution=_categories(ask, source, column, dialect))
    return DatasetProfile(rows=rows, columns=tuple(profiles.values()), engine=engine or dialect)


def _kind(arrow: str) -> ProfileKind:
    if arrow.startswith(("int", "uint", "float", "double", "half", "decimal")):
        return ProfileKind.NUMBER
    if arrow in {"string", "large_string", "bool", "boolean"}:
        return ProfileKind.CATEGORY
    return ProfileKind.TIME if arrow.startswith(("date", "time", "duration")) else ProfileKind.OTHER


def _moments(ask: Ask, source: str, columns: Sequence[_Column]) -> tuple[int, dict[str, ColumnProfile]]:
    """Return the number of rows, and of each column what a profile says beside its distribution."""
    selected = ["count(*)"]
    for column in columns:
        selected.append(f"count({column.sql})")
        if column.kind is ProfileKind.NUMBER:
            finite = f"FILTER (WHERE {column.is_finite})"
            selected += [f"count(*) FILTER (WHERE {column.number} = 'NaN'::float8)", f"count(*) {finite}"]
            selected += [f"{name}({column.number}) {finite}" for name in ("min", "max")]
            # PostgreSQL refuses to square numbers beyond this.
            moderate = f"FILTER (WHERE abs({column.number}) < 1e150::float8)"
            selected += [f"{name}({column.number}) {moderate}" for name in ("avg", "var_pop")]
    found = iter(ask(f"SELECT {', '.join(selected)} FROM {source}")[0])
    rows, profiles = int(next(found)), {}
    for column in columns:
        given = int(next(found))
        profile = ColumnProfile(
            name=column.name,
            type=column.type,
            kind=column.kind,
            rows=rows,
            nulls=rows - given,
            whole=column.type.startswith(("int", "uint")),
        )
        if column.kind is ProfileKind.NUMBER:
            nans, finite_count = int(next(found)), int(next(found))
            low, high, mean, variance = (next(found) for _ in range(4))
            profile = replace(profile, nans=nans, infinities=given - nans - finite_count)
            if finite_count:
                squares = float(variance or 0.0) * finite_count
                mean = None if mean is None else float(mean)
                profile = replace(profile, minimum=float(low), maximum=float(high), mean=mean, squares=squares)
        profiles[column.name] = profile
    return rows, profiles


def _grid(ask: Ask, source: str, column: _Column, profile: ColumnProfile) -> Grid | None:
    """Return a grid for a reference, by the quantiles of a random sample."""
    if profile.minimum is None or profile.maximum is None:
        return None
    share = min(1.0, 2 * _SAMPLE_ROWS / profile.count)
    sample = f"SELECT {column.number} AS x FROM {source} WHERE {column.is_finite} AND random() <= {share!r}"
    quantiles = ", ".join(f"percentile_disc({share}) WITHIN GROUP (ORDER BY x)" for share in CORE)
    query = f"SELECT {quantiles}, count(DISTINCT x) FROM ({sample} LIMIT {_SAMPLE_ROWS}) AS sample"
    low, high, distinct = ask(query)[0]
    return Grid.of(
        low=profile.minimum if low is None else float(low),
        high=profile.maximum if high is None else float(high),
        minimum=profile.minimum,
        maximum=profile.maximum,
        whole=profile.whole,
        few=int(distinct) <= FEW_NUMBERS,
    )


def _bins(
    ask: Ask, source: str, columns: Sequence[_Column], grids: Mapping[str, Grid | None]
) -> Iterator[tuple[str, Histogram]]:
    """Yield the bins of columns, which one query counts; each of its rows belongs to one column."""
    placed = [(column, grid) for column in columns if (grid := grids[column.name]) is not None]
    names = [f"bin_{number}" for number in range(len(placed))]
    bins = ", ".join(f"{_bin(column, grid)} AS {name}" for (column, grid), name in zip(placed, names, strict=True))
    sets = ", ".join(f"({name})" for name in names)
    query = (
        f"SELECT GROUPING({', '.join(names)}), coalesce({', '.join([*names, '-1'])}), count(*) "
        f"FROM (SELECT {bins} FROM {source}) AS binned GROUP BY GROUPING SETS ({sets})"
    )
    counts = [[0] * grid.size for _, grid in placed]
    # GROUPING has a bit for each column, the last column's lowest; it is 0 for the one that was grouped by.
    which = {(1 << len(names)) - 1 - (1 << (len(names) - 1 - number)): number for number in range(len(names))}
    for grouping, position, count in ask(query):
        if position >= 0:
            counts[which[int(grouping)]][int(position)] += int(count)
    for (column, grid), found in zip(placed, counts, strict=True):
        yield column.name, Histogram(grid=grid, counts=pack_integers(found))


def _bin(column: _Column, grid: Grid) -> str:
    """Return the SQL of the number of a value's bin, as :meth:`Grid.position` has it; NULL where it counts in none."""
    # What is further is in the outermost bins anyway, and PostgreSQL refuses to compute beyond the range of floats.
    span = grid.width * grid.bins
    least, most = max(grid.start - span * 2.0**60, -1e306), min(grid.end + span * 2.0**60, 1e306)
    value = f"least(greatest({column.number}, {_float(least)}), {_float(most)})"
    below = f"({_float(grid.start)} - {value}) / {_float(span)}"
    above = f"({value} - {_float(grid.end)}) / {_float(span)}"
    inside = f"floor(({value} - {_float(grid.start)}) / {_float(grid.width)})"
    first = TAIL_BINS + grid.bins
    return (
        f"CASE WHEN NOT {column.is_finite} THEN NULL "
        f"WHEN {column.number} < {_float(grid.start)} THEN {TAIL_BINS - 1} - {_step(below)} "
        f"WHEN {column.number} >= {_float(grid.end)} THEN {first} + {_step(above)} "
        f"WHEN {column.number} IS NOT NULL THEN {TAIL_BINS} + least({inside}, {grid.bins - 1})::int END"
    )


def _step(beyond: str) -> str:
    step = f"floor(ln(1.0::float8 + {TAIL_FIRST!r}::float8 * greatest({beyond}, 0.0::float8)) / ln(2.0::float8)"
    return f"least({step} * {TAIL_STEPS}.0::float8), {TAIL_BINS - 1})::int"


def _float(value: float) -> str:
    return f"({value!r})::float8"


def _with_values(ask: Ask, source: str, column: _Column, profile: ColumnProfile) -> ColumnProfile:
    """Count numbers by their value; if there are too many after all, by their bins."""
    query = f"SELECT {column.number}, count(*) FROM {source} WHERE {column.is_finite} GROUP BY 1"
    found = ask(f"{query} LIMIT {EXACT_VALUES + 1}")
    if len(found) > EXACT_VALUES and profile.grid is not None:
        return replace(profile, distribution=next(_bins(ask, source, [column], {column.name: profile.grid}))[1])
    counts = {float(value): int(count) for value, count in found}
    return replace(profile, distribution=numbers_of(counts, profile.grid, profile.rows))


def _categories(ask: Ask, source: str, column: _Column, dialect: str) -> Any:
    """Count texts; if there are too many, by their hash."""
    given = f"{column.sql} IS NOT NULL"
    found = ask(f"SELECT {column.text}, count(*) FROM {source} WHERE {given} GROUP BY 1 LIMIT {EXACT_CATEGORIES + 1}")
    if len(found) <= EXACT_CATEGORIES:
        counts: dict[str, int] = {}
        for text, count in found:
            counts[category(str(text))] = counts.get(category(str(text)), 0) + int(count)
        return distribution_of(counts)
    hashed = _FIRST_HASH[dialect].format(digits=f"substr(md5({column.text}), 1, 15)")
    folds = [0] * FOLDS
    for fold, count in ask(f"SELECT {hashed} % {FOLDS}, count(*) FROM {source} WHERE {given} GROUP BY 1"):
        folds[int(fold)] = int(count)
    smallest = ask(f"SELECT DISTINCT {hashed} FROM {source} WHERE {given} ORDER BY 1 LIMIT {SKETCH}")
    return Folded(counts=pack_integers(folds), sketch=pack_integers(int(row[0]) for row in smallest))
