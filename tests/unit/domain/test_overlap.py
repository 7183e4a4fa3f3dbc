"""Snapshots that lie apart in time share no row; whatever else is known of an overlap is said in a sentence."""

from datetime import UTC, datetime

import pytest

from airflow_mlops.domain.dataset import SnapshotManifest, TimeWindow
from airflow_mlops.domain.overlap import Overlap, apart_in_time


def manifest(column: str | None, first: int = 1, last: int = 1) -> SnapshotManifest:
    """A snapshot of some days of January."""
    window = None
    if column is not None:
        window = TimeWindow(
            column=column, first=datetime(2013, 1, first, tzinfo=UTC), last=datetime(2013, 1, last, tzinfo=UTC)
        )
    return SnapshotManifest(
        dataset_name="d",
        digest="d",
        rows=1,
        columns=(),
        parts=(),
        sources=(),
        window=window,
        created_at=datetime(2013, 2, 1, tzinfo=UTC),
    )


def test_training_before_the_holdout_is_apart() -> None:
    assert apart_in_time(manifest("departure", 1, 9), manifest("departure", 10, 20)) == (
        "by departure it ends 2013-01-09 00:00:00+00:00, before the holdout begins 2013-01-10 00:00:00+00:00"
    )
    assert "it begins 2013-01-10" in apart_in_time(manifest("departure", 10, 20), manifest("departure", 1, 9))


@pytest.mark.parametrize(
    ("training", "holdout"),
    [
        (manifest("departure", 1, 10), manifest("departure", 10, 20)),
        (manifest("departure", 1, 5), manifest("arrival", 10, 20)),
        (manifest(None), manifest("departure", 10, 20)),
        (manifest("departure", 1, 5), manifest(None)),
    ],
)
def test_common_time_another_column_or_no_window_proves_nothing(
    training: SnapshotManifest, holdout: SnapshotManifest
) -> None:
    assert apart_in_time(training, holdout) == ""


@pytest.mark.parametrize(
    ("rows", "share", "sentence"),
    [
        (0, 0.0, "No row of the holdout is in the training data of the candidate: why."),
        (1234, 0.125, "1,234 rows of the holdout (12.50%) are in the training data of the candidate, too: why."),
        (None, None, "Nobody can say whether the holdout overlaps the training data of the candidate: why."),
    ],
)
def test_overlap_reads_as_a_sentence(rows: int | None, share: float | None, sentence: str) -> None:
    overlap = Overlap(role="candidate", training_digest="d", rows=rows, share=share, how="why")
    assert str(overlap) == sentence
    assert Overlap.from_dict(overlap.to_dict()) == overlap
