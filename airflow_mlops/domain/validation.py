"""What a Great Expectations suite found in a dataset, and what to do about it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_mlops.domain.serialization import Document


class OnFailure(enum.StrEnum):
    """What a failed validation does to the task."""

    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationOutcome(Document):
    """What one expectation found."""

    type: str
    kwargs: Mapping[str, Any]
    success: bool
    severity: str
    observed: Any = None
    """The observed value, or ``None`` where the expectation has none."""
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    unexpected_sample: tuple[Any, ...] = ()
    """At most 20 failing values."""
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport(Document):
    """The outcome of a suite on one snapshot."""

    suite_name: str
    suite_digest: str
    dataset_name: str
    dataset_digest: str
    rows: int
    success: bool
    outcomes: tuple[ExpectationOutcome, ...]
    report_uri: str | None = None
    """Where the HTML report lies."""

    @property
    def failed(self) -> tuple[ExpectationOutcome, ...]:
        """The expectations that the data does not meet."""
        return tuple(outcome for outcome in self.outcomes if not outcome.success)
