"""What an expectation suite asks of a dataset, what was found, and what to do about it."""

import datetime as dt
import enum
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from airflow_mlops.domain.quarantine import Quarantine
from airflow_mlops.domain.serialization import Document, digest_of
from airflow_mlops.exceptions import SuiteError

SAMPLE_SIZE = 20
"""Failing values that an outcome shows at most."""
_XCOM_BYTES = 48_000
_XCOM_ITEMS = 10
_XCOM_TEXT = 200
_RANKS: Mapping[str, int] = {"critical": 0, "warning": 1, "info": 2}
_KEYS = frozenset({"type", "kwargs", "meta", "severity", "description", "id", "rendered_content", "notes"})


class OnFailure(enum.StrEnum):
    """What a failed validation does to the task."""

    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    QUARANTINE = "quarantine"
    """Put the failing rows aside, and go on with the others."""


class Severity(enum.StrEnum):
    """What it means that an expectation is not met. Great Expectations has the same three."""

    CRITICAL = "critical"
    """The data is not fit for use: the validation fails."""
    WARNING = "warning"
    """Somebody should look at it: it is shown and logged, and the validation passes."""
    INFO = "info"
    """Worth knowing: it is shown, and the validation passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One expectation as the suite spells it."""

    type: str
    kwargs: Mapping[str, Any]
    severity: str = "critical"
    notes: str = ""
    """Why it is there, in its author's words: ``description``, or ``meta.notes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """An expectation suite, in the format in which Great Expectations stores it."""

    name: str
    expectations: tuple[Expectation, ...]
    digest: str
    """SHA-256 hex digest of its canonical JSON, so that JSON and YAML of the same suite agree."""

    @classmethod
    def from_document(cls, document: object, place: str, *, allow_empty: bool = False) -> Self:
        """Read a suite from plain values. ``place`` names it in errors, such as the path of its file.

        :raises SuiteError: when it is no suite, or expects nothing without ``allow_empty``.
        """
        if not isinstance(document, Mapping) or not isinstance(document.get("expectations"), list):
            msg = (
                f"{place} is no expectation suite: it must be a mapping with a list under 'expectations', "
                f"but is {document!r:.200}"
            )
            raise SuiteError(msg)
        expectations = tuple(
            _expectation(item, f"Expectation {number} of {place}")
            for number, item in enumerate(document["expectations"], start=1)
        )
        if not expectations and not allow_empty:
            msg = f"{place} has no expectations, so every dataset would pass. Add one, or say allow_empty=True."
            raise SuiteError(msg)
        return cls(
            name=str(document.get("name") or "suite"), expectations=expectations, digest=digest_of(to_plain(document))
        )


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
    """Of the values that are not null, in per cent."""
    unexpected_sample: tuple[Any, ...] = ()
    """At most 20 failing values."""
    problem: str = ""
    """Why it could not be checked, in words; empty when it was."""
    is_crashed: bool = False
    """Whether the check itself broke, so that it says nothing about the data."""
    notes: str = ""
    """Why the expectation is there, in its author's words."""
    fallback: str = ""
    """Why the engine's fast way could not check it and pandas did, in words; empty when it could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport(Document):
    """The outcome of a suite on one snapshot."""

    suite_name: str
    suite_digest: str
    dataset_name: str
    dataset_digest: str
    rows: int
    success: bool
    """No critical expectation failed, and nothing speaks against a verdict (``refusal``)."""
    expectation_count: int
    failure_count: int
    """Expectations that are not met, whatever their severity."""
    outcomes: tuple[ExpectationOutcome, ...]
    """Every outcome in ``validation.json``; in XCom only failed ones, shortened, as far as they fit."""
    quarantine: Quarantine | None = None
    """What became of the rows that fail, where they may be put aside."""
    dataset_uri: str | None = None
    """Where the data lies: a snapshot's folder, or ``sql://connection/table``."""
    report_uri: str | None = None
    """Where the HTML report lies, with ``validation.json`` next to it."""
    critical_count: int = 0
    """Those of the expectations not met that fail the validation."""
    refusal: str = ""
    """Why the outcomes are no ground for a verdict, in words: the data is empty."""

    @classmethod
    def judged(
        cls,
        suite: Suite,
        outcomes: Sequence[ExpectationOutcome],
        *,
        rows: int,
        dataset_name: str,
        dataset_digest: str,
        dataset_uri: str | None = None,
        allow_empty: bool = False,
    ) -> Self:
        """Return the verdict on a dataset: passed, unless an expectation that is critical failed, or it has no rows.

        Without rows almost any expectation is met, and says nothing; ``allow_empty`` says that this is all right.
        """
        critical = sum(not outcome.success and outcome.severity == Severity.CRITICAL for outcome in outcomes)
        refusal = ""
        if rows == 0 and not allow_empty:
            refusal = "It has no rows, so that its expectations say nothing. Where that is all right, allow_empty=True"
        return cls(
            suite_name=suite.name,
            suite_digest=suite.digest,
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
            dataset_uri=dataset_uri,
            rows=rows,
            success=critical == 0 and not refusal,
            expectation_count=len(outcomes),
            failure_count=sum(not outcome.success for outcome in outcomes),
            critical_count=critical,
            refusal=refusal,
            outcomes=tuple(outcomes),
        )

    @property
    def failed(self) -> tuple[ExpectationOutcome, ...]:
        """The expectations that the data does not meet, and those that could not be checked; critical ones first."""
        found = (outcome for outcome in self.outcomes if not outcome.success)
        return tuple(sorted(found, key=lambda outcome: _RANKS.get(outcome.severity, 0)))

    @property
    def crashed(self) -> tuple[ExpectationOutcome, ...]:
        """The expectations that could not be checked."""
        return tuple(outcome for outcome in self.failed if outcome.is_crashed)

    def bounded(self) -> Self:
        """Return this report with as many of the failed outcomes, shortened, as fit in 48 kB of JSON."""
        kept: list[ExpectationOutcome] = []
        size = len(json.dumps(replace(self, outcomes=()).to_dict()))
        for outcome in self.failed:
            short = replace(
                outcome,
                kwargs=_shorten(outcome.kwargs),
                observed=_shorten(outcome.observed),
                unexpected_sample=tuple(_shorten(outcome.unexpected_sample)),
                problem=_shorten(outcome.problem),
                notes=_shorten(outcome.notes),
            )
            size += len(json.dumps(short.to_dict()))
            if size > _XCOM_BYTES:
                break
            kept.append(short)
        return replace(self, outcomes=tuple(kept))

    def summary(self) -> str:
        """Say in words how many expectations failed, and the first of them."""
        names = "; ".join(describe(outcome) for outcome in self.failed[:3])
        more = f"; and {self.failure_count - 3} more" if self.failure_count > 3 else ""  # noqa: PLR2004 - as above
        if self.refusal:
            names = f"{self.refusal}{'. ' * bool(names)}{names}"
        mild = self.failure_count - self.critical_count
        severity = f" ({mild} of them not critical)" if mild and self.critical_count else ""
        return (
            f"{self.failure_count} of {self.expectation_count} expectations of the suite {self.suite_name!r} failed"
            f"{severity} on {self.dataset_name} ({self.rows} rows, digest {self.dataset_digest[:12]}): {names}{more}. "
            f"Report: {self.report_uri}"
        )


def subject(kwargs: Mapping[str, Any]) -> str:
    """Return the columns that an expectation is about, in words."""
    return ", ".join(
        str(value) for key, value in kwargs.items() if key in {"column", "column_A", "column_B", "column_list"}
    )


def describe(outcome: ExpectationOutcome) -> str:
    """Say in one clause what a failed expectation found."""
    about = subject(outcome.kwargs)
    name = f"{outcome.type}({about})" if about else outcome.type
    if outcome.problem:
        return f"{name}: {outcome.problem}"
    if outcome.unexpected_count is not None:
        sample = ", ".join(json.dumps(value, ensure_ascii=False) for value in outcome.unexpected_sample[:3])
        percent = f"{outcome.unexpected_percent or 0:.3g} %"
        such = f" such as {sample:.100}" if sample else ""
        return f"{name}: {outcome.unexpected_count} unexpected values ({percent}){such}"
    return f"{name}: observed {json.dumps(outcome.observed, ensure_ascii=False):.100}"


def to_plain(value: object) -> Any:
    """Return a YAML value as JSON values: dates and times as ISO 8601 text, sets as sorted lists."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _expectation(item: object, place: str) -> Expectation:
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
        hint = " (Great Expectations 1 says 'type' where older releases said 'expectation_type')"
        msg = f"{place} must be a mapping with a 'type'{hint}, but is {item!r:.200}"
        raise SuiteError(msg)
    if unknown := [key for key in item if key not in _KEYS]:
        msg = f"{place} ({item['type']}) has the unknown key {unknown[0]!r}. Known keys: {', '.join(sorted(_KEYS))}."
        raise SuiteError(msg)
    kwargs = item.get("kwargs") or {}
    if not isinstance(kwargs, Mapping):
        msg = f"{place} ({item['type']}) must have a mapping under 'kwargs', but has {kwargs!r:.200}"
        raise SuiteError(msg)
    severity = item.get("severity") or Severity.CRITICAL.value
    if severity not in set(Severity):
        known = ", ".join(Severity)
        msg = f"{place} ({item['type']}) has the unknown severity {severity!r:.50}. Known are: {known}."
        raise SuiteError(msg)
    meta = item.get("meta") or {}
    notes = item.get("description") or item.get("notes") or (meta.get("notes") if isinstance(meta, Mapping) else "")
    return Expectation(
        type=item["type"],
        kwargs=dict(kwargs),
        severity=str(severity),
        notes=" ".join(map(str, notes)) if isinstance(notes, list) else str(notes or ""),
    )


def _shorten(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _XCOM_TEXT else value[: _XCOM_TEXT - 1] + "…"
    if isinstance(value, Mapping):
        return {str(key)[:_XCOM_TEXT]: _shorten(item) for key, item in list(value.items())[:_XCOM_ITEMS]}
    if isinstance(value, (list, tuple)):
        return [_shorten(item) for item in value[:_XCOM_ITEMS]]
    return value
