"""The limits of DuckDB on a worker, from the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import conf

if TYPE_CHECKING:
    from airflow_mlops.engines.duckdb import DuckDbLimits


def duckdb_limits() -> DuckDbLimits:
    """Return ``[mlops] duckdb_memory_limit``, ``duckdb_threads`` and ``duckdb_spill_folder``."""
    from airflow_mlops.engines.duckdb import DuckDbLimits

    default = DuckDbLimits()
    spill_folder = conf.get("mlops", "duckdb_spill_folder", fallback="")
    return DuckDbLimits(
        memory=conf.get("mlops", "duckdb_memory_limit", fallback=default.memory),
        threads=conf.getint("mlops", "duckdb_threads", fallback=default.threads),
        spill_folder=Path(spill_folder) if spill_folder else None,
    )
