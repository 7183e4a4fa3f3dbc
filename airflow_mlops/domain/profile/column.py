"""The profile of one column, and how those of the parts of a data set become that of the whole."""

import enum
import math
from dataclasses import dataclass, replace

from airflow_mlops.domain.packing import pack_integers, unpack_integers
from airflow_mlops.domain.profile.distribution import (
    Categories,
    Distribution,
    Folded,
    Histogram,
    Values,
    added,
    binned,
    merge_categories,
    numbers_of,
)
from airflow_mlops.domain.profile.grid import Grid
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError


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
    """``None`` also of numbers that are too large for their squares to be summed, from about 1e154 on."""
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


def _types(profile: ColumnProfile) -> list[str]:
    return profile.type.split(" or ")


def _moments(ours: ColumnProfile, theirs: ColumnProfile) -> tuple[float | None, float]:
    """Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)."""
    if not ours.count or not theirs.count:
        some = theirs if theirs.count else ours
        return some.mean, some.squares
    if ours.mean is None or theirs.mean is None:
        return None, 0.0
    total, change = ours.count + theirs.count, theirs.mean - ours.mean
    mean = (ours.mean * ours.count + theirs.mean * theirs.count) / total
    return finite_moments(mean, ours.squares + theirs.squares + change * change * (ours.count * theirs.count / total))


def finite_moments(mean: float, squares: float) -> tuple[float | None, float]:
    """Return both, or none where the numbers are too large for them: no JSON holds an infinite one."""
    return (mean, squares) if math.isfinite(mean) and math.isfinite(squares) else (None, 0.0)


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
        return merge_categories(one, other)
    if isinstance(one, Values) and isinstance(other, Values):
        return numbers_of(added(one.items(), other.items()), _common_grid(ours, theirs), ours.rows + theirs.rows)
    grid = _common_grid(ours, theirs)
    if grid is None or not isinstance(one, Values | Histogram) or not isinstance(other, Values | Histogram):
        msg = f"{ours.name} has distributions that cannot be merged: {one.kind} and {other.kind}."
        raise InvalidInputError(msg)
    sides = [side.bins() if isinstance(side, Histogram) else binned(side.items(), grid) for side in (one, other)]
    return Histogram(grid=grid, counts=pack_integers(map(sum, zip(*sides, strict=True))))
