"""A snapshot of what has come, by the events that a trigger has emitted."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.new_data import NewData
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.operators.new_data import NewDataSnapshotOperator, new_batches
from airflow_mlops.triggers.new_data import NewDataTrigger


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def told(inbox: Path) -> NewData:
    """Return the first batch of all files that are there."""
    producer = NewDataTrigger.create_shared_stream_producer({"address": str(inbox), "include_existing": True})
    producer._look()
    batch = producer._look()
    assert batch is not None
    return batch


def context(*batches: NewData, run_id: str = "r", task_id: str = "take") -> Any:
    events = [SimpleNamespace(extra={"from_trigger": True, "payload": batch.to_dict()}) for batch in batches]
    return {
        "ti": SimpleNamespace(dag_id="d", run_id=run_id, task_id=task_id, map_index=-1),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None)),
        "triggering_asset_events": {"inbox": [*events, SimpleNamespace(extra={})]},
    }


def take(in_context: Any) -> Snapshot:
    operator = NewDataSnapshotOperator(task_id="take", dataset_name="arrivals")
    return Snapshot.from_dict(operator.execute(in_context))


def test_all_files_that_have_come_are_in_the_snapshot_also_those_that_the_event_does_not_name(inbox: Path) -> None:
    for number in range(150):
        (inbox / f"{number} [x].csv").write_text(f"n\n{number}\n")
    batch = told(inbox)
    (inbox / "later.csv").write_text("n\n1\n")
    assert (take(context(batch)).rows, len(batch.files)) == (150, 100)


def test_a_batch_that_was_told_twice_is_taken_by_one_run_of_each_task(inbox: Path) -> None:
    (inbox / "a.csv").write_text("n\n1\n")
    batch = told(inbox)
    assert take(context(batch, batch)).rows == 1
    with pytest.raises(AirflowSkipException, match="an earlier run has taken them"):
        take(context(batch, run_id="later"))
    assert take(context(batch)).created is False  # a retry, or a task that was cleared
    assert new_batches(context(batch, run_id="later", task_id="another")) == (batch,)


def test_a_run_that_no_event_has_triggered_is_skipped(inbox: Path) -> None:
    with pytest.raises(AirflowSkipException, match="there is nothing to take"):
        take(context())
    assert new_batches({}) == ()


def test_a_file_that_is_no_data_is_named(inbox: Path) -> None:
    (inbox / "a.txt").write_text("a")
    with pytest.raises(DatasetError, match=r"a\.txt is neither \.csv"):
        take(context(told(inbox)))
