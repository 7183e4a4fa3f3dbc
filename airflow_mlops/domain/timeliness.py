"""How fresh and how many the rows of a day must be, judged from that day, so that a backfill is not held to today."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_mlops.domain.validation import ExpectationOutcome
from airflow_mlops.exceptions import InvalidInputError

FRESHNESS = "freshness"
VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTimes:
    """What a dataset has before a moment."""

    newest: datetime | None
    """The newest time before it, in UTC; ``None`` without any."""
    rows: int
    """Rows of the period that ends then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeliness:
    """What the times in a column must be like at the moment of a run. Later rows are not looked at.

    :param time_column: a date or timestamp column; times without a zone are UTC.
    :param max_age: how old the newest row may be.
    :param min_rows: at least so many rows must lie in the ``period`` before the moment.
    :param max_rows: at most so many.
    :param period: whose rows are counted.
    """

    time_column: str
    max_age: timedelta | None = None
    min_rows: int | None = None
    max_rows: int | None = None
    period: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        if self.max_age is None and self.min_rows is None and self.max_rows is None:
            msg = f"The timeliness of {self.time_column!r} asks for nothing. Give max_age, min_rows or max_rows."
            raise InvalidInputError(msg)
        if self.period <= timedelta(0) or (self.max_age is not None and self.max_age < timedelta(0)):
            msg = (
                f"The timeliness of {self.time_column!r} needs a period above zero and a max_age that is not below it."
            )
            raise InvalidInputError(msg)
        if self.min_rows is not None and self.max_rows is not None and self.min_rows > self.max_rows:
            msg = f"The timeliness of {self.time_column!r} can never be met: min_rows is above max_rows."
            raise InvalidInputError(msg)

    def start(self, moment: datetime) -> datetime:
        """Return when the period begins that ends at ``moment``."""
        return moment - self.period

    def judge(self, found: FoundTimes, moment: datetime) -> tuple[ExpectationOutcome, ...]:
        """Return one outcome for freshness and one for volume, as far as they are asked for."""
        outcomes = []
        if self.max_age is not None:
            age = moment - found.newest if found.newest is not None else None
            outcomes.append(
                ExpectationOutcome(
                    type=FRESHNESS,
                    kwargs={
                        "column": self.time_column,
                        "max_age": str(self.max_age),
                        "as_of": moment.isoformat(),
                    },
                    success=age is not None and age <= self.max_age,
                    severity="critical",
                    observed={
                        "newest": found.newest.isoformat() if found.newest else None,
                        "age": None if age is None else str(age),
                    },
                )
            )
        if self.min_rows is not None or self.max_rows is not None:
            bounds = {"min_rows": self.min_rows, "max_rows": self.max_rows}
            at_least = self.min_rows if self.min_rows is not None else 0
            outcomes.append(
                ExpectationOutcome(
                    type=VOLUME,
                    kwargs={
                        "column": self.time_column,
                        **{name: value for name, value in bounds.items() if value is not None},
                        "from": self.start(moment).isoformat(),
                        "until": moment.isoformat(),
                    },
                    success=at_least <= found.rows and (self.max_rows is None or found.rows <= self.max_rows),
                    severity="critical",
                    observed=found.rows,
                )
            )
        return tuple(outcomes)
