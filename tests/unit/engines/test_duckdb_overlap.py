"""Rows that two tables share are found whatever the order of rows and columns, and by the columns that both have."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.engines.duckdb import DuckDbLimits, count_shared_rows
from airflow_mlops.exceptions import DatasetError

LIMITS = DuckDbLimits()


def write(file: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def test_rows_are_compared_by_all_columns_that_both_have(tmp_path: Path) -> None:
    training = write(tmp_path / "[a].parquet", x=[1, 2, 3, 4], carrier=["UA", "AA", None, "B6"], fold=[1, 1, 2, 2])
    holdout = write(
        tmp_path / "b.parquet", carrier=[None, "AA", "B6", "UA"], x=[3, 9, 4, 2], weather=[1.0, 2.0, 3.0, 4.0]
    )
    found = count_shared_rows([holdout], [training], LIMITS)
    assert (found.rows, found.columns) == (2, ("carrier", "x"))


def test_row_that_occurs_twice_in_the_holdout_counts_twice(tmp_path: Path) -> None:
    training = write(tmp_path / "a.parquet", x=[1, 1, 2])
    holdout = write(tmp_path / "b.parquet", x=[1, 1, 3])
    assert count_shared_rows([holdout], [training], LIMITS).rows == 2


def test_number_of_another_type_is_the_same_number(tmp_path: Path) -> None:
    training = write(tmp_path / "a.parquet", x=pa.array([1.0, 2.5]))
    holdout = write(tmp_path / "b.parquet", x=pa.array([1, 2], type=pa.int32()))
    assert count_shared_rows([holdout], [training], LIMITS).rows == 1


def test_tables_without_a_common_column_cannot_be_compared(tmp_path: Path) -> None:
    training, holdout = write(tmp_path / "a.parquet", x=[1]), write(tmp_path / "b.parquet", y=[1])
    with pytest.raises(DatasetError, match="share no column, the others have x"):
        count_shared_rows([holdout], [training], LIMITS)


def test_large_training_data_is_compared_within_the_memory_limit(tmp_path: Path) -> None:
    training = write(tmp_path / "a.parquet", x=pa.array(range(2_000_000)))
    holdout = write(tmp_path / "b.parquet", x=pa.array(range(1_999_000, 2_001_000)))
    assert count_shared_rows([holdout], [training], DuckDbLimits(memory="64MB")).rows == 1000
