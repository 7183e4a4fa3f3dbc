import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fsspec import filesystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_mlops.domain.dataset import MANIFEST, SnapshotManifest
from airflow_mlops.engines.fsspec import Storage
from airflow_mlops.engines.snapshots import (
    find_sources,
    open_snapshot,
    publish,
    read_manifest,
    seal_parts,
    split_pattern,
    staging,
)
from airflow_mlops.exceptions import DatasetError, StorageUnavailableError


@pytest.fixture
def remote() -> Iterator[Storage]:
    """A store that is not local: fsspec's own, in memory."""
    store = MemoryFileSystem()
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield Storage(filesystem=store, path="/store", uri="memory://store")
    store.store.clear()


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return local_storage(tmp_path / "store")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(request.param)
    return found


def local_storage(path: Path) -> Storage:
    return Storage(filesystem=filesystem("file"), path=str(path), uri=str(path))


def write(folder: Path, content: str = "rows") -> SnapshotManifest:
    (folder / "part-00000.parquet").write_text(content)
    return SnapshotManifest(
        dataset_name="flights",
        digest="d" * 64,
        rows=4,
        columns=(),
        parts=seal_parts(folder, {"part-00000.parquet": 4}),
        sources=(),
        window=None,
        created_at=datetime(2013, 1, 1, tzinfo=UTC),
    )


def take(store: Storage, content: str = "rows") -> bool:
    with staging(store) as folder:
        return publish(folder, write(folder, content), store / "snapshot")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/data/flights", ("/data/flights", "")),
        ("/data/*.csv", ("/data/", "*.csv")),
        ("s3://c@b/a/month=?/**/x[12].csv", ("s3://c@b/a/", "month=?/**/x[12].csv")),
    ],
)
def test_a_pattern_begins_at_the_folder_before_the_first_wildcard(address: str, expected: tuple[str, str]) -> None:
    assert split_pattern(address) == expected


def test_what_was_published_is_read_back_whole(store: Storage) -> None:
    assert take(store)
    with open_snapshot(store / "snapshot") as snapshot:
        assert [part.read_text() for part in snapshot.parts] == ["rows"]
        assert snapshot.manifest.rows == 4


def test_the_second_of_two_writes_nothing(store: Storage) -> None:
    take(store, "first")
    before = sorted((store / "snapshot").files())
    assert not take(store, "second")
    assert sorted((store / "snapshot").files()) == before
    with open_snapshot(store / "snapshot") as snapshot:
        assert [part.read_text() for part in snapshot.parts] == ["first"]


def test_of_many_at_once_one_wins_and_no_part_of_another_stays(store: Storage) -> None:
    barrier = threading.Barrier(6)
    created: list[bool] = []

    def run(number: int) -> None:
        with staging(store) as folder:
            manifest = write(folder, f"rows of {number}")
            barrier.wait()
            created.append(publish(folder, manifest, store / "snapshot"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [False] * 5 + [True]
    manifest = read_manifest(store / "snapshot")
    assert set((store / "snapshot").files()) == {MANIFEST, manifest.parts[0].name}
    with open_snapshot(store / "snapshot"):
        pass


def test_a_failed_upload_leaves_nothing(remote: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        msg = "the connection is gone"
        raise OSError(msg)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    with pytest.raises(Exception, match="the connection is gone"):
        take(remote)
    assert not (remote / "snapshot").files()


def test_a_failure_while_staging_leaves_no_file(local: Storage) -> None:
    def fail() -> None:
        with staging(local) as folder:
            (folder / "part-00000.parquet").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not local.files()


def test_what_a_crashed_task_left_goes_when_another_succeeds(remote: Storage) -> None:
    remote.filesystem.pipe_file("/store/snapshot/part-00000-dead.parquet", b"half")
    assert take(remote)
    assert len((remote / "snapshot").files()) == 2


def test_a_part_that_was_changed_is_not_read(store: Storage) -> None:
    take(store)
    part = store / "snapshot" / read_manifest(store / "snapshot").parts[0].name
    part.write_text("other")
    with pytest.raises(DatasetError, match="was changed after it was written"), open_snapshot(store / "snapshot"):
        pass


def test_a_part_that_is_gone_is_an_error_that_a_retry_may_cure(store: Storage) -> None:
    take(store)
    (store / "snapshot" / read_manifest(store / "snapshot").parts[0].name).remove()
    with pytest.raises(StorageUnavailableError, match="is gone"), open_snapshot(store / "snapshot"):
        pass


def test_a_folder_without_manifest_is_no_snapshot(store: Storage) -> None:
    (store / "snapshot" / "part-0.parquet").write_text("x")
    with pytest.raises(DatasetError, match="holds no snapshot"):
        read_manifest(store / "snapshot")


def test_a_folder_without_manifest_is_not_replaced(local: Storage) -> None:
    (local / "snapshot" / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match="Remove what is there"):
        take(local)


def test_a_manifest_that_is_none_is_named(store: Storage) -> None:
    (store / "snapshot" / MANIFEST).write_text("{}")
    with pytest.raises(DatasetError, match="is no manifest"):
        read_manifest(store / "snapshot")


def names(found: list[Storage]) -> list[str]:
    return [file.uri.rsplit("/", 1)[1] for file in found]


def test_a_folder_is_read_in_order_of_paths_without_markers(store: Storage) -> None:
    for name in ("b/1.parquet", "a.csv", "_SUCCESS", ".a.csv.crc", "_temporary/x.parquet", "c.CSV.gz"):
        (store / name).write_text("x")
    assert names(find_sources(store)) == ["a.csv", "1.parquet", "c.CSV.gz"]


def test_a_pattern_stays_in_its_folder_unless_it_has_two_stars(store: Storage) -> None:
    for name in ("1.csv", "2.csv", "10.txt", "sub/3.csv"):
        (store / name).write_text("x")
    assert names(find_sources(store, "*.csv")) == ["1.csv", "2.csv"]
    assert names(find_sources(store, "**/*.csv")) == ["1.csv", "2.csv", "3.csv"]


def test_one_file_may_have_any_place(store: Storage) -> None:
    (store / "_hidden" / "a.csv").write_text("x")
    assert names(find_sources(store / "_hidden/a.csv")) == ["a.csv"]


@pytest.mark.parametrize(
    ("files", "pattern", "reason"),
    [
        ([], "", "Nothing is at"),
        (["_SUCCESS"], "", "No file lies in .*, but for 1 hidden files"),
        (["a.csv"], "*.parquet", r"No file matches .*/\*\.parquet"),
        (["a.csv", "readme.md"], "", r"readme\.md is neither"),
        (["a.parquet", "_delta_log/0.json"], "", "is a Delta table"),
        (["month=1/a.parquet"], "", "folders such as 'month=1', whose names are data"),
    ],
)
def test_what_cannot_be_read_as_it_is_meant_is_refused(
    store: Storage, files: list[str], pattern: str, reason: str
) -> None:
    for name in files:
        (store / name).write_text("x")
    with pytest.raises(DatasetError, match=reason):
        find_sources(store, pattern)
