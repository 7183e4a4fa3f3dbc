"""Where numbers are counted: the bins of a column, which the profile of a reference carries."""

import math
from dataclasses import dataclass
from typing import Final, Self

from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

_BINS: Final = 4_096
TAIL_BINS: Final = 1_024
"""Growing bins on either side of a grid."""
TAIL_FIRST: Final = 64.0
TAIL_STEPS: Final = 16
"""The bin of a value that is ``d`` times the span of the equal bins beyond them: log2(1 + TAIL_FIRST d) TAIL_STEPS. So
the growing bin ``n`` begins at the span times (2 ** (n / TAIL_STEPS) - 1) / TAIL_FIRST beyond them."""

CORE: Final = (0.001, 0.999)
"""The quantiles of a sample between which most of the data lies: :meth:`Grid.of` takes them as ``low`` and ``high``."""
FEW_NUMBERS: Final = 64
"""With at most so many different numbers in the sample, a column has few: all are looked for by their value."""


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
        return self.bins + 2 * TAIL_BINS

    def tail_edges(self) -> list[float]:
        """Return how far from the equal bins the growing ones end, the nearest first; the last one has no end."""
        span = self.width * self.bins
        return [span * (2.0 ** (step / TAIL_STEPS) - 1) / TAIL_FIRST for step in range(1, TAIL_BINS)]

    def position(self, value: float) -> int:
        """Return the number of the bin of a finite value."""
        scaled = (value - self.start) / self.width
        if 0 <= scaled < self.bins:
            return TAIL_BINS + int(scaled)
        beyond = -scaled / self.bins if scaled < 0 else scaled / self.bins - 1
        step = int(min(math.log2(1 + TAIL_FIRST * max(beyond, 0.0)) * TAIL_STEPS, TAIL_BINS - 1))
        return TAIL_BINS - 1 - step if scaled < 0 else TAIL_BINS + self.bins + step
