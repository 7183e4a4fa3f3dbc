"""The MLOps layer for Apache Airflow 3: validate, train, register, judge, approve and promote models."""

__version__ = "0.1.0"
