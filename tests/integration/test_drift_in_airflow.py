"""Parts of a window that mapped tasks profile, and the check that merges them, in a real Dag run."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.monitoring import CheckVerdict, WindowCheck

from .test_drift_operator import promoted, rows, snapshot
from .test_evaluation_operator import loop
from .test_promotion_operators import Loop

__all__ = ["loop"]  # a fixture
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # Airflow's own API server, which runs within, has warnings of its own.
]

DAG = """
from airflow.sdk import DAG
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.drift import DriftCheckOperator
from airflow_mlops.operators.profile import ProfileOperator

with DAG(dag_id="watch", schedule=None):
    parts = DatasetSnapshotOperator.partial(task_id="part", dataset_name="window").expand(source=SOURCES)
    profiles = ProfileOperator.partial(task_id="profile", model_name=MODEL).expand(snapshot=parts.output)
    DriftCheckOperator(
        task_id="drift",
        model_name=MODEL,
        current=profiles.output,
        window_start="{{ logical_date }}",
        window_end="{{ logical_date.add(days=1) }}",
        reference="{{ none }}",
        spec={"columns": ["x"], "threshold": 0.2},
    )
"""


def test_mapped_profiles_are_merged_by_the_check(
    airflow_db: None, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    promoted(loop, snapshot(loop, "train", rows()))
    sources = [str(tmp_path / f"part{number}.parquet") for number in range(3)]
    for source in sources:
        pq.write_table(pa.table(rows(1000, shift=0.5)), source)
    (tmp_path / "dags").mkdir()
    text = DAG.replace("SOURCES", repr(sources)).replace("MODEL", repr(loop.model_name))
    (tmp_path / "dags/dag.py").write_text(text)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    bag = DagBag(dag_folder=tmp_path / "dags", bundle_path=tmp_path / "dags", bundle_name="tests")
    assert not bag.import_errors
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)
    result = bag.dags["watch"].test(logical_date=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
    instances: dict[Any, Any] = {(ti.task_id, ti.map_index): ti for ti in result.get_task_instances()}
    assert {str(ti.state) for ti in instances.values()} == {"success"}
    assert sum(task == "profile" for task, _ in instances) == 3
    found = WindowCheck.from_dict(instances["drift", -1].xcom_pull(task_ids="drift"))
    assert (found.verdict, found.rows) == (CheckVerdict.VIOLATED, 3000)
    assert found.figures["drift.x"] == pytest.approx(2.5, abs=0.5)  # times its threshold
