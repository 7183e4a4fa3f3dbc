"""What a reviewer is told of the difference between two trainings."""

from dataclasses import replace
from datetime import UTC, datetime

from airflow_mlops.domain.dataset import SnapshotManifest, TimeWindow
from airflow_mlops.domain.promotion_changes import TrainedVersion, changes_since
from airflow_mlops.domain.registry import (
    TAG_CODE_VERSION,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_IMAGE_DIGEST,
    ModelVersion,
)

MARCH, APRIL = datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)
MANIFEST = SnapshotManifest(
    dataset_name="flights",
    digest="a" * 64,
    rows=51_234,
    columns=(),
    parts=(),
    sources=(),
    window=TimeWindow(column="departure", end=MARCH),
    created_at=MARCH,
)
TAGS = {
    TAG_DATASET_NAME: "flights",
    TAG_DATASET_DIGEST: "a" * 64,
    TAG_CODE_VERSION: "abc123",
    TAG_IMAGE_DIGEST: "trainer@sha256:" + "1" * 64,
}
CHAMPION = TrainedVersion(
    version=ModelVersion(model_name="delays", version="1", run_id="r1", source="models:/m-1", tags=TAGS),
    params={"learning_rate": "0.05", "seed": "7"},
    manifest=MANIFEST,
)
CANDIDATE = TrainedVersion(
    version=replace(CHAMPION.version, version="2", tags={**TAGS, TAG_DATASET_DIGEST: "b" * 64}),
    params={"learning_rate": "0.1", "seed": "7", "depth": "3"},
    manifest=replace(MANIFEST, digest="b" * 64, rows=80_000, window=TimeWindow(column="departure", end=APRIL)),
)


def test_only_what_differs_is_in_the_table() -> None:
    text = changes_since(CANDIDATE, CHAMPION)
    assert "### What changed since version 1" in text
    assert "| Rows | 51,234 | 80,000 |" in text
    assert "| Training data | flights aaaaaaaaaaaa | flights bbbbbbbbbbbb |" in text
    assert "| Window | departure from the beginning to before 2013-03-01 | departure from" in text
    assert "| learning_rate | 0.05 | 0.1 |" in text
    assert "| depth | none | 3 |" in text
    assert "seed" not in text
    assert "The same: image, code." in text


def test_training_anew_on_the_same_says_so() -> None:
    assert changes_since(replace(CHAMPION, version=replace(CHAMPION.version, version="2")), CHAMPION) == (
        "### What changed since version 1\n\nThe same: training data, window, rows, image, code, hyperparameters."
    )


def test_first_model_has_nothing_to_differ_from() -> None:
    assert changes_since(CANDIDATE, None) == ""


def test_long_values_and_many_params_keep_the_page_readable() -> None:
    many = {f"p{number:02}": "x|" * 100 for number in range(15)}
    text = changes_since(replace(CANDIDATE, params=many), CHAMPION)
    assert "7 more hyperparameters differ; MLflow has them." in text
    assert "x\\|…" in text


def test_snapshot_that_is_gone_is_no_error() -> None:
    text = changes_since(replace(CANDIDATE, manifest=None), CHAMPION)
    assert "| Rows | 51,234 | none |" in text
