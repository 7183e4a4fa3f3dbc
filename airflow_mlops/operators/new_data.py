"""What the asset events of a run say has come, and a snapshot of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.dataset import source_format
from airflow_mlops.domain.new_data import NewData
from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.base import work_key_of
from airflow_mlops.operators.dataset import DatasetSnapshotOperator

if TYPE_CHECKING:
    from airflow_mlops.engines.fsspec import Storage


def new_batches(context: Context) -> tuple[NewData, ...]:
    """Return the batches of new data that have triggered this run, in order, each once.

    The running task takes them. One that an earlier run of the task has taken was told twice, since a triggerer has
    died, and is left out. A retry, or a task that is cleared, gets what its run has taken.

    :raises InvalidInputError: when an event of a watcher holds something else.
    """
    found: dict[tuple[str, int], NewData] = {}
    for events in (context.get("triggering_asset_events") or {}).values():
        for event in events:
            payload = (event.extra or {}).get("payload")
            if payload is not None:
                batch = NewData.from_dict(payload)
                found[batch.source, batch.batch] = batch
    return tuple(found[key] for key in sorted(found) if _take(found[key], work_key_of(context)))


def new_files(context: Context) -> tuple[str, ...]:
    """Return the addresses of all files of :func:`new_batches`, sorted, each once."""
    from airflow_mlops.engines.told_data import read_batch

    lists = [batch.list_uri for batch in new_batches(context) if batch.file_count]
    return tuple(sorted({file for uri in lists for file in read_batch(open_storage(uri))}))


def _take(batch: NewData, key: WorkKey) -> bool:
    """Return whether a batch is this run's: it is the run's that notes first that it takes it."""
    folder, _, name = batch.list_uri.rpartition("/")
    task = quote(f"{key.dag_id}.{key.task_id}.{key.map_index}", safe="")
    note = open_storage(folder) / f"taken/{task}/{name.removesuffix('.jsonl')}.json"
    return note.create_json({"run_id": key.run_id}) or note.read_json()["run_id"] == key.run_id


class NewDataSnapshotOperator(DatasetSnapshotOperator):
    """Take a snapshot of the files that have come, in a Dag that is scheduled on an asset with a ``NewDataTrigger``.

    Without such files, as in a run that a person has started, or where an earlier run has taken them, the task is
    skipped. The parameters are those of
    :class:`~airflow_mlops.operators.dataset.DatasetSnapshotOperator`, without ``source``.
    """

    template_fields: Sequence[str] = ("dataset_name", "start", "end")
    template_fields_renderers: ClassVar[dict[str, str]] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source=(), **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the snapshot of what the events name."""
        self.source = new_files(context)
        if not self.source:
            msg = "No new files have triggered this run, or an earlier run has taken them: there is nothing to take."
            raise AirflowSkipException(msg)
        return super().execute(context)

    def find_files(self) -> list[Storage]:
        """Return the files, without asking the storage for each one again."""
        if odd := [file for file in self.source if source_format(file) is None]:
            msg = f"{odd[0]} is neither .csv, .csv.gz nor .parquet. Let the trigger watch a pattern, such as */*.csv."
            raise DatasetError(msg)
        return [open_storage(file) for file in self.source]
