"""How the values of a column are distributed: each with its count while they are few, and else the counts of bins."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self, TypeVar

from airflow_mlops.domain.packing import pack_floats, pack_integers, unpack_floats, unpack_integers
from airflow_mlops.domain.profile.grid import Grid
from airflow_mlops.domain.serialization import Document

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
            number = _hash(text)
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


def _hash(text: str) -> int:
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


def keeps_values(grid: Grid | None, rows: int) -> bool:
    """Whether numbers are counted by their value at first; where they turn out to be many, bins are all that is kept.

    Up to ``EXACT_VALUES`` rows all numbers are kept, and of more rows those of a column that has few different ones: by
    a rule of the whole, so that parts merge in any order.
    """
    return grid is None or grid.few or rows <= EXACT_VALUES


def numbers_of(counts: Mapping[float, int], grid: Grid | None, rows: int) -> Values | Histogram:
    """Return the numbers and their counts, or only those of bins where there may be too many.

    :param rows: of all values, missing ones included.
    """
    if grid is None or (keeps_values(grid, rows) and len(counts) <= EXACT_VALUES):
        return Values.of(counts)
    return Histogram(grid=grid, counts=pack_integers(binned(counts, grid)))


def binned(counts: Mapping[float, int], grid: Grid) -> list[int]:
    """Return how many numbers lie in each bin."""
    bins = [0] * grid.size
    for value, count in counts.items():
        bins[grid.position(value)] += count
    return bins


def merge_categories(one: Categories | Folded, other: Categories | Folded) -> Categories | Folded:
    """Return the counts of both; folded where one of them is, or both together have too many texts."""
    if isinstance(one, Categories) and isinstance(other, Categories):
        return distribution_of(added(one.counts, other.counts))
    folded = [side if isinstance(side, Folded) else Folded.of(side.counts) for side in (one, other)]
    return folded[0].merge(folded[1])


_Key = TypeVar("_Key", str, float)


def added(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    """Return the counts of both."""
    counts = dict(one)
    for key, count in other.items():
        counts[key] = counts.get(key, 0) + count
    return counts
