"""Profiles of rows where they lie: in Parquet files, or in a database."""

from airflow_mlops.engines.profiles.parquet import profile_parquet

__all__ = ["profile_parquet"]
