"""The decision in real Dag runs: mapped, retried and cleared, with the events that Airflow keeps."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.audit.entry import Chain, EventKind
from airflow_mlops.domain.retraining import RetrainDecision
from airflow_mlops.domain.training_request import RetrainingEvent
from airflow_mlops.hooks.audit import audit_trail

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),  # Airflow's own API server, which runs within, has warnings of its own.
]

DAG = """
from airflow.sdk import DAG, task
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.operators.retraining import RetrainDecisionOperator
from airflow_mlops.operators.windows import record_check


class Crashing(RetrainDecisionOperator):
    "Dies in the first try of the first model, when all is decided and recorded."

    def show(self, records, context):
        if context["ti"].try_number == 1 and self.model_name == "first":
            raise RuntimeError("the worker was lost")
        return super().show(records, context)


with DAG(dag_id="decide_in_airflow", params={"day": 1}, schedule=None):

    @task
    def check(model_name, params):
        window = Window.parse(f"2013-05-{params['day']:02d}", f"2013-05-{params['day'] + 1:02d}")
        found = WindowCheck(
            kind=CheckKind.DATA_DRIFT, window=window, verdict=CheckVerdict.VIOLATED, model_name=model_name,
            model_version="1", rows=100, reasons=("temp has drifted.",),
        )
        record_check(found)
        return {"model_name": model_name, "checks": [found.to_dict()]}

    checks = check.expand(model_name=["first", "second"])
    Crashing.partial(task_id="decide", retries=2, retry_delay=0, mlflow_conn_id=None).expand_kwargs(checks)
"""


WATCHED = [f"mlops://retraining/{name}" for name in ("first", "second")]
"""Other tests have told of other models."""


@pytest.fixture
def dag(airflow_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/dag.py").write_text(DAG)
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    bag = DagBag(dag_folder=tmp_path / "dags", bundle_path=tmp_path / "dags", bundle_name="tests")
    assert not bag.import_errors
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)
    return bag.dags["decide_in_airflow"]


def run(dag: Any, day: int) -> list[RetrainDecision]:
    result = dag.test(logical_date=dt.datetime.now(dt.UTC), run_conf={"day": day})
    assert str(result.state) == "success"
    found = [ti for ti in result.get_task_instances() if ti.task_id == "decide"]
    assert sorted(ti.try_number for ti in found) == [1, 2]
    values = [ti.xcom_pull(task_ids="decide", map_indexes=ti.map_index) for ti in found]
    return [RetrainDecision.from_dict(value) for value in values]


def told() -> dict[str, list[RetrainingEvent]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetModel.uri, AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        events = session.execute(query.where(AssetModel.uri.in_(WATCHED))).all()
    return {name: [RetrainingEvent.from_dict(extra) for uri, extra in events if uri == name] for name, _ in events}


def test_mapped_models_are_retrained_each_once_though_a_worker_dies_and_the_run_is_repeated(dag: Any) -> None:
    assert [str(item.verdict) for item in run(dag, 1)] == ["no_reason", "no_reason"]
    assert told() == {}
    decisions = run(dag, 2)
    assert [str(item.verdict) for item in decisions] == ["retrain", "retrain"]
    expected = {f"mlops://retraining/{item.model_name}": [item.event()] for item in decisions}
    assert told() == expected
    assert run(dag, 2) == decisions  # the same window again
    assert told() == expected
    for name in ("first", "second"):
        entries = audit_trail().read(Chain.of_model(name)).entries
        assert [entry.event_kind for entry in entries] == [EventKind.RETRAINING]
