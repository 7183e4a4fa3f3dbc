"""Does the holdout hold rows that a model learned from? Such rows say what it remembers, not what it knows."""

from dataclasses import dataclass

from airflow_mlops.domain.dataset import SnapshotManifest, TimeWindow
from airflow_mlops.domain.serialization import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap(Document):
    """Rows of the holdout that the training data of one model has, too."""

    role: str
    """``candidate`` or ``champion``."""
    training_digest: str
    rows: int | None
    """``None`` when nobody can say."""
    share: float | None
    """Of the rows of the holdout."""
    how: str
    """How it was found out, or why it could not be."""

    @property
    def is_known_to_be_none(self) -> bool:
        """Whether the holdout is surely unseen."""
        return self.rows == 0

    def __str__(self) -> str:
        """Return it as a sentence."""
        if self.rows is None:
            return f"Nobody can say whether the holdout overlaps the training data of the {self.role}: {self.how}."
        if not self.rows:
            return f"No row of the holdout is in the training data of the {self.role}: {self.how}."
        return (
            f"{self.rows:,} rows of the holdout ({self.share:.2%}) are in the training data of the {self.role}, too: "
            f"{self.how}."
        )


def apart_in_time(training: SnapshotManifest, holdout: SnapshotManifest) -> str:
    """Return how the times show that no row can be in both snapshots, or "" where they do not show it.

    A row has one time, so snapshots with the same time column and no time in common have no row in common.
    """
    ours, theirs = training.window, holdout.window
    if ours is None or theirs is None or ours.column != theirs.column:
        return ""
    if _ends_before(ours, theirs):
        return f"by {ours.column} it ends {ours.last}, before the holdout begins {theirs.first}"
    if _ends_before(theirs, ours):
        return f"by {ours.column} it begins {ours.first}, after the holdout ends {theirs.last}"
    return ""


def _ends_before(earlier: TimeWindow, later: TimeWindow) -> bool:
    return earlier.last is not None and later.first is not None and earlier.last < later.first
