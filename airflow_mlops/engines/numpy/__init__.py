"""NumPy: judges predictions. Metrics with bootstrap intervals, slices, fairness, and what the plots show."""

from airflow_mlops.engines.numpy.checks import check_truth
from airflow_mlops.engines.numpy.comparison import Comparison, compare
from airflow_mlops.engines.numpy.diagnostics import diagnose
from airflow_mlops.engines.numpy.fairness import rates_by_group
from airflow_mlops.engines.numpy.groups import Groups, bin_numbers, is_identifier, pool
from airflow_mlops.engines.numpy.metrics import Predictions
from airflow_mlops.engines.numpy.slices import find_slices

__all__ = [
    "Comparison",
    "Groups",
    "Predictions",
    "bin_numbers",
    "check_truth",
    "compare",
    "diagnose",
    "find_slices",
    "is_identifier",
    "pool",
    "rates_by_group",
]
