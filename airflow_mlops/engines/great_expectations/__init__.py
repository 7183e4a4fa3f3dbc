"""Great Expectations: its suites, and its verdicts on figures that DuckDB measures on Parquet files.

What DuckDB cannot check as pandas would goes to Great Expectations' own engine on pandas, and the outcome says so.
"""

from airflow_mlops.engines.great_expectations.library import (
    BOUNDS,
    INDEX_KEY,
    build_all,
    lacking_columns,
    library_context,
    outcome_of,
    quietly,
)
from airflow_mlops.engines.great_expectations.running import run_suite

__all__ = [
    "BOUNDS",
    "INDEX_KEY",
    "build_all",
    "lacking_columns",
    "library_context",
    "outcome_of",
    "quietly",
    "run_suite",
]
