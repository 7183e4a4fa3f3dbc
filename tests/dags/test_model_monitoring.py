"""The Dag of monitoring can be read by Airflow, says which windows it looks at, and closes the loop on small data."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.assets import retraining_asset
from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.domain.training_request import RetrainingEvent, RollingMonths, TrainingRequest
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.hooks.monitoring import monitoring_records
from tests.dags.watched import MONTHS, learned_from, promote_champion, serve
from tests.integration.test_promotion_operators import Loop

DAGS = Path(__file__).parents[2] / "dags"
SUITE = {
    "name": "production",
    "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}],
}
SOURCE = (DAGS / "model_monitoring.py").read_text()


@pytest.fixture(scope="module")
def dag(airflow_db: None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS / "model_monitoring.py"))
    assert bag.import_errors == {}
    return bag.get_dag("model_monitoring")


def read(folder: Path, name: str, source: str, suite: Any = SUITE) -> Any:
    """Read the Dag as Airflow does, for this model and this folder, and give it to the scheduler."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    (folder / "dags/expectations").mkdir(parents=True)
    (folder / "dags/expectations/flights_production.json").write_text(json.dumps(suite))
    (folder / "dags/model_monitoring.py").write_text(
        source.replace("/data/production", str(folder / "production")).replace("flight-delays", name)
    )
    bag = DagBag(dag_folder=folder / "dags", bundle_path=folder / "dags", bundle_name="tests")
    assert bag.import_errors == {}
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    sync_bag_to_db(bag, "tests", None)
    return bag.get_dag("model_monitoring")


def test_checks_of_a_window_follow_each_other(dag: Any) -> None:
    follows = {task.task_id.removeprefix("watch."): set(task.downstream_task_ids) for task in dag.tasks}
    checks = {"watch.drift", "watch.performance", "watch.bias"}
    assert follows == {
        "labels": {"watch.window"},
        "window": {"watch.validate", "watch.decide", "watch.watched", *checks},
        "validate": {"watch.decide", "watch.watched"},
        **{check.removeprefix("watch."): {"watch.decide", "watch.watched"} for check in checks},
        "decide": {"watch.watched"},
        "watched": set(),
    }


def test_missed_months_are_caught_up_one_after_the_other(dag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    serialized: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    spans, run = [], serialized.next_dagrun_info(last_automated_run_info=None)
    while run is not None:
        spans.append((f"{run.data_interval.start:%m-%d}", f"{run.data_interval.end:%m-%d}"))
        run = serialized.next_dagrun_info(last_automated_run_info=run)
    assert spans[:2] == [("04-01", "05-01"), ("05-01", "06-01")]
    assert len(spans) == 9
    assert serialized.catchup
    assert serialized.max_active_runs == 1


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # Airflow's own API server, which runs within, has warnings of its own.
def test_two_bad_months_of_one_model_ask_for_one_training(
    airflow_db: None, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = prepare(mlflow_server, tmp_path, monkeypatch)
    for month, skill in ((4, 0.8), (5, 0.1), (6, 0.1), (7, 0.1)):
        serve(tmp_path / "production", name, MONTHS[month], 600, skill=skill)
    dag = read(tmp_path, name, SOURCE)
    decisions = [run(dag, month) for month in (4, 5, 6, 7)]

    assert [(decision["verdict"], decision["alert"]) for decision in decisions] == [
        ("no_reason", None),
        ("no_reason", "violation"),
        ("retrain", "retraining"),
        ("held", "ongoing"),
    ]
    assert "cool-down of 60 days ends on 2013-08-30" in decisions[3]["summary"]
    (event,) = events(retraining_asset(name).uri)
    asked = RetrainingEvent.from_dict(event)
    assert asked.window == Window(start=MONTHS[6], end=MONTHS[7])
    assert "promised was 0.8000" in asked.reasons[0]
    assert TrainingRequest.of_events([asked], RollingMonths()).train_start == "2013-04-01T00:00:00+00:00"


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_month_without_answers_and_bad_data_alert_and_never_retrain(
    airflow_db: None, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = prepare(mlflow_server, tmp_path, monkeypatch)
    for month in (4, 6):
        serve(tmp_path / "production", name, MONTHS[month], 600, skill=0.1)
    broken = SUITE | {"expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 1}}]}
    source = SOURCE.replace("LABELS_WITHIN = timedelta(days=3)", "LABELS_WITHIN = timedelta(0)")
    dag = read(tmp_path, name, source.replace("deferrable=True", "deferrable=False"), suite=broken)

    decisions = [run(dag, month) for month in (4, 5, 6)]

    assert [decision["verdict"] for decision in decisions] == ["no_reason"] * 3
    assert decisions[0]["alert"] == "violation"
    assert all("failed its validation" in decision["summary"] for decision in decisions)
    assert events(retraining_asset(name).uri) == []


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_validation_that_breaks_fails_the_run_and_no_finding_counts(
    airflow_db: None, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = prepare(mlflow_server, tmp_path, monkeypatch)
    serve(tmp_path / "production", name, MONTHS[4], 600, skill=0.1)
    dag = read(tmp_path, name, SOURCE, suite={"name": "broken", "expectations": [{"type": "expect_what"}]})

    done = dag.test(logical_date=MONTHS[5])

    states = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    assert str(done.state) == "failed"
    assert (states["watch.validate"], states["watch.performance"], states["watch.decide"]) == (
        "failed",
        "success",
        "success",
    )
    (decision,) = monitoring_records(name).newest_decisions()
    assert decision.open_kinds == ()
    assert decision.summary.endswith("the data of this window has not been validated.")


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_model_that_was_not_trained_here_is_watched_by_a_reference_and_a_promise(
    airflow_db: None, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/monitoring.md says."""
    set_up(mlflow_server, tmp_path, monkeypatch)
    name = f"foreign-{zlib.crc32(str(tmp_path).encode()):08x}"
    mlflow = MlflowEngine(tracking_uri=mlflow_server)
    loop = Loop(mlflow, name, tmp_path)
    training = loop.train(b"of another tool")
    version, _ = mlflow.register(
        model_name=name,
        source=training.model_uri,
        run_id=training.run_id,
        model_id=training.model_id,
        tags={},
        description="",
    )
    mlflow.set_alias(version, CHAMPION)
    source = SOURCE.replace('"reference": None', f'"reference": {learned_from(loop).to_dict()!r}')
    source = source.replace(
        'metric="roc_auc", margin=0.02', 'task="binary", metric="roc_auc", promised=0.8, margin=0.02'
    )
    source = source.replace("BiasSpec(", 'BiasSpec(task="binary", ')
    dag = read(tmp_path, name, source)
    serve(tmp_path / "production", name, MONTHS[4], 600, skill=0.1)

    decision = run(dag, 4)

    assert decision["open_kinds"] == ["decay"]
    checks = monitoring_records(name).checks(Window(start=MONTHS[4], end=MONTHS[5]))
    assert {kind.value: check.verdict.value for kind, check in checks.items()} == {
        "quality": "passed",
        "data_drift": "passed",
        "decay": "violated",
        "bias": "passed",
    }


def test_one_dag_watches_fifty_models_each_by_tasks_of_its_own(airflow_db: None, tmp_path: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    many = 'MODELS = [{**MODELS[0], "model_name": f"flight-delays-{number}"} for number in range(50)]\nNOTIFIERS = '
    dag = read(tmp_path, "many", SOURCE.replace("NOTIFIERS = ", many))
    serialized: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    (group,) = serialized.task_group.children.values()
    names = [model["model_name"] for model in dag.task_group.children["watch"]._expand_input.value]
    assert names == [f"many-{number}" for number in range(50)]
    assert group.get_parse_time_mapped_ti_count() == 50
    assert len(list(group.iter_tasks())) == 8


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_models_of_one_run_are_judged_apart(
    airflow_db: None, mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is well, the second has decayed, and of the third there are no answers."""
    set_up(mlflow_server, tmp_path, monkeypatch)
    name = f"several-{zlib.crc32(str(tmp_path).encode()):08x}"
    for number in range(3):
        promote_champion(Loop(MlflowEngine(tracking_uri=mlflow_server), f"{name}-{number}", tmp_path))
    for number, skill in ((0, 0.8), (1, 0.1)):
        serve(tmp_path / "production", f"{name}-{number}", MONTHS[4], 600, skill=skill)
    several = """MODELS = [
    {
        key: value.replace("flight-delays", f"flight-delays-{number}") if isinstance(value, str) else value
        for key, value in MODELS[0].items()
    }
    for number in range(3)
]
NOTIFIERS = """
    source = SOURCE.replace("NOTIFIERS = ", several).replace("timedelta(days=3)", "timedelta(0)")
    dag = read(tmp_path, name, source.replace("deferrable=True", "deferrable=False"))

    done = dag.test(logical_date=MONTHS[5])

    assert str(done.state) == "success"
    decided = [ti for ti in done.get_task_instances() if ti.task_id == "watch.decide"]
    found = {ti.map_index: ti.xcom_pull(task_ids="watch.decide", map_indexes=ti.map_index) for ti in decided}
    assert {index: decision["open_kinds"] for index, decision in found.items()} == {0: [], 1: ["decay"], 2: ["quality"]}
    assert {decision["verdict"] for decision in found.values()} == {"no_reason"}


def set_up(mlflow_server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(folder / "store"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder / "dags"))


def prepare(mlflow_server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a champion, and return the model's name."""
    set_up(mlflow_server, folder, monkeypatch)
    name = f"watched-{zlib.crc32(str(folder).encode()):08x}"
    promote_champion(Loop(MlflowEngine(tracking_uri=mlflow_server), name, folder))
    return name


def run(dag: Any, month: int) -> Any:
    """Run the Dag for the window of a month, as the scheduler does when it is over, and return what was decided."""
    done = dag.test(logical_date=MONTHS[month + 1])
    assert str(done.state) == "success", {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    (decided,) = [ti for ti in done.get_task_instances() if ti.task_id == "watch.decide"]
    return decided.xcom_pull(task_ids="watch.decide", map_indexes=0)


def events(uri: str) -> list[Any]:
    """Return what the events of an asset carry."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        return [event.extra for event in found.filter(AssetModel.uri == uri).all()]
