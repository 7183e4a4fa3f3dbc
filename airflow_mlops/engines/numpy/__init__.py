"""NumPy: judges predictions. Metrics with bootstrap intervals, and what the plots of the report show."""

from airflow_mlops.engines.numpy.comparison import Comparison, compare
from airflow_mlops.engines.numpy.diagnostics import diagnose
from airflow_mlops.engines.numpy.metrics import Predictions

__all__ = ["Comparison", "Predictions", "compare", "diagnose"]
