"""What Airflow discovers of this package: its operators, connection types, settings, links and asset addresses."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, by Airflow's ``provider_info`` schema."""
    return {
        "package-name": "airflow-mlops",
        "name": "MLOps",
        "description": "Validate data, train, register, judge, approve and promote models.",
        "integrations": [
            {"integration-name": "MLflow", "external-doc-url": "https://mlflow.org/docs/latest/", "tags": ["software"]},
            {
                "integration-name": "Great Expectations",
                "external-doc-url": "https://docs.greatexpectations.io/",
                "tags": ["software"],
            },
            {
                "integration-name": "Model training",
                "external-doc-url": "https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html",
                "tags": ["software"],
            },
        ],
        "operators": [
            {
                "integration-name": "MLflow",
                "python-modules": [
                    "airflow_mlops.operators.registry",
                    "airflow_mlops.operators.promotion",
                    "airflow_mlops.operators.approval",
                    "airflow_mlops.operators.rollback",
                ],
            },
            {
                "integration-name": "Great Expectations",
                "python-modules": [
                    "airflow_mlops.operators.validation",
                    "airflow_mlops.operators.suggestion",
                    "airflow_mlops.operators.spark",
                ],
            },
            {
                "integration-name": "Model training",
                "python-modules": [
                    "airflow_mlops.operators.dataset",
                    "airflow_mlops.operators.new_data",
                    "airflow_mlops.operators.prediction_window",
                    "airflow_mlops.operators.sql",
                    "airflow_mlops.operators.delta",
                    "airflow_mlops.operators.training_request",
                    "airflow_mlops.operators.training",
                    "airflow_mlops.operators.evaluation",
                    "airflow_mlops.operators.profile",
                    "airflow_mlops.operators.drift",
                    "airflow_mlops.operators.performance",
                    "airflow_mlops.operators.retraining",
                ],
            },
        ],
        "sensors": [
            {"integration-name": "MLflow", "python-modules": ["airflow_mlops.sensors.registry"]},
            {
                "integration-name": "Model training",
                "python-modules": ["airflow_mlops.sensors.ground_truth", "airflow_mlops.sensors.monitoring"],
            },
        ],
        "hooks": [
            {"integration-name": "MLflow", "python-modules": ["airflow_mlops.hooks.mlflow"]},
            {"integration-name": "Model training", "python-modules": ["airflow_mlops.hooks.docker"]},
        ],
        "triggers": [
            {
                "integration-name": "Model training",
                "python-modules": [
                    "airflow_mlops.triggers.docker",
                    "airflow_mlops.triggers.files",
                    "airflow_mlops.triggers.new_data",
                    "airflow_mlops.triggers.monitoring",
                ],
            },
            {"integration-name": "MLflow", "python-modules": ["airflow_mlops.triggers.registry"]},
        ],
        "connection-types": [_MLFLOW_CONNECTION, _DOCKER_HOST_CONNECTION],
        "extra-links": [
            "airflow_mlops.links.mlflow.MlflowRunLink",
            "airflow_mlops.links.mlflow.ModelVersionLink",
            "airflow_mlops.links.mlflow.ReportLink",
            "airflow_mlops.links.mlflow.HistoryLink",
        ],
        "cli": ["airflow_mlops.cli.definition.get_commands"],
        "asset-uris": [{"schemes": ["mlops"], "handler": "airflow_mlops.assets.sanitize_uri"}],
        "config": {
            "mlops": {
                "description": "Settings of airflow-mlops.",
                "options": {
                    "artifacts_root": {
                        "description": (
                            "Where snapshots, reports and evidence are kept: a folder that every worker sees, or an "
                            "object storage address such as s3://conn_id@bucket/prefix."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@ml-artifacts/airflow",
                        "default": "{AIRFLOW_HOME}/mlops",
                    },
                    "job_backend": {
                        "description": (
                            "Where the reference Dags run training jobs: docker (containers on a Docker host) or "
                            "process (child processes of the worker, for a machine without an engine)."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "process",
                        "default": "docker",
                    },
                    "duckdb_memory_limit": {
                        "description": "Memory that a snapshot may use before it spills to disk.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "4GB",
                        "default": "1GB",
                    },
                    "duckdb_threads": {
                        "description": "Threads of a snapshot.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "8",
                        "default": "2",
                    },
                    "duckdb_spill_folder": {
                        "description": "Folder for what does not fit in memory; a temporary folder when empty.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/mnt/scratch",
                        "default": "",
                    },
                },
            }
        },
    }


_MLFLOW_CONNECTION: dict[str, Any] = {
    "connection-type": "mlflow",
    "hook-class-name": "airflow_mlops.hooks.mlflow.MlflowHook",
    "hook-name": "MLflow",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "extra"],
        "relabeling": {"host": "Tracking URI", "login": "User"},
        "placeholders": {"host": "https://mlflow.example.com"},
    },
    "conn-fields": {
        "token": {
            "label": "Bearer token",
            "schema": {"type": ["string", "null"], "format": "password"},
            "description": "Used in place of user and password.",
        },
        "verify_tls": {
            "label": "Verify TLS certificates",
            "schema": {"type": ["boolean", "null"], "default": True},
        },
        "ca_certificate": {
            "label": "CA certificate",
            "schema": {"type": ["string", "null"]},
            "description": "Path on the workers of the certificates to trust.",
        },
        "client_certificate": {
            "label": "Client certificate",
            "schema": {"type": ["string", "null"]},
            "description": "Path on the workers of a PEM file with the client's certificate and key.",
        },
        "ui_url": {
            "label": "Address of the UI",
            "schema": {"type": ["string", "null"]},
            "description": "Where people open MLflow, if not at the tracking URI.",
        },
    },
}

_DOCKER_HOST_CONNECTION: dict[str, Any] = {
    "connection-type": "docker_host",
    "hook-class-name": "airflow_mlops.hooks.docker.DockerHostHook",
    "hook-name": "Docker host",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "extra"],
        "relabeling": {"host": "Address", "login": "Registry user", "password": "Registry password"},
        "placeholders": {"host": "tcp://docker.example.com:2376"},
    },
    "conn-fields": {
        "tls_ca_cert": {
            "label": "CA certificate",
            "schema": {"type": ["string", "null"]},
            "description": "Path on the workers of the certificates to trust.",
        },
        "tls_client_cert": {
            "label": "Client certificate",
            "schema": {"type": ["string", "null"]},
            "description": "Path on the workers.",
        },
        "tls_client_key": {
            "label": "Client key",
            "schema": {"type": ["string", "null"]},
            "description": "Path on the workers.",
        },
    },
}
