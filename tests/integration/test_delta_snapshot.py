"""Snapshots of Delta Lake tables by version, on a disk and on a real S3."""

import datetime as dt
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
from airflow_mlops.engines.snapshots import read_manifest
from airflow_mlops.exceptions import DatasetError, InvalidInputError, StorageUnavailableError
from airflow_mlops.hooks.delta import delta_location
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.delta import DeltaSnapshotOperator

pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration

ROWS = pa.table(
    {"n": [1, 2, 3], "place": ["a", "a", "b"], "at": [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)]}
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


def take(table: str, **kwargs: Any) -> tuple[Snapshot, SnapshotManifest]:
    operator = DeltaSnapshotOperator(task_id="snapshot", dataset_name="places", table=table, **kwargs)
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}
    snapshot = Snapshot.from_dict(operator.execute(context))
    return snapshot, read_manifest(open_storage(snapshot.uri))


def test_a_version_of_a_table_is_the_same_data_as_a_file_of_its_rows(tmp_path: Path) -> None:
    table = str(tmp_path / "table")
    write_deltalake(table, ROWS, partition_by=["place"])
    write_deltalake(table, ROWS, mode="append")
    DeltaTable(table).delete("n = 1")

    first, manifest = take(table, version="0")
    pa.parquet.write_table(ROWS, tmp_path / "rows.parquet")
    context: Any = {
        "ti": SimpleNamespace(dag_id="loop", run_id="run", task_id="s", map_index=-1),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None)),
    }
    file = DatasetSnapshotOperator(task_id="s", dataset_name="places", source=str(tmp_path / "rows.parquet"))
    assert file.execute(context)["digest"] == first.digest
    assert manifest.sources[0].uri == f"{table}@v0"
    assert manifest.sources[0].size_bytes > 0

    assert take(table, version=1)[0].rows == 6
    newest, manifest = take(table, version="None", time_column="at", start="2026-01-02")
    assert newest.rows == 4
    assert manifest.sources[0].uri == f"{table}@v2"


def test_a_table_on_s3_is_read_with_the_login_of_its_connection(s3_bucket: str) -> None:
    uri, options = delta_location(f"{s3_bucket}/tables/places")
    write_deltalake(uri, ROWS, storage_options=options | {"AWS_S3_ALLOW_UNSAFE_RENAME": "true"})
    snapshot, manifest = take(f"{s3_bucket}/tables/places")
    assert snapshot.rows == 3
    assert manifest.sources[0].uri == f"{s3_bucket}/tables/places@v0"
    assert "tests-secret" not in str(manifest)


def test_what_is_no_table_or_no_version_is_named(tmp_path: Path) -> None:
    table = str(tmp_path / "table")
    with pytest.raises(DatasetError, match=r"There is no Delta table at .*/table"):
        take(table)
    write_deltalake(table, ROWS)
    with pytest.raises(DatasetError, match=r"version 9 of .* cannot be read"):
        take(table, version=9)
    with pytest.raises(DatasetError, match="version is 'newest'"):
        take(table, version="newest")
    with pytest.raises(InvalidInputError, match="is relative"):
        take("table")


def test_a_vacuumed_version_says_so(tmp_path: Path) -> None:
    table = str(tmp_path / "table")
    write_deltalake(table, ROWS)
    write_deltalake(table, ROWS, mode="overwrite")
    DeltaTable(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(DatasetError, match="was vacuumed"):
        take(table, version=0)


def test_a_store_that_is_down_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_S3_GONE",
        '{"conn_type": "aws", "login": "x", "password": "x", "extra": {"endpoint_url": "http://127.0.0.1:9"}}',
    )
    monkeypatch.setenv("AWS_MAX_RETRIES", "0")
    uri, options = delta_location("s3://s3_gone@bucket/table")
    from airflow_mlops.engines.deltalake import open_delta

    with (
        pytest.raises(StorageUnavailableError, match="s3://bucket/table does not answer"),
        open_delta(uri, version=None, options=options | {"max_retries": "0", "AWS_REGION": "us-east-1"}),
    ):
        pass
