"""Rows that fail their expectations, put aside so that the others can go on, and when that would hide a disaster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

LABEL_COLUMN = "failed_expectations"
"""The column of a quarantine snapshot that says what a row failed: a list of texts."""
SUFFIX = ".quarantine"
"""What the name of a quarantine snapshot's dataset has behind that of the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine(Document):
    """What became of a snapshot of which some rows fail: two snapshots, or a refusal."""

    rows: int
    """Rows that fail."""
    share: float
    """Of all rows, from 0 to 1."""
    max_share: float
    passing: Snapshot | None = None
    quarantined: Snapshot | None = None
    refusal: str = ""
    """Why no rows were put aside, in words."""

    @classmethod
    def refused(cls, refusal: str, *, max_share: float, rows: int = 0, total: int = 0) -> Self:
        """Return the refusal to put rows aside."""
        return cls(rows=rows, share=rows / total if total else 0.0, max_share=max_share, refusal=refusal)

    @property
    def summary(self) -> str:
        """What was done, in words."""
        if self.refusal:
            return f"No rows were quarantined: {self.refusal}"
        return f"{self.rows:,} rows ({self.share:.2%}) were quarantined"

    def __str__(self) -> str:
        """Say what was done, and where the rows are."""
        return f"{self.summary} in {self.quarantined.uri}" if self.quarantined else self.summary


def refusal_of_tables(names: Sequence[str]) -> str:
    """Return why nothing can be put aside, when expectations fail that are on no single row; else ``""``."""
    if not names:
        return ""
    return (
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} "  # noqa: PLR2004 - as above
        f"{'say' if len(names) > 1 else 'says'} nothing about single rows, so that no rows can be put aside for it"
    )


def refusal_of_share(rows: int, total: int, max_share: float) -> str:
    """Return why so many rows are not put aside; else ``""``."""
    if rows >= total:
        return "no row passes"
    if rows / total > max_share:
        return f"{rows:,} of {total:,} rows fail ({rows / total:.2%}), and max_quarantined is {max_share:.2%}"
    return ""


def check_max_share(share: float) -> float:
    """Return ``share`` if it is one.

    :raises InvalidInputError: when it is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        msg = f"max_quarantined is {share!r}, but must be a share of the rows between 0 and 1, such as 0.02."
        raise InvalidInputError(msg)
    return share
