"""Versions of files on a disk are found where fsspec's glob finds them."""

import os
from pathlib import Path

import pytest

from airflow_mlops.engines.fsspec import Storage


def storage(folder: Path) -> Storage:
    from fsspec.implementations.local import LocalFileSystem

    return Storage(filesystem=LocalFileSystem(), path=str(folder), uri=str(folder))


@pytest.mark.parametrize(
    "pattern", ["*.csv", "**/*.csv", "*/*.csv", "d=1/*", "**", "a?.csv", "[ab]1.csv", "*/*/c*", "x"]
)
def test_a_pattern_finds_what_fsspec_finds(tmp_path: Path, pattern: str) -> None:
    for name in ("a1.csv", "b1.csv", "a12.csv", "t.txt", "d=1/a.csv", "d=1/e/c1.csv", "d=2/e/f/c.csv", ".h/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert sorted(storage(tmp_path).versions(pattern)) == list(storage(tmp_path).glob(pattern))
    assert sorted(storage(tmp_path).versions()) == list(storage(tmp_path).files())


def test_a_version_changes_with_the_size_and_with_the_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("a")
    versions = [storage(tmp_path).versions()["a"]]
    file.write_text("ab")
    versions.append(storage(tmp_path).versions()["a"])
    os.utime(file, ns=(0, 1))
    versions.append(storage(tmp_path).versions()["a"])
    assert len(set(versions)) == 3
    assert storage(tmp_path).versions()["a"] == versions[-1]


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert storage(tmp_path / "no").versions() == {}
    assert storage(tmp_path / "no").versions("*.csv") == {}
