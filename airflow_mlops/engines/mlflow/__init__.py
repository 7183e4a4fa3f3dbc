"""MLflow: runs, metrics, models and the registry, through its own client.

Every call that writes is safe to repeat: a retry finds the run, the metrics, the model or the version of the first try.
"""

from airflow_mlops.engines.mlflow.registry import MlflowRegistry
from airflow_mlops.engines.mlflow.runs import LoggedModel, MlflowRuns

__all__ = ["LoggedModel", "MlflowEngine"]


class MlflowEngine(MlflowRuns, MlflowRegistry):
    """One MLflow tracking server with its registry. The parameters are those of ``MlflowServer``."""
