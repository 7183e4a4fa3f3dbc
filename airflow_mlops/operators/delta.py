"""Take a snapshot of a version of a Delta Lake table."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_mlops.domain.dataset import SnapshotManifest, SourceFile
from airflow_mlops.exceptions import DatasetError, NoRowsError
from airflow_mlops.hooks.delta import delta_location
from airflow_mlops.operators.dataset import SnapshotOperator


class DeltaSnapshotOperator(SnapshotOperator):
    """Read one version of a Delta Lake table, and write its rows under the digest of their content.

    Needs the extra ``delta``. The version is on the manifest's source, ``…@v7``, so that a model knows from which it
    learned.

    :param table: an absolute path, or an address such as ``s3://conn_id@bucket/tables/flights`` (templated).
    :param version: number of the version (templated); none, ``""`` or ``"None"`` is the newest.

    The other parameters are those of :class:`~airflow_mlops.operators.dataset.SnapshotOperator`.
    """

    template_fields: Sequence[str] = ("dataset_name", "table", "version", "start", "end")

    def __init__(self, *, table: str, version: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.version = version

    def measure(self, folder: Path) -> SnapshotManifest:
        """Write the rows to ``folder`` as Parquet, and describe them."""
        from airflow_mlops.engines.deltalake import open_delta
        from airflow_mlops.engines.duckdb import LocalSource
        from airflow_mlops.engines.pyarrow_spool import spool_batches

        uri, options = delta_location(self.table)
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as temporary:
            with open_delta(uri, version=_version(self.version), options=options) as delta:
                address = f"{self.table.rstrip('/')}@v{delta.version}"
                self.log.info("Reading %s", address)
                files = spool_batches(delta.batches, Path(temporary))
            if not files:
                msg = f"{address} has no rows."
                raise NoRowsError(msg)
            return self.write_parts(
                [LocalSource(uri=address, path=file) for file in files],
                folder,
                described=lambda: (SourceFile(uri=address, digest=delta.digest, size_bytes=delta.size_bytes),),
                casts=self.column_types,
            )


def _version(text: int | str | None) -> int | None:
    if text is None or text in {"", "None"}:
        return None
    try:
        return int(text)
    except ValueError as error:
        msg = f"version is {text!r}, but must be the number of a version of the Delta table."
        raise DatasetError(msg) from error
