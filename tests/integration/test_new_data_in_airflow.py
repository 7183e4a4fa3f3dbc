"""A real triggerer that watches a folder and S3, and is killed again and again: each file is in one asset event."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.new_data import NewData

pytestmark = pytest.mark.integration

DAG = """
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow_mlops.triggers.new_data import NewDataTrigger

trigger = NewDataTrigger(address={address!r}, poll_interval=0.2)
inbox = Asset("inbox", uri="file:///inbox", watchers=[AssetWatcher(name="inbox", trigger=trigger)])
with DAG(dag_id="new_data_arrives", schedule=[inbox], is_paused_upon_creation=False):
    EmptyOperator(task_id="read")
"""


@pytest.fixture
def inbox(tmp_path: Path, airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that a Dag in the database has a watcher of."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    folder = tmp_path / "inbox"
    folder.mkdir()
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "watching.py").write_text(DAG.format(address=str(folder)))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    bag = DagBag(dag_folder=tmp_path / "dags", bundle_path=tmp_path / "dags", bundle_name="watching")
    assert not bag.import_errors
    with create_session() as session:
        session.merge(DagBundleModel(name="watching"))
    sync_bag_to_db(bag, "watching", None)
    return folder


@contextmanager
def triggerer(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a triggerer, and kill it with its children, without a chance to tidy up."""
    environment = os.environ | {
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "2",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def told() -> list[NewData]:
    """Return the payloads of the asset's events, as Airflow has stored them."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found: list[Any] = list(
            session.scalars(
                select(AssetEvent.extra)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .where(AssetModel.name == "inbox")
                .order_by(AssetEvent.id)
            )
        )
    return [NewData.from_dict(extra["payload"]) for extra in found]


def until(is_so: Callable[[], bool], log: Path) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-5_000:])


def names() -> set[str]:
    return {Path(file).name for batch in told() for file in batch.files}


def taken_by_runs_of_each_event() -> list[str]:
    """Return the files that a task takes which runs once for each event, as Airflow has them."""
    from airflow_mlops.operators.new_data import new_files

    taken: list[str] = []
    for number, batch in enumerate(told()):
        event = SimpleNamespace(extra={"from_trigger": True, "payload": batch.to_dict()})
        task = SimpleNamespace(dag_id="new_data_arrives", run_id=f"{number}", task_id="read", map_index=-1)
        context: Any = {"ti": task, "triggering_asset_events": {"inbox": [event]}}
        taken += new_files(context)
    return taken


def test_no_file_is_missed_or_in_two_events_though_the_triggerer_is_killed(inbox: Path, tmp_path: Path) -> None:
    log = tmp_path / "triggerer.log"
    store = tmp_path / "store" / "new-data"
    with triggerer(log):
        until(lambda: any(store.glob("*/told.json")), log)  # the first look
        (inbox / "a.csv").write_text("a")
        until(lambda: "a.csv" in names(), log)
        (inbox / "b.csv").write_text("b")
        # It is killed at once: as a rule, before it has noted that Airflow has stored the event.
    (inbox / "c.csv").write_text("c")  # nobody looks
    with triggerer(log):
        until(lambda: {"a.csv", "b.csv", "c.csv"} <= names(), log)
        (inbox / "d.csv").write_text("d")
        until(lambda: "d.csv" in names(), log)
    batches = {batch.batch: batch for batch in told()}
    assert sorted(batches) == list(range(1, len(batches) + 1))
    assert all(batch == batches[batch.batch] for batch in told())  # one that is told again is the same
    files = [file for batch in batches.values() for file in batch.files]
    assert sorted(files) == [str(inbox / name) for name in ("a.csv", "b.csv", "c.csv", "d.csv")]
    assert sorted(taken_by_runs_of_each_event()) == sorted(files)
