"""What a training was asked for: the dates to learn from and to judge by, and why."""

import calendar
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

MOST_REASONS = 20
"""Of several requests together: a person reads them, and a tag holds them."""
LONGEST_REASON = 500
"""Characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingEvent(Document):
    """What the event of a retraining asset carries: monitoring asks for a new training of a model."""

    model_name: str
    model_version: str
    """The version that was watched."""
    window: Window
    """The latest window that speaks for it."""
    reasons: tuple[str, ...]
    """Sentences, the most important one first."""
    decision: str = ""
    """The decision that it tells of, by which an event is told from another; empty when a person asks."""
    attempt: int = 1
    """Greater than 1 when trainings for this version led to no new champion before."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the window's reports, by kind of check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingMonths(Document):
    """Learn from the months before the holdout, and judge by the last months before the window's end.

    A window that ends on 1 September, by two months and one: learn from June and July, judge by August. The newest
    data judges, since that is what the next model will see most like; a model that has learned from it would be
    judged by nothing.
    """

    training: int = 2
    holdout: int = 1

    def __post_init__(self) -> None:
        if self.training < 1 or self.holdout < 1:
            msg = f"Rolling months must be at least 1 each, but are {self.training} and {self.holdout}."
            raise InvalidInputError(msg)

    def dates(self, end: datetime) -> tuple[datetime, datetime, datetime]:
        """Return the first moment to learn from, the first not to learn from, and the end of the holdout."""
        boundary = months_before(end, self.holdout)
        return months_before(end, self.holdout + self.training), boundary, end


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest(Document):
    """The dates of a training, and the reasons; none when somebody started it by hand."""

    train_start: str
    """The first moment to learn from, in ISO 8601, as all three."""
    train_end: str
    """The first moment not to learn from: the holdout begins here."""
    holdout_end: str
    reasons: tuple[str, ...] = ()

    @classmethod
    def of_events(cls, events: Iterable[RetrainingEvent], rolling: RollingMonths) -> Self:
        """Answer several requests by one training: the latest window says the dates, and all reasons are kept.

        :param events: at least one, in any order.
        """
        newest_first = sorted(events, key=lambda event: event.window.end, reverse=True)
        start, boundary, end = rolling.dates(newest_first[0].window.end)
        reasons = dict.fromkeys(
            textwrap.shorten(reason, LONGEST_REASON, placeholder=" …")
            for event in newest_first
            for reason in event.reasons
        )
        return cls(
            train_start=start.isoformat(),
            train_end=boundary.isoformat(),
            holdout_end=end.isoformat(),
            reasons=tuple(reasons)[:MOST_REASONS],
        )


def retraining_events(extras: Iterable[Mapping[str, Any]], model_name: str) -> tuple[RetrainingEvent, ...]:
    """Read the ``extra`` of asset events, and check that they ask for this model.

    :raises InvalidInputError: when one cannot be read, or is about another model.
    """
    events = tuple(RetrainingEvent.from_dict(extra) for extra in extras)
    for event in events:
        if event.model_name != model_name:
            msg = f"The event asks for a training of {event.model_name}, but this Dag trains {model_name}."
            raise InvalidInputError(msg)
    return events


def months_before(moment: datetime, months: int) -> datetime:
    """Return the same day and time so many calendar months before; the month's last day, where it has no such day."""
    moment = moment.astimezone(UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)
