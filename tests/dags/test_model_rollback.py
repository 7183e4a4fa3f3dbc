"""The Dag of rollbacks can be read by Airflow, asks why, and rolls back."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.engines.mlflow import MlflowEngine
from tests.integration.test_promotion_operators import Loop

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def dag(airflow_db: None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS / "model_rollback.py"))
    assert bag.import_errors == {}
    return bag.get_dag("model_rollback")


def test_one_task_rolls_back(dag: Any) -> None:
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {"roll_back": set()}


def test_constant_at_the_top_puts_as_many_people_before_it_as_must_agree(airflow_db: None, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    source = (DAGS / "model_rollback.py").read_text()
    wanted = source.replace("| None = None  # or ", "= ")
    assert wanted != source
    (tmp_path / "model_rollback.py").write_text(
        wanted.replace("approvals=1", "approvals=2").replace('"grace",', '"grace", "ada"')
    )
    bag = DagBag(dag_folder=str(tmp_path))
    assert bag.import_errors == {}
    dag: Any = bag.get_dag("model_rollback")
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "approve": {"roll_back"},
        "roll_back": set(),
    }
    assert dag.get_task("approve").expand_input.value == {"seat": [1, 2]}
    DagSerialization.to_dict(dag)


def test_form_explains_every_field_and_wants_a_reason(dag: Any) -> None:
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema["type"], name
        assert param.schema["title"], name
        assert param.description, name
    with pytest.raises(ValueError, match="reason"):
        dag.params.validate()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # Airflow's own API server, which runs within, has warnings of its own.
def test_dag_returns_to_the_first_of_two_versions_and_tells_the_dags_that_follow(
    dag: Any, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    name = f"dag-rolled-back-{zlib.crc32(str(tmp_path).encode()):08x}"
    loop = Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)
    for content in (b"one", b"two"):
        decision = loop.gate(loop.evidence(loop.register(loop.train(content)), 0.8))
        loop.promote(decision, loop.approve(decision))
    assert loop.alias(CHAMPION) == "2"

    done = dag.test(run_conf={"model": name, "reason": "All scores are 0."})

    assert str(done.state) == "success"
    assert loop.alias(CHAMPION) == "1"
    with create_session() as session:
        found = session.query(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        events = found.filter(AssetModel.uri == f"mlops://models/{name}").all()
    assert [(event.extra["version"], event.extra["reason"]) for event in events] == [("1", "All scores are 0.")]
