"""Times, which all are in UTC."""

from datetime import UTC, datetime


def utc(time: datetime) -> datetime:
    """Return the time in UTC; one without a zone is meant so."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
