"""The records of a watched model: ``monitoring/<model>/`` in the artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops.hooks.storage import artifact_store

if TYPE_CHECKING:
    from airflow_mlops.engines.monitoring import MonitoringRecords


def monitoring_records(model_name: str) -> MonitoringRecords:
    """Open the records of a model."""
    from airflow_mlops.engines.monitoring import MonitoringRecords

    return MonitoringRecords(store=artifact_store(), model_name=model_name)
