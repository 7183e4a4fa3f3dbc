"""What a check of one window of production data found, whichever check it was."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import isfinite
from typing import Self
from urllib.parse import quote

from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

_STAMP = "%Y%m%dT%H%M%S.%fZ"


class CheckKind(enum.StrEnum):
    """What is checked of a window. Each has its own record, so that a check that is repeated replaces its own."""

    QUALITY = "quality"
    """The window meets its expectation suite. Bad data is alerted about and is never a reason to train on it."""
    DATA_DRIFT = "data_drift"
    """Features, predictions or labels are distributed as they were in the reference."""
    DECAY = "decay"
    """The model is as good as it was when it was promoted."""
    BIAS = "bias"
    """The model treats groups as alike as its policy asks."""


class CheckVerdict(enum.StrEnum):
    """What a check says of a window."""

    PASSED = "passed"
    VIOLATED = "violated"
    UNDECIDED = "undecided"
    """Nothing can be said yet, such as without labels or rows; the reasons say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Document):
    """A half-open window of time, in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, utc(getattr(self, name)))
        if self.start >= self.end:
            msg = f"The window {self} is empty: start must be before end."
            raise InvalidInputError(msg)

    @classmethod
    def parse(cls, start: datetime | str, end: datetime | str) -> Self:
        """Read a window as a template renders it, in ISO 8601; times without a zone are UTC.

        :raises InvalidInputError: when a bound is missing or no time, or the window is empty.
        """
        return cls(start=_moment("start", start), end=_moment("end", end))

    @classmethod
    def of_key(cls, key: str) -> Self:
        """Return the window of a file name.

        :raises ValueError: when it is none.
        """
        start, _, end = key.partition("--")
        return cls(start=datetime.strptime(start, _STAMP), end=datetime.strptime(end, _STAMP))  # noqa: DTZ007 - UTC

    @property
    def key(self) -> str:
        """A file name for the window, which sorts by its start."""
        return f"{self.start.strftime(_STAMP)}--{self.end.strftime(_STAMP)}"

    def __str__(self) -> str:
        """Return the window as people write it."""
        return f"{self.start.isoformat()} to before {self.end.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCheck(Document):
    """The outcome of one check of one model on one window."""

    kind: CheckKind
    window: Window
    verdict: CheckVerdict
    model_name: str
    model_version: str
    """The version that was judged."""
    rows: int
    """Rows of the window that the check looked at."""
    reasons: tuple[str, ...] = ()
    """Sentences, the most important one first."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What is drawn over windows: ``drift.<column>`` (how many times its threshold, whatever the method),
    ``drift_share``, ``labelled_share``, a metric by its name, and its interval as ``<metric>.low`` and
    ``<metric>.high``."""
    report_uri: str | None = None

    def __post_init__(self) -> None:
        """Leave out figures that are none: JSON has no NaN, and a record must be readable."""
        object.__setattr__(self, "figures", {name: value for name, value in self.figures.items() if isfinite(value)})

    def bounded(self, figures: int = 50, reasons: int = 10) -> Self:
        """Return this check as small as XCom likes it; the record in the artifact store has all of it."""
        return replace(self, reasons=self.reasons[:reasons], figures=dict(list(self.figures.items())[:figures]))


def monitoring_path(model_name: str) -> str:
    """Return where the records of a watched model lie below the artifact store's root."""
    return f"monitoring/{quote(model_name, safe='')}"


def check_path(check: WindowCheck) -> str:
    """Return where the record of a check lies: the same window and kind, the same file."""
    return f"{monitoring_path(check.model_name)}/windows/{check.window.key}/{check.kind.value}.json"


def _moment(name: str, value: datetime | str) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        msg = f"The window's {name} is {value!r}, but must be an ISO 8601 time, such as 2026-03-01T00:00+00:00."
        raise InvalidInputError(msg) from error
