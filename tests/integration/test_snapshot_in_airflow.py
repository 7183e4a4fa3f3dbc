"""The two operators in a real Dag run: templates, XCom, the asset event and the task's state."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.hooks.audit import audit_trail

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),  # Airflow's own API server, which runs within, has warnings of its own.
]

DAG = """
from airflow.sdk import DAG, Param
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator

with DAG(
    dag_id="snapshot_and_validate",
    params={"month": Param("2013-01-01"), "until": Param(None, type=["null", "string"])},
    schedule=None,
):
    snapshot = DatasetSnapshotOperator(
        task_id="snapshot",
        dataset_name="numbers",
        source=SOURCE,
        time_column="t",
        start="{{ params.month }}",
        end="{{ params.until }}",
    )
    DataValidationOperator(task_id="validate", dataset=snapshot.output, suite="suite.yaml", retries=3)
    isolate = DataValidationOperator(
        task_id="isolate",
        dataset=snapshot.output,
        suite="suite.yaml",
        on_failure="quarantine",
        max_quarantined=0.4,
    )
    again = DataValidationOperator(task_id="again", dataset=isolate.output["snapshot"], suite="suite.yaml")
"""
SUITE = """
name: numbers
expectations:
- {type: expect_column_values_to_be_between, kwargs: {column: n, max_value: 2}}
"""


@pytest.fixture
def dag(airflow_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    (tmp_path / "n.csv").write_text("t,n\n2013-01-05,1\n2013-01-06,2\n2013-02-01,3\n")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/suite.yaml").write_text(SUITE)
    (tmp_path / "dags/dag.py").write_text(DAG.replace("SOURCE", repr(str(tmp_path / "n.csv"))))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    bag = DagBag(dag_folder=tmp_path / "dags", bundle_path=tmp_path / "dags", bundle_name="tests")
    assert not bag.import_errors
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)
    return bag.dags["snapshot_and_validate"]


def run(dag: Any, **conf: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    result = dag.test(logical_date=dt.datetime.now(dt.UTC), run_conf=conf)
    instances = {ti.task_id: ti for ti in result.get_task_instances()}
    states = {name: str(ti.state) for name, ti in instances.items()}
    return result.run_id, states, {name: ti.xcom_pull(task_ids=name) for name, ti in instances.items()}


def test_a_month_is_taken_announced_validated_and_recorded(dag: Any, tmp_path: Path) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    run_id, states, values = run(dag, until="2013-02-01")
    assert set(states.values()) == {"success"}
    snapshot = Snapshot.from_dict(values["snapshot"])
    assert snapshot.rows == 2
    assert ValidationReport.from_dict(values["validate"]).dataset_digest == snapshot.digest
    with create_session() as session:
        query = select(AssetModel.uri, AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        events = session.execute(query.where(AssetEvent.source_run_id == run_id)).all()
    assert [(uri, extra["digest"]) for uri, extra in events] == [("mlops://datasets/numbers", snapshot.digest)]
    record = audit_trail().read(Chain.of_dataset("numbers"))
    assert record.is_whole
    taken, validated = record.entries[:2]
    assert str(taken.event.origin) == f"snapshot_and_validate / {run_id} / snapshot, try 1"
    assert taken.event.started_by == "dag_test"
    assert [source["uri"] for source in taken.happening.facts["sources"]] == [str(tmp_path / "n.csv")]
    assert (validated.happening.digests["dataset"], validated.happening.facts["success"]) == (snapshot.digest, True)


def test_bad_data_fails_at_once_and_leaves_its_report(dag: Any, tmp_path: Path) -> None:
    _, states, _ = run(dag)
    assert states["validate"] == "failed"
    (document,) = (tmp_path / "store/reports").rglob("validate/validation.json")
    assert json.loads(document.read_text())["failure_count"] == 1


def test_what_follows_a_quarantine_reads_the_rows_that_pass(dag: Any) -> None:
    _, states, values = run(dag)
    assert (states["isolate"], states["again"]) == ("success", "success")
    isolated, again = (ValidationReport.from_dict(values[name]) for name in ("isolate", "again"))
    assert isolated.quarantine is not None
    assert isolated.quarantine.passing is not None
    assert (isolated.rows, again.rows) == (3, 2)
    assert again.dataset_digest == isolated.quarantine.passing.digest
