"""Samples of texts and embeddings."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.dataset import CsvDialect
from airflow_mlops.engines.duckdb import DuckDbLimits, LocalSource, take_snapshot
from airflow_mlops.engines.pyarrow_unstructured import sample_texts, sample_vectors
from airflow_mlops.exceptions import DatasetError


def write(folder: Path, *parts: pa.Array) -> list[Path]:
    files = []
    for number, values in enumerate(parts):
        files.append(folder / f"part-{number}.parquet")
        pq.write_table(pa.table({"c": values}), files[-1], row_group_size=7)
    return files


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float64()), pa.large_list(pa.float16()), pa.list_(pa.int8())],
    ids=str,
)
def test_lists_of_numbers_are_rows(tmp_path: Path, kind: pa.DataType) -> None:
    array = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8())).cast(kind)
    found = sample_vectors(write(tmp_path, array), "c", 10, "seed", "the window")
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])
    assert found.missing == pytest.approx(1 / 3)


def test_lists_of_a_fixed_size_are_rows(tmp_path: Path) -> None:
    found = sample_vectors(
        write(tmp_path, pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))), "c", 10, "seed", "the window"
    )
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])


def test_lists_of_a_fixed_size_may_be_missing_in_a_snapshot_of_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"c": pa.array([[1, 2], None], pa.list_(pa.float32(), 2))}), tmp_path / "source.parquet")
    source = LocalSource(uri="s", path=tmp_path / "source.parquet")
    (tmp_path / "snapshot").mkdir()
    take_snapshot([source], tmp_path / "snapshot", dialect=CsvDialect(), window=None, limits=DuckDbLimits())
    found = sample_vectors(list((tmp_path / "snapshot").iterdir()), "c", 10, "seed", "the window")
    np.testing.assert_array_equal(found.vectors, [[1, 2]])
    assert found.missing == 0.5


def test_a_vector_with_a_hole_is_a_missing_one(tmp_path: Path) -> None:
    values = pa.array([[1.0, None], [float("nan"), 1.0], [float("inf"), 1.0], [1.0, 2.0]], pa.list_(pa.float32()))
    found = sample_vectors(write(tmp_path, values), "c", 10, "seed", "the window")
    np.testing.assert_array_equal(found.vectors, [[1, 2]])
    assert found.missing == 0.75


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([[1.0], [1.0, 2.0]]), "different lengths, such as 1 and 2"),
        (pa.array(["a"]), "of the window holds string, no lists of numbers"),
        (pa.array([["a"]]), "no lists of numbers"),
        (pa.array([None, [1.0]], pa.list_(pa.float32(), 1)), "'c' of the window cannot be read: Expected all lists"),
    ],
)
def test_what_is_no_embedding_is_said(tmp_path: Path, values: pa.Array, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        sample_vectors(write(tmp_path, values), "c", 10, "seed", "the window")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no column 'vector' in the window; it has c\."):
        sample_vectors(write(tmp_path, pa.array([[1.0]])), "vector", 10, "seed", "the window")


def test_no_rows_and_no_values_are_samples_of_nothing(tmp_path: Path) -> None:
    empty = sample_vectors(write(tmp_path, pa.array([], pa.list_(pa.float32()))), "c", 10, "seed", "the window")
    nulls = sample_vectors(write(tmp_path, pa.array([None], pa.list_(pa.float32()))), "c", 10, "seed", "the window")
    assert (len(empty.vectors), empty.missing, len(nulls.vectors), nulls.missing) == (0, 0, 0, 1)
    assert sample_texts(write(tmp_path, pa.nulls(2)), "c", 10, "seed", "the window").missing == 1


def test_a_sample_is_the_same_rows_each_time_and_each_at_most_once(tmp_path: Path) -> None:
    files = write(tmp_path, *(pa.array([f"{part}-{row}" for row in range(20)]) for part in range(3)))
    found = sample_texts(files, "c", 25, "seed", "the window").texts
    assert found == sample_texts(files, "c", 25, "seed", "the window").texts
    assert len(set(found)) == 25
    assert found != sample_texts(files, "c", 25, "other", "the window").texts
    everything = sample_texts(files, "c", 100, "seed", "the window").texts
    assert everything == tuple(f"{part}-{row}" for part in range(3) for row in range(20))


def test_every_row_is_as_likely_to_be_drawn(tmp_path: Path) -> None:
    files = write(tmp_path, pa.array([str(row) for row in range(20)]), pa.array([str(row) for row in range(20, 30)]))
    counts = np.zeros(30)
    for seed in range(300):
        for text in sample_texts(files, "c", 10, str(seed), "the window").texts:
            counts[int(text)] += 1
    assert (np.abs(counts - 100) < 5 * np.sqrt(300 * (1 / 3) * (2 / 3))).all()


def test_texts_stored_as_a_dictionary_are_texts(tmp_path: Path) -> None:
    files = write(tmp_path, pa.array(["x", None, "x"]).dictionary_encode())
    found = sample_texts(files, "c", 10, "seed", "the window")
    assert found.texts == ("x", "x")
    assert found.missing == pytest.approx(1 / 3)


def test_numbers_are_no_texts(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'c' of the window holds int64, no texts"):
        sample_texts(write(tmp_path, pa.array([1])), "c", 10, "seed", "the window")
