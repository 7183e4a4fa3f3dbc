"""The reference Dag can be read by Airflow, and its tasks follow each other as its picture says."""

from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.assets import retraining_asset

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def dag(airflow_db: None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    return bag.get_dag("continuous_training")


def test_tasks_follow_each_other_as_the_loop_is_told(dag: Any) -> None:
    follows = {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}
    assert follows == {
        "request": {"snapshot_training", "snapshot_holdout", "register"},
        "snapshot_training": {"validate_training", "train"},
        "snapshot_holdout": {"validate_holdout", "evaluate"},
        "validate_training": {"train", "register"},
        "validate_holdout": {"evaluate"},
        "train": {"register"},
        "register": {"evaluate"},
        "evaluate": {"gate"},
        "gate": {"approve", "promote"},
        "approve": {"promote"},
        "promote": set(),
    }


def test_retraining_that_monitoring_asks_for_starts_it(dag: Any) -> None:
    assert dag.timetable.asset_condition == retraining_asset("flight-delays")


def test_every_param_of_the_trigger_form_is_typed_and_described(dag: Any) -> None:
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema.get("type"), name
        assert schema.get("title"), name


def test_dag_imports_only_airflow_and_this_package() -> None:
    source = (DAGS / "continuous_training.py").read_text()
    imports = [line.split()[1] for line in source.splitlines() if line.startswith(("from ", "import "))]
    assert {name.split(".")[0] for name in imports} == {"airflow", "airflow_mlops"}


def test_a_refusal_of_permanent_errors_reaches_the_serialized_dag(dag: Any) -> None:
    for task in dag.tasks:
        assert task.retry_policy is not None, task.task_id
