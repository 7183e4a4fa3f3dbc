"""The artifact store and any other storage address, opened with the connection that the address names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath, conf

if TYPE_CHECKING:
    from airflow_mlops.engines.fsspec import Storage


def open_storage(uri: str) -> Storage:
    """Open a path or URI, such as ``/data/flights``, ``s3://bucket/key`` or ``s3://conn_id@bucket/key``."""
    from airflow_mlops.engines.fsspec import Storage

    path = ObjectStoragePath(uri)
    return Storage(filesystem=path.fs, path=path.path, uri=uri)


def artifact_store() -> Storage:
    """Open the root that holds snapshots and reports: ``[mlops] artifacts_root``."""
    return open_storage(conf.get("mlops", "artifacts_root"))
