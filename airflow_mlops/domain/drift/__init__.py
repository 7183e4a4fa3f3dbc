"""Drift: what an author asks for, how a method is chosen, and what was found."""

from airflow_mlops.domain.drift.found import (
    ColumnDrift,
    ComparedData,
    DataDrift,
    Sample,
    choose_columns,
    without_values,
)
from airflow_mlops.domain.drift.method import DriftMethod, automatic_method, benjamini_hochberg
from airflow_mlops.domain.drift.spec import ColumnRule, Correction, DriftSpec, ValueKind

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
    "automatic_method",
    "benjamini_hochberg",
    "choose_columns",
    "without_values",
]
