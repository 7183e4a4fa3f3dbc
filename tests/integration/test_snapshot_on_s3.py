"""Snapshots and validation on a real S3: sources, artifact store and suite all lie there."""

import json
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.dataset import MANIFEST, Snapshot
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.engines.snapshots import publish, read_manifest, staging
from airflow_mlops.exceptions import DatasetError, StorageUnavailableError, ValidationFailedError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator

pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration

SUITE = {
    "name": "numbers",
    "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "n", "min_value": 0, "max_value": 15}}
    ],
}


@pytest.fixture
def context(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", f"{s3_bucket}/artifacts")
    return {
        "dag": SimpleNamespace(folder="/nowhere"),
        "ti": SimpleNamespace(
            dag_id="loop", run_id="run", task_id="validate", map_index=-1, xcom_push=lambda **_: None
        ),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None)),
    }


def take(source: str, context: Any, **kwargs: Any) -> Snapshot:
    operator = DatasetSnapshotOperator(task_id="snapshot", dataset_name="numbers", source=source, **kwargs)
    return Snapshot.from_dict(operator.execute(context))


def test_from_s3_to_s3_and_validated_there(s3_bucket: str, context: Any, tmp_path: Path) -> None:
    (open_storage(s3_bucket) / "in/1.csv").write_text("t,n\n2013-01-01,1\n2013-01-02,2\n")
    (open_storage(s3_bucket) / "in/deeper/2.csv").write_text("t,n\n2013-02-01,30\n")
    (open_storage(s3_bucket) / "in/_SUCCESS").write_text("")
    (open_storage(s3_bucket) / "suite.json").write_text(json.dumps(SUITE))

    first = take(f"{s3_bucket}/in", context)
    assert first.created
    assert first.uri == f"{s3_bucket}/artifacts/datasets/numbers/{first.digest}"
    assert first.rows == 3

    (tmp_path / "local.csv").write_text("n,t\n30,2013-02-01\n1,2013-01-01\n2,2013-01-02\n")
    again = take(str(tmp_path / "local.csv"), context)
    assert (again.digest, again.created) == (first.digest, False)

    month = take(f"{s3_bucket}/in/**/*.csv", context, time_column="t", end="2013-02-01")
    assert month.rows == 2

    def validate(snapshot: Snapshot) -> ValidationReport:
        operator = DataValidationOperator(
            task_id="validate", dataset=snapshot.to_dict(), suite=f"{s3_bucket}/suite.json"
        )
        return ValidationReport.from_dict(operator.execute(context))

    assert validate(month).success
    with pytest.raises(ValidationFailedError, match=r"1 unexpected values .*Report: s3://"):
        validate(first)
    report = open_storage(f"{s3_bucket}/artifacts/reports/loop/run/validate/validation.json").read_json()
    assert ValidationReport.from_dict(report).outcomes[0].unexpected_sample == (30,)


def test_of_many_tasks_at_once_one_writes_and_no_part_of_another_stays(s3_bucket: str, context: Any) -> None:
    (open_storage(s3_bucket) / "in/1.csv").write_text("n\n1\n2\n")
    snapshot = take(f"{s3_bucket}/in/1.csv", context)
    source, target = open_storage(snapshot.uri), open_storage(f"{s3_bucket}/race")
    manifest = read_manifest(source)
    barrier = threading.Barrier(4)
    created: list[bool] = []

    def run(number: int) -> None:
        with staging(target) as folder:
            (folder / f"part-00000-{number}.parquet").write_text(f"rows of {number}")
            document = manifest.to_dict()
            document["parts"][0]["name"] = f"part-00000-{number}.parquet"
            barrier.wait()
            created.append(publish(folder, type(manifest).from_dict(document), target))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [False, False, False, True]
    assert set(target.files()) == {MANIFEST, read_manifest(target).parts[0].name}


@pytest.mark.parametrize(("name", "reason"), [("nope.csv", "Nothing is at s3://"), ("*.csv", "No file matches s3://")])
def test_what_is_missing_on_s3_is_named(name: str, reason: str, s3_bucket: str, context: Any) -> None:
    with pytest.raises(DatasetError, match=reason):
        take(f"{s3_bucket}/{name}", context)


def test_a_corrupt_file_on_s3_is_named_by_its_address_and_leaves_nothing(s3_bucket: str, context: Any) -> None:
    (open_storage(s3_bucket) / "in/bad.parquet").write_text("PAR1")
    with pytest.raises(DatasetError, match=r"s3://.*/in/bad\.parquet cannot be read") as error:
        take(f"{s3_bucket}/in/bad.parquet", context)
    assert "/tmp" not in str(error.value).replace(s3_bucket, "")  # noqa: S108 - not the name of the copy
    assert not open_storage(f"{s3_bucket}/artifacts").files()


def test_a_store_that_is_down_is_worth_a_retry(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {
        "conn_type": "aws",
        "login": "x",
        "password": "x",
        "extra": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_S3_GONE", json.dumps(gone))
    with pytest.raises(StorageUnavailableError, match=r"s3://s3_gone@bucket/a\.csv"):
        take("s3://s3_gone@bucket/a.csv", context)
