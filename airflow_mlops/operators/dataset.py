"""Take an immutable, content-addressed snapshot of a dataset: of files, of a database, or of a Delta table."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset, AssetAlias, Context

from airflow_mlops.assets import dataset_asset
from airflow_mlops.domain.audit.events import snapshot_taken
from airflow_mlops.domain.dataset import (
    CsvDialect,
    Snapshot,
    SnapshotManifest,
    SourceFile,
    TimeWindow,
    check_dataset_name,
    dataset_path,
    snapshot_path,
)
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import artifact_store, open_storage
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import MlopsOperator

_ALIAS = AssetAlias("mlops-datasets")
"""Where Airflow learns only at run time which dataset it is."""

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_mlops.engines.duckdb import LocalSource
    from airflow_mlops.engines.fsspec import Storage


class SnapshotOperator(MlopsOperator):
    """Base of the operators that take a snapshot: they differ in :meth:`measure`, which reads their kind of source.

    The same rows and columns give the same digest, wherever they come from; a snapshot that is there already is not
    written again. Returns a :class:`~airflow_mlops.domain.dataset.Snapshot` as a dict, and puts digest, URI, rows and
    ``created`` on an event of ``dataset_asset(dataset_name)``.

    :param dataset_name: name of the dataset: letters, digits, ``.``, ``_`` and ``-`` (templated).
    :param time_column: a date or timestamp column; the times found in it go to the manifest.
    :param start: keep rows whose time is at or after this ISO 8601 time; none, ``""`` or ``"None"`` is no bound. A time
        without a zone is UTC (templated).
    :param end: keep rows whose time is before this one (templated).
    :param column_types: DuckDB types that columns shall have, such as ``{"zip_code": "VARCHAR"}``.
    """

    def __init__(
        self,
        *,
        dataset_name: Any,
        time_column: str | None = None,
        start: Any = None,
        end: Any = None,
        column_types: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        asset = _outlet(dataset_name)
        super().__init__(outlets=[*(kwargs.pop("outlets", None) or ()), asset], **kwargs)
        self.asset = asset
        self.dataset_name = dataset_name
        self.time_column = time_column
        self.start = start
        self.end = end
        self.column_types = column_types
        self._taken: tuple[Snapshot, SnapshotManifest] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure the sources into a staging folder, publish it, and announce the digest."""
        from airflow_mlops.engines.snapshots import staging

        check_dataset_name(self.dataset_name)
        with staging(artifact_store() / dataset_path(self.dataset_name)) as folder:
            manifest = self.measure(folder)
            snapshot = self.record(folder, manifest)
        append_event(context, snapshot_taken(snapshot, manifest))
        self._taken = snapshot, manifest
        self.announce(snapshot, context)
        return snapshot.to_dict()

    @abc.abstractmethod
    def measure(self, folder: Path) -> SnapshotManifest:
        """Write the source to ``folder`` as Parquet, and describe it. Override to read other kinds of sources."""

    def record(self, folder: Path, manifest: SnapshotManifest) -> Snapshot:
        """Publish ``folder`` as the snapshot of this digest, unless it is there."""
        from airflow_mlops.engines.snapshots import publish

        target = artifact_store() / snapshot_path(self.dataset_name, manifest.digest)
        created = publish(folder, manifest, target)
        self.log.info(
            "%s snapshot %s: %d rows, %d columns",
            "Wrote" if created else "Found",
            target.uri,
            manifest.rows,
            len(manifest.columns),
        )
        return Snapshot(
            dataset_name=self.dataset_name,
            digest=manifest.digest,
            uri=target.uri,
            rows=manifest.rows,
            created=created,
        )

    def announce(self, snapshot: Snapshot, context: Context) -> None:
        """Put the digest on the asset event.

        It fires also when nothing was written: after a crash between writing and success it is the retry, which finds
        the snapshot, that has to tell of it. Whoever wants new data only looks at ``created`` or compares the digest.
        """
        extra: dict[str, Any] = {
            "digest": snapshot.digest,
            "uri": snapshot.uri,
            "rows": snapshot.rows,
            "created": snapshot.created,
        }
        events = context["outlet_events"][self.asset]
        if isinstance(self.asset, AssetAlias):
            events.add(dataset_asset(self.dataset_name), extra=extra)
        else:
            events.extra = extra

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002 - its own
        """Tell OpenLineage where the snapshot's rows are from; its provider calls this."""
        from airflow_mlops.operators.lineage import snapshot_lineage

        return snapshot_lineage(*self._taken) if self._taken else None

    def write_parts(
        self,
        sources: Sequence[LocalSource],
        folder: Path,
        *,
        described: Callable[[], tuple[SourceFile, ...]],
        dialect: CsvDialect | None = None,
        casts: Mapping[str, str] | None = None,
    ) -> SnapshotManifest:
        """Write local CSV or Parquet files to ``folder`` as the parts of a snapshot, and return its manifest.

        :param described: tells where the rows are from; called once they are written.
        :param casts: DuckDB types for columns of Parquet files.
        """
        from airflow_mlops.engines.duckdb import take_snapshot
        from airflow_mlops.engines.snapshots import seal_parts

        window = TimeWindow.parse(self.time_column, self.start, self.end)
        data = take_snapshot(
            sources, folder, dialect=dialect or CsvDialect(), window=window, limits=duckdb_limits(), casts=casts
        )
        return SnapshotManifest(
            dataset_name=self.dataset_name,
            digest=data.digest,
            rows=data.rows,
            columns=data.columns,
            sources=described(),
            parts=seal_parts(folder, data.parts),
            window=data.window,
            created_at=datetime.now(UTC),
        )


class DatasetSnapshotOperator(SnapshotOperator):
    """Read CSV or Parquet and write it to the artifact store under the digest of its content.

    The same rows and columns give the same digest, whatever the names, the number and the order of the files.

    :param source: a file, a folder or a glob, or a list of them: ``.csv``, ``.csv.gz`` or ``.parquet``; an absolute
        path, or any storage that Airflow knows, such as ``s3://conn_id@bucket/flights/*.parquet`` (templated).
    :param delimiter: between the fields of CSV.
    :param null_values: texts that mean NULL in CSV, besides the empty field.
    :param column_types: DuckDB types of CSV columns that should not be inferred, such as ``{"zip_code": "VARCHAR"}``.

    The other parameters are those of :class:`SnapshotOperator`.
    """

    template_fields: Sequence[str] = ("dataset_name", "source", "start", "end")
    template_fields_renderers: ClassVar[dict[str, str]] = {"source": "json"}

    def __init__(
        self,
        *,
        source: Any,
        delimiter: str = ",",
        null_values: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.delimiter = delimiter
        self.null_values = null_values

    def measure(self, folder: Path) -> SnapshotManifest:
        """Write the files to ``folder`` as Parquet, and describe them."""
        from airflow_mlops.engines.duckdb import LocalSource

        dialect = CsvDialect(
            delimiter=self.delimiter, null_values=tuple(self.null_values), column_types=self.column_types or {}
        )
        with contextlib.ExitStack() as copies:
            files = [(file, copies.enter_context(file.local())) for file in self.find_files()]
            self.log.info("Reading %d files, the first is %s", len(files), files[0][0].uri)
            sources = [LocalSource(uri=file.uri, path=path) for file, path in files]
            return self.write_parts(
                sources,
                folder,
                described=lambda: tuple(_describe(file, path) for file, path in files),
                dialect=dialect,
            )

    def find_files(self) -> list[Storage]:
        """Return the files to read. Override to leave some out."""
        addresses = [self.source] if isinstance(self.source, str) else list(self.source)
        if not addresses or not all(addresses):
            msg = f"source is {self.source!r}, but must name at least one file, folder or glob, and no empty one."
            raise DatasetError(msg)
        files = {file.uri: file for address in addresses for file in find_source_files(str(address))}
        return list(files.values())


def _outlet(dataset_name: Any) -> Asset | AssetAlias:
    """Return the dataset's asset, or an alias for it where the name is a template or is mapped over."""
    is_known = isinstance(dataset_name, str) and "{{" not in dataset_name
    return dataset_asset(check_dataset_name(dataset_name)) if is_known else _ALIAS


def find_source_files(address: str) -> list[Storage]:
    """Return the data files of a file, a folder or a glob.

    :raises DatasetError: when the address is relative, or nothing is there that can be read.
    """
    from airflow_mlops.engines.snapshots import find_sources, split_pattern

    if "://" not in address and not address.startswith("/"):
        msg = f"source {address!r} is relative, but workers differ in their working directory. Give an absolute path."
        raise DatasetError(msg)
    folder, pattern = split_pattern(address)
    if pattern and (file := open_storage(address)).exists():
        return find_sources(file)  # A name with brackets, not a pattern.
    return find_sources(open_storage(folder), pattern)


def _describe(file: Storage, path: Path) -> SourceFile:
    from airflow_mlops.engines.fsspec import file_digest

    return SourceFile(uri=file.uri, digest=file_digest(path), size_bytes=path.stat().st_size)
