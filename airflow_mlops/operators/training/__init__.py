"""Train a model in a container or a process by the job contract, and log what it did to MLflow."""

from airflow_mlops.operators.training.base import TrainModelOperator
from airflow_mlops.operators.training.docker import DockerTrainingOperator
from airflow_mlops.operators.training.process import ProcessTrainingOperator

__all__ = ["DockerTrainingOperator", "ProcessTrainingOperator", "TrainModelOperator"]
