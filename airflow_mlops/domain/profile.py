"""How the values of a data set's columns are distributed, in a few kilobytes a column, whatever the number of rows.

Profiles merge: those of the parts of a data set, in any order, become that of the whole. So windows are profiled by
many tasks, and the profile of a reference is made once. Two profiles can be compared when they are on the same grid,
which the reference's profile carries: profile the current data with it.
"""

import enum
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import ClassVar, Final, Self, TypeVar

from airflow_mlops.domain.packing import pack_floats, pack_integers, unpack_floats, unpack_integers
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

EXACT_VALUES: Final = 10_000
"""As many different numbers are kept with their counts; SciPy computes exact p-values of up to as many rows."""
EXACT_CATEGORIES: Final = 100_000
"""As many different texts are kept with their counts."""
FOLDS: Final = 65_536
"""Into as many counts the texts are folded by their hash where they are more."""
LONGEST_TEXT: Final = 128
"""Characters of a text that are kept; of longer ones the beginning and a hash."""
SKETCH: Final = 1_024
"""Smallest hashes that are kept for the number of different texts: its standard error is 1 / sqrt(SKETCH), 3 %."""
_HASH_BITS: Final = 60

_BINS: Final = 4_096
_TAIL_BINS: Final = 1_024
_TAIL_FIRST: Final = 64.0
_TAIL_STEPS: Final = 16


class ProfileKind(enum.StrEnum):
    """What the values of a column are, as far as their distribution goes."""

    NUMBER = "number"
    CATEGORY = "category"
    """Texts and truth values."""
    TIME = "time"
    """Dates and times: counted, but always on the move."""
    OTHER = "other"
    """Lists, structs and bytes: counted only."""
    NOTHING = "nothing"
    """A column without a type, in which every value is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid(Document):
    """Where numbers are counted: bins of equal width, and on either side bins that grow by 4.4 % each.

    The growing bins begin about three bins wide and reach 2 to the power of 58 times as far as the equal ones; the last
    of them holds what is further.
    """

    start: float
    """The left edge of the first bin of equal width."""
    width: float
    bins: int = _BINS
    whole: bool = False
    """Each of the equal bins holds a single value, in its middle: a whole number."""
    few: bool = False
    """The reference has few different numbers: all are kept by their value as long as they are few."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.width) and self.width > 0 and self.bins > 0):
            msg = f"A grid needs a start, and a width and bins above zero, but is {self}."
            raise InvalidInputError(msg)

    @classmethod
    def of(cls, *, low: float, high: float, minimum: float, maximum: float, whole: bool, few: bool = False) -> Self:
        """Return a grid for data of which most lies between ``low`` and ``high``, and a sample all in the others.

        A quarter of the span is added on either side, since the data that is compared may have moved.

        :param whole: whether all values are whole numbers.
        :param few: whether there are few different ones.
        """
        spread = high - low
        if not spread > 0:
            low = high = (low + high) / 2
            spread = max(abs(low), 1.0)
        first, last = max(minimum, low - spread), min(maximum, high + spread)
        if not last > first:
            first, last = low - spread, low + spread
        margin = (last - first) / 4
        first, last = first - margin, last + margin
        if not (math.isfinite(first) and math.isfinite(last) and math.isfinite(last - first)):
            first, last = -1e300, 1e300
        if whole and last - first < 2**53:
            step = max(1, math.ceil((last - first + 2) / _BINS))
            return cls(start=math.floor(first) - 0.5, width=float(step), whole=step == 1, few=few)
        width = (last - first) / _BINS
        # Far from zero, floats are no finer than this.
        finest = max(abs(first), abs(last)) * 2**-50
        return cls(start=first, width=max(width, finest, 1e-300), few=few)

    @property
    def end(self) -> float:
        """The right edge of the last bin of equal width."""
        return self.start + self.width * self.bins

    @property
    def size(self) -> int:
        """The number of all bins: the growing ones below, the furthest first, the equal ones, those above."""
        return self.bins + 2 * _TAIL_BINS

    def tail_edges(self) -> list[float]:
        """Return how far from the equal bins the growing ones end, the nearest first; the last one has no end."""
        span = self.width * self.bins
        return [span * (2.0 ** (step / _TAIL_STEPS) - 1) / _TAIL_FIRST for step in range(1, _TAIL_BINS)]

    def position(self, value: float) -> int:
        """Return the number of the bin of a finite value."""
        scaled = (value - self.start) / self.width
        if 0 <= scaled < self.bins:
            return _TAIL_BINS + int(scaled)
        beyond = -scaled / self.bins if scaled < 0 else scaled / self.bins - 1
        step = int(min(math.log2(1 + _TAIL_FIRST * max(beyond, 0.0)) * _TAIL_STEPS, _TAIL_BINS - 1))
        return _TAIL_BINS - 1 - step if scaled < 0 else _TAIL_BINS + self.bins + step


TAIL_BINS: Final = _TAIL_BINS
"""Growing bins on either side of a grid."""
TAIL_FIRST: Final = _TAIL_FIRST
TAIL_STEPS: Final = _TAIL_STEPS
"""The bin of a value that is ``d`` times the span of the equal bins beyond them: log2(1 + TAIL_FIRST d) TAIL_STEPS. So
the growing bin ``n`` begins at the span times (2 ** (n / TAIL_STEPS) - 1) / TAIL_FIRST beyond them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values(Document):
    """All different numbers, in order, and how often each occurs."""

    kind: ClassVar[str] = "values"

    values: str
    """Packed floats."""
    counts: str
    """Packed whole numbers."""

    @classmethod
    def of(cls, counts: Mapping[float, int]) -> Self:
        """Pack numbers and their counts."""
        ordered = sorted(counts)
        plain = (value + 0.0 for value in ordered)  # -0.0 becomes 0.0, which it equals
        return cls(values=pack_floats(plain), counts=pack_integers(counts[value] for value in ordered))

    def items(self) -> dict[float, int]:
        """Return the count of each number, in order."""
        return dict(zip(unpack_floats(self.values), unpack_integers(self.counts), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Document):
    """How many numbers lie in each bin of a grid."""

    kind: ClassVar[str] = "histogram"

    grid: Grid
    counts: str
    """Packed whole numbers, one for each of ``grid.size`` bins."""

    def bins(self) -> Sequence[int]:
        """Return the counts."""
        return unpack_integers(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories(Document):
    """How often each text occurs."""

    kind: ClassVar[str] = "categories"

    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded(Document):
    """How often texts occur of which there are too many, by their hash: different texts may share a count."""

    kind: ClassVar[str] = "folded"

    counts: str
    """Packed whole numbers, one for each remainder of a hash by ``FOLDS``."""
    sketch: str
    """The smallest hashes of the texts, packed, in order."""

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Self:
        """Fold texts and their counts."""
        folds, hashes = [0] * FOLDS, []
        for text, count in counts.items():
            number = hash_text(text)
            folds[number % FOLDS] += count
            hashes.append(number)
        return cls(counts=pack_integers(folds), sketch=pack_integers(sorted(hashes)[:SKETCH]))

    def merge(self, other: "Folded") -> "Folded":
        """Return the counts of both."""
        counts = map(sum, zip(unpack_integers(self.counts), unpack_integers(other.counts), strict=True))
        hashes = {*unpack_integers(self.sketch), *unpack_integers(other.sketch)}
        return Folded(counts=pack_integers(counts), sketch=pack_integers(sorted(hashes)[:SKETCH]))

    def distinct(self) -> int:
        """Return about how many different texts there are, with a standard error of 3 %.

        Bar-Yossef and others, "Counting distinct elements in a data stream" (RANDOM 2002): the k-th smallest hash.
        """
        hashes = unpack_integers(self.sketch)
        if len(hashes) < SKETCH:
            return len(hashes)
        return round((SKETCH - 1) * (1 << _HASH_BITS) / max(hashes[-1], 1))


Distribution = Values | Histogram | Categories | Folded


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile(Document):
    """One column: how many values it has and lacks, and how they are distributed."""

    name: str
    type: str
    """As the data names it, such as ``double`` or ``string``."""
    kind: ProfileKind
    rows: int
    nulls: int = 0
    nans: int = 0
    """Values that are not a number; they count as missing in all distances."""
    infinities: int = 0
    """Infinite values of either sign; they count as missing in all distances, too, as Evidently has it."""
    whole: bool = False
    """Whether the type is one of whole numbers."""
    minimum: float | None = None
    """Of the finite numbers."""
    maximum: float | None = None
    mean: float | None = None
    squares: float = 0.0
    """Sum of the squares of the numbers' distances from their mean."""
    grid: Grid | None = None
    """Where the numbers of this column are counted, also while they are few enough to be kept."""
    distribution: Distribution | None = None
    """``None`` where the kind has none."""

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.nulls + self.nans

    @property
    def count(self) -> int:
        """Rows whose value counts in distances."""
        return self.rows - self.nulls - self.nans - self.infinities

    @property
    def standard_deviation(self) -> float | None:
        """Of the numbers, with their count as divisor."""
        return math.sqrt(self.squares / self.count) if self.mean is not None and self.count else None

    def distinct(self) -> int | None:
        """Return how many different values there are: of folded texts about, of binned numbers at least."""
        found = self.distribution
        match found:
            case Values():
                return len(unpack_integers(found.counts))
            case Histogram():
                return found.grid.size - found.bins().count(0)
            case Categories():
                return len(found.counts)
            case Folded():
                return found.distinct()
        return None

    def merge(self, other: "ColumnProfile") -> "ColumnProfile":
        """Return the profile of the rows of both. The order does not matter, but for the last digits of the moments.

        :raises InvalidInputError: when they are of different kinds or on different grids.
        """
        if ProfileKind.NOTHING in (self.kind, other.kind):
            typed, empty = (other, self) if self.kind is ProfileKind.NOTHING else (self, other)
            return replace(typed, rows=typed.rows + empty.rows, nulls=typed.nulls + empty.nulls)
        if self.kind is not other.kind:
            msg = f"{self.name} has {self.kind} in one profile, but {other.kind} in the other: they cannot be merged."
            raise InvalidInputError(msg)
        mean, squares = _moments(self, other)
        return ColumnProfile(
            name=self.name,
            type=self.type if self.type == other.type else " or ".join(sorted({*_types(self), *_types(other)})),
            kind=self.kind,
            rows=self.rows + other.rows,
            nulls=self.nulls + other.nulls,
            nans=self.nans + other.nans,
            infinities=self.infinities + other.infinities,
            whole=self.whole and other.whole,
            minimum=min((side.minimum for side in (self, other) if side.minimum is not None), default=None),
            maximum=max((side.maximum for side in (self, other) if side.maximum is not None), default=None),
            mean=mean,
            squares=squares,
            grid=_common_grid(self, other),
            distribution=_merged(self, other),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetProfile(Document):
    """The profiles of the columns of some rows."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    engine: str = ""
    """What made it, with its version."""
    notes: tuple[str, ...] = field(default=())
    """Which columns could not be profiled, and why."""

    def column(self, name: str) -> ColumnProfile | None:
        """Return the profile of a column, or ``None`` where there is no such column."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def grids(self) -> dict[str, Grid]:
        """The grid of each column of numbers, for the profile of the data to compare with."""
        return {column.name: column.grid for column in self.columns if column.grid is not None}

    def merge(self, other: "DatasetProfile") -> "DatasetProfile":
        """Return the profile of the rows of both; a column that one of them lacks is left out, and noted.

        :raises InvalidInputError: when a column is of different kinds or on different grids.
        """
        theirs = {column.name: column for column in other.columns}
        ours = {column.name for column in self.columns}
        single = sorted(ours ^ theirs.keys()) if self.rows and other.rows else []
        if not (self.rows and other.rows):  # A part without rows may also know no columns.
            whole, empty = (self, other) if self.rows or len(ours) >= len(theirs) else (other, self)
            known = {column.name for column in whole.columns}
            extra = tuple(column for column in empty.columns if column.name not in known) if not whole.rows else ()
            return replace(whole, columns=(*whole.columns, *extra), notes=_notes(self, other))
        return DatasetProfile(
            rows=self.rows + other.rows,
            columns=tuple(column.merge(theirs[column.name]) for column in self.columns if column.name in theirs),
            engine=self.engine or other.engine,
            notes=tuple(dict.fromkeys([*_notes(self, other), *(f"Not every part has {name}." for name in single)])),
        )


def merge_profiles(profiles: Iterable[DatasetProfile]) -> DatasetProfile:
    """Return the profile of all parts of a data set.

    :raises InvalidInputError: when there is none, or two of them cannot be merged.
    """
    parts = list(profiles)
    if not parts:
        msg = "There is no profile to merge. Profile at least one part."
        raise InvalidInputError(msg)
    return reduce(DatasetProfile.merge, parts)


def hash_text(text: str) -> int:
    """Return a hash of 60 bits, the same here and in SQL: the first 15 hexadecimal digits of its MD5."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def category(text: str) -> str:
    """Return a text as it is kept: as it is, or its beginning and a hash where it is long."""
    if len(text) <= LONGEST_TEXT:
        return text
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return f"{text[: LONGEST_TEXT - 33]}…{digest}"


def distribution_of(counts: Mapping[str, int]) -> Categories | Folded:
    """Return the texts and their counts, folded where there are too many."""
    return Categories(counts=dict(sorted(counts.items()))) if len(counts) <= EXACT_CATEGORIES else Folded.of(counts)


def numbers_of(counts: Mapping[float, int], grid: Grid | None, rows: int) -> Values | Histogram:
    """Return the numbers and their counts, or only those of bins where there may be too many.

    :param rows: of all values, missing ones included. Up to ``EXACT_VALUES`` rows all numbers are kept, and of more
        rows those of a column that has few different ones: by a rule of the whole, so that parts merge in any order.
    """
    if grid is None or ((grid.few or rows <= EXACT_VALUES) and len(counts) <= EXACT_VALUES):
        return Values.of(counts)
    return Histogram(grid=grid, counts=pack_integers(binned(counts, grid)))


def binned(counts: Mapping[float, int], grid: Grid) -> list[int]:
    """Return how many numbers lie in each bin."""
    bins = [0] * grid.size
    for value, count in counts.items():
        bins[grid.position(value)] += count
    return bins


def _types(profile: ColumnProfile) -> list[str]:
    return profile.type.split(" or ")


def _notes(*profiles: DatasetProfile) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for profile in profiles for note in profile.notes))


def _moments(ours: ColumnProfile, theirs: ColumnProfile) -> tuple[float | None, float]:
    """Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)."""
    if ours.mean is None or not ours.count:
        return theirs.mean, theirs.squares
    if theirs.mean is None or not theirs.count:
        return ours.mean, ours.squares
    total, change = ours.count + theirs.count, theirs.mean - ours.mean
    mean = (ours.mean * ours.count + theirs.mean * theirs.count) / total
    return mean, ours.squares + theirs.squares + change * change * (ours.count * theirs.count / total)


def _common_grid(ours: ColumnProfile, theirs: ColumnProfile) -> Grid | None:
    if ours.grid is None or theirs.grid is None:
        return ours.grid or theirs.grid
    if ours.grid != theirs.grid:
        msg = (
            f"{ours.name} was counted on different grids: {ours.grid} and {theirs.grid}. "
            "Profile all parts with the grids of the reference's profile."
        )
        raise InvalidInputError(msg)
    return ours.grid


def _merged(ours: ColumnProfile, theirs: ColumnProfile) -> Distribution | None:
    one, other = ours.distribution, theirs.distribution
    if one is None or other is None:
        return one or other
    if isinstance(one, Categories | Folded) and isinstance(other, Categories | Folded):
        return _merged_categories(one, other)
    if isinstance(one, Values) and isinstance(other, Values):
        return numbers_of(_added(one.items(), other.items()), _common_grid(ours, theirs), ours.rows + theirs.rows)
    grid = _common_grid(ours, theirs)
    if grid is None or not isinstance(one, Values | Histogram) or not isinstance(other, Values | Histogram):
        msg = f"{ours.name} has distributions that cannot be merged: {one.kind} and {other.kind}."
        raise InvalidInputError(msg)
    sides = [side.bins() if isinstance(side, Histogram) else binned(side.items(), grid) for side in (one, other)]
    return Histogram(grid=grid, counts=pack_integers(map(sum, zip(*sides, strict=True))))


def _merged_categories(one: Categories | Folded, other: Categories | Folded) -> Categories | Folded:
    if isinstance(one, Categories) and isinstance(other, Categories):
        return distribution_of(_added(one.counts, other.counts))
    folded = [side if isinstance(side, Folded) else Folded.of(side.counts) for side in (one, other)]
    return folded[0].merge(folded[1])


_Key = TypeVar("_Key", str, float)


def _added(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    counts = dict(one)
    for key, count in other.items():
        counts[key] = counts.get(key, 0) + count
    return counts
