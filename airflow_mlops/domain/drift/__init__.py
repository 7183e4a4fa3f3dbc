"""Drift: what an author asks for, how a method is chosen, and what was found."""

from airflow_mlops.domain.drift.found import (
    ColumnDrift,
    ComparedData,
    DataDrift,
    Sample,
    furthest_first,
)
from airflow_mlops.domain.drift.judging import judge_columns, judge_window
from airflow_mlops.domain.drift.method import DriftMethod, automatic_method, benjamini_hochberg
from airflow_mlops.domain.drift.spec import ColumnRule, Correction, DriftSpec, ValueKind
from airflow_mlops.domain.drift.volume import Volume, volume_of

__all__ = [
    "ColumnDrift",
    "ColumnRule",
    "ComparedData",
    "Correction",
    "DataDrift",
    "DriftMethod",
    "DriftSpec",
    "Sample",
    "ValueKind",
    "Volume",
    "automatic_method",
    "benjamini_hochberg",
    "furthest_first",
    "judge_columns",
    "judge_window",
    "volume_of",
]
