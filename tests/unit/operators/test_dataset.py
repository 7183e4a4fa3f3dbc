import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.assets import dataset_asset
from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
from airflow_mlops.exceptions import DatasetError, PermanentError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "1.csv").write_text("t,n\n2013-01-01,1\n2013-01-02,2\n")
    (folder / "2.csv").write_text("t,n\n2013-02-01,3\n")
    return folder


def context() -> Any:
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    return {"ti": ti, "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None))}


def take(source: Any, in_context: Any = None, **kwargs: Any) -> Snapshot:
    operator = DatasetSnapshotOperator(task_id="snapshot", dataset_name="numbers", source=source, **kwargs)
    return Snapshot.from_dict(operator.execute(in_context or context()))


def test_a_snapshot_lies_at_its_digest_with_its_parts_and_manifest(source: Path, store: Path) -> None:
    snapshot = take(str(source), time_column="t")
    folder = store / "datasets" / "numbers" / snapshot.digest
    assert snapshot == Snapshot(dataset_name="numbers", digest=snapshot.digest, uri=str(folder), rows=3, created=True)
    manifest = SnapshotManifest.from_dict(json.loads((folder / "manifest.json").read_text()))
    assert [item.uri for item in manifest.sources] == [str(source / "1.csv"), str(source / "2.csv")]
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *(part.name for part in manifest.parts)}
    assert manifest.window is not None
    assert str(manifest.window.first) == "2013-01-01 00:00:00+00:00"


def test_the_same_data_is_not_written_again_whatever_its_files(source: Path, store: Path, tmp_path: Path) -> None:
    first = take(str(source))
    (tmp_path / "one.csv").write_text("n,t\n3,2013-02-01\n2,2013-01-02\n1,2013-01-01\n")
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    second = take(str(tmp_path / "one.csv"))
    assert (second.digest, second.created) == (first.digest, False)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()} == before


def test_the_event_carries_the_digest_also_when_nothing_was_written(source: Path) -> None:
    for created in (True, False):
        running = context()
        snapshot = take(str(source), running)
        assert running["outlet_events"][dataset_asset("numbers")].extra == {
            "digest": snapshot.digest,
            "uri": snapshot.uri,
            "rows": 3,
            "created": created,
        }


def test_the_window_comes_from_templates(source: Path) -> None:
    assert take(str(source), time_column="t", start="2013-01-02", end="2013-02-01").rows == 1
    assert take(str(source), time_column="t", start="None", end="").rows == 3


@pytest.mark.parametrize("names", [["*.csv"], ["1.csv", "2.csv"], ["", "1.csv"]])
def test_a_list_of_places_is_read_and_no_file_twice(names: list[str], source: Path) -> None:
    assert take([str(source / name) for name in names]).rows == 3


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(source: Path) -> None:
    (source / "1.csv").rename(source / "[12].csv")
    assert take(str(source / "[12].csv")).rows == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nope.csv", r"Nothing is at .*nope\.csv"),
        ("*.csv.gz", "No file matches"),
        ("empty", "No file lies in"),
        ("bad.parquet", r"bad\.parquet cannot be read"),
        ("readme.md", r"readme\.md is neither"),
        ("{1,bad}.csv", "Nothing is at"),
    ],
)
def test_bad_sources_are_named_and_leave_nothing(name: str, reason: str, source: Path, store: Path) -> None:
    (source / "empty").mkdir()
    (source / "bad.parquet").write_bytes(b"PAR1")
    (source / "readme.md").write_text("")
    with pytest.raises(DatasetError, match=reason):
        take(str(source / name))
    assert not [path for path in store.rglob("*") if path.name not in {"datasets", "numbers"}]


@pytest.mark.parametrize("source", ["", [], ["/data", ""]])
def test_no_source_is_an_error(source: Any) -> None:
    with pytest.raises(DatasetError, match="must name at least one"):
        take(source)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"'data/x\.csv' is relative"):
        take("data/x.csv")


def test_a_bad_name_fails_when_the_dag_is_read() -> None:
    with pytest.raises(DatasetError, match="dataset name"):
        DatasetSnapshotOperator(task_id="snapshot", dataset_name="../x", source="/data")


def test_dataset_that_is_named_at_run_time_is_announced_through_an_alias(source: Path) -> None:
    operator = DatasetSnapshotOperator(task_id="snapshot", dataset_name="{{ name }}", source=str(source))
    (alias,) = operator.outlets
    told: list[Any] = []
    operator.dataset_name = "numbers"
    running = context()
    running["outlet_events"] = {alias: SimpleNamespace(add=lambda *event, **_: told.append(event))}
    operator.execute(running)
    assert told == [(dataset_asset("numbers"),)]


def test_bad_name_that_comes_at_run_time_is_refused(source: Path) -> None:
    operator = DatasetSnapshotOperator(task_id="snapshot", dataset_name="{{ name }}", source=str(source))
    operator.dataset_name = "a/b"
    with pytest.raises(DatasetError, match="a/b"):
        operator.execute(context())


def test_the_outlet_is_set_beside_the_authors_own() -> None:
    operator = DatasetSnapshotOperator(
        task_id="snapshot", dataset_name="numbers", source="/data", outlets=[dataset_asset("other")]
    )
    assert operator.outlets == [dataset_asset("other"), dataset_asset("numbers")]


def test_bad_sources_are_not_retried() -> None:
    assert issubclass(DatasetError, PermanentError)


def test_memory_comes_from_the_configuration(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__DUCKDB_MEMORY_LIMIT", "plenty")
    with pytest.raises(ValueError, match="plenty"):
        take(str(source))
