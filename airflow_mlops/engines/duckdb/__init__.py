"""DuckDB: reads CSV and Parquet sources, writes them as Parquet parts, and tells their digest and statistics.

Everything streams: memory stays below ``DuckDbLimits.memory``, and what does not fit is spilled to disk.
"""

from airflow_mlops.engines.duckdb.connection import DuckDbLimits
from airflow_mlops.engines.duckdb.label_share import LabelShare, count_labelled
from airflow_mlops.engines.duckdb.labels import JoinedAnswers, join_labels
from airflow_mlops.engines.duckdb.overlap import SharedRows, count_shared_rows
from airflow_mlops.engines.duckdb.quarantine import Separated, row_conditions, separate_rows
from airflow_mlops.engines.duckdb.snapshot import MeasuredData, take_snapshot
from airflow_mlops.engines.duckdb.sources import LocalSource
from airflow_mlops.engines.duckdb.times import find_times

__all__ = [
    "DuckDbLimits",
    "JoinedAnswers",
    "LabelShare",
    "LocalSource",
    "MeasuredData",
    "Separated",
    "SharedRows",
    "count_labelled",
    "count_shared_rows",
    "find_times",
    "join_labels",
    "row_conditions",
    "separate_rows",
    "take_snapshot",
]
