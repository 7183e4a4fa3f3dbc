"""What the README and the docs show as code is code that works."""

import json
import os
import runpy
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from airflow.sdk import RetryAction

from airflow_mlops.domain.evaluation import Estimate, Evaluation, Evidence, JudgedModel, LearningTask, MetricComparison
from airflow_mlops.domain.gates import GATES
from airflow_mlops.domain.promotion import PromotionDecision, PromotionPolicy
from airflow_mlops.engines.yaml import read_document
from airflow_mlops.exceptions import (
    DockerUnavailableError,
    ImageNotFoundError,
    ImageRegistryUnavailableError,
    JobFailedError,
    JobOutOfMemoryError,
    JobStoppedError,
    MlflowUnavailableError,
)
from airflow_mlops.operators.promotion import PromotionGateOperator
from airflow_mlops.operators.training import TrainModelOperator
from demo.flights import write_months

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "docs" / "examples"


def code_blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page that are in this language."""
    parts = (PROJECT / page).read_text().split(f"```{language}\n")[1:]
    return [part.partition("```")[0] for part in parts]


@pytest.mark.parametrize(
    ("page", "language", "example"),
    [
        ("README.md", "python", "churn.py"),
        ("docs/job-contract.md", "python", "logistic.py"),
        ("docs/following.md", "python", "follow.py"),
        ("docs/sagemaker.md", "python", "sagemaker.py"),
        ("docs/training.md", "python", "retries.py"),
        ("docs/new-data.md", "python", "arrivals.py"),
        ("docs/retraining.md", "python", "watch.py"),
        ("docs/promotion.md", "yaml", "policy.yaml"),
        ("docs/promotion.md", "yaml", "own_policy.yaml"),
        ("docs/promotion.md", "python", "own_gates.py"),
    ],
)
def test_page_shows_the_example_as_it_is(page: str, language: str, example: str) -> None:
    assert (EXAMPLES / example).read_text() in code_blocks(page, language)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (JobStoppedError("docker stop"), (RetryAction.RETRY, timedelta(minutes=1))),
        (DockerUnavailableError("host"), (RetryAction.RETRY, timedelta(minutes=10))),
        (ImageRegistryUnavailableError("429"), (RetryAction.RETRY, timedelta(hours=1))),
        (JobOutOfMemoryError("64 MiB"), (RetryAction.RETRY, timedelta(minutes=30))),
        (JobFailedError("exit status 3"), (RetryAction.FAIL, None)),
        (ImageNotFoundError("no such image"), (RetryAction.FAIL, None)),
        (MlflowUnavailableError("server"), (RetryAction.DEFAULT, None)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_policy_of_the_docs_retries_what_it_says(
    error: Exception, expected: tuple[RetryAction, timedelta | None]
) -> None:
    policy = runpy.run_path(str(EXAMPLES / "retries.py"))["POLICY"]
    decision = policy.evaluate(error, 1, 5)
    assert (decision.action, decision.retry_delay) == expected


def test_dag_of_the_readme_has_twenty_lines_or_so() -> None:
    lines = [line for line in (EXAMPLES / "churn.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 25


def test_dag_that_watches_a_model_is_one_that_airflow_reads(airflow_db: None, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "watch.py").write_text((EXAMPLES / "watch.py").read_text())
    bag = DagBag(dag_folder=str(tmp_path))
    assert bag.import_errors == {}
    decide: Any = bag.dags["watch_churn"].get_task("decide")
    assert decide.upstream_task_ids == {"window", "drift"}


def test_dag_of_the_readme_is_one_that_airflow_reads(airflow_db: None, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "churn.py").write_text((EXAMPLES / "churn.py").read_text())
    bag = DagBag(dag_folder=str(tmp_path))
    assert bag.import_errors == {}
    dag: Any = bag.get_dag("churn")
    follows = {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}
    assert follows == {
        "snapshot": {"validate", "train"},
        "holdout": {"evaluate"},
        "validate": {"train", "register"},
        "train": {"register"},
        "register": {"evaluate"},
        "evaluate": {"gate"},
        "gate": {"approve", "promote"},
        "approve": {"promote"},
        "promote": set(),
    }


def test_dag_that_follows_a_model_waits_before_it_deploys(airflow_db: None, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "follow.py").write_text((EXAMPLES / "follow.py").read_text())
    bag = DagBag(dag_folder=str(tmp_path))
    assert bag.import_errors == {}
    dag: Any = bag.get_dag("follow_churn")
    assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == {
        "champion": {"deploy"},
        "deploy": set(),
    }


def test_dag_that_starts_when_files_come_is_one_that_airflow_reads_with_its_watcher(
    airflow_db: None, tmp_path: Path
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "arrivals.py").write_text((EXAMPLES / "arrivals.py").read_text())
    bag = DagBag(dag_folder=str(tmp_path))
    assert bag.import_errors == {}
    dag: Any = bag.get_dag("arrivals")
    assert [task.task_id for task in dag.topological_sort()] == ["snapshot", "validate"]
    (watcher,) = dag.timetable.asset_condition.objects[0].watchers
    assert watcher.trigger.watch.address == "s3://lake@flights/in/**/*.parquet"


def test_policy_in_yaml_is_the_policy_of_the_reference_dag(airflow_db: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    dag: Any = bag.get_dag("continuous_training")
    assert PromotionPolicy.from_dict(read_document(EXAMPLES / "policy.yaml")) == dag.get_task("gate").policy


def test_gate_of_ones_own_beside_the_dag_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_gates.py").write_text((EXAMPLES / "own_gates.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    policy = PromotionPolicy.from_dict(read_document(EXAMPLES / "own_policy.yaml"))
    values = {"roc_auc": 0.7, "precision": 0.8, "recall": 0.45}
    metrics = tuple(
        MetricComparison(metric=name, higher_is_better=True, candidate=Estimate(value=value, low=value, high=value))
        for name, value in values.items()
    )
    judged = Evaluation(
        model_name="churn",
        candidate=JudgedModel(version="1", run_id="r", model_digest="m"),
        champion=None,
        dataset_name="holdout",
        dataset_digest="d",
        target="churned",
        task=LearningTask.BINARY,
        rows=100,
        confidence_level=0.95,
        resamples=10,
        metrics=metrics,
    )
    decision = policy.judge(Evidence(uri="/evidence", digest=judged.content_digest(), evaluation=judged))
    assert decision.passed  # the own gate is a dry run
    assert decision.verdicts[1].reason == (
        "Precision is 0.80 and recall 0.45; they may be at most 0.3 apart. A dry run, which decides nothing."
    )


def extending(number: int) -> dict[str, Any]:
    """Run a code block of the page about subclasses, and return what it defines."""
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(code_blocks("docs/extending.md", "python")[number], "docs/extending.md", "exec"), namespace)  # noqa: S102
    return namespace


@pytest.mark.parametrize(("day", "passed"), [(18, True), (20, False)])
def test_gate_of_the_docs_adds_a_verdict(day: int, passed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = PromotionDecision(
        model_name="churn",
        version="1",
        model_digest="",
        evidence_uri="",
        evidence_digest="",
        champion_version=None,
        policy_digest="",
        passed=True,
        verdicts=(),
    )
    monkeypatch.setattr(PromotionGateOperator, "measure", lambda _self, _context: judged)
    gate = extending(0)["WeekdayGateOperator"](task_id="gate", evidence={}, policy={})
    decision = gate.measure({"ti": SimpleNamespace(start_date=datetime(2026, 11, day, tzinfo=UTC))})
    assert decision.passed is passed
    assert [verdict.passed for verdict in decision.verdicts] == [passed]


def test_training_by_an_engine_of_your_own_is_a_training() -> None:
    assert issubclass(extending(1)["BatchTrainingOperator"], TrainModelOperator)


def test_trainer_of_the_docs_trains_a_model_that_can_be_scored(tmp_path: Path) -> None:
    january = write_months(tmp_path / "months")[0]
    for channel in ("train", "score"):
        folder = tmp_path / "input" / "data" / channel
        folder.mkdir(parents=True)
        duckdb.execute(f"COPY (FROM '{january}' LIMIT 2000) TO '{folder}/part-0.parquet' (FORMAT parquet)")
    settings = tmp_path / "input" / "config" / "hyperparameters.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"target": "late", "features": "distance,hour,temp", "regularization": "0.5"}))
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), "JOB_TRAINER": "logistic"}
    programs = {"train": PROJECT / "docker" / "trainer", "score": PROJECT / "airflow_mlops" / "scorer"}
    for command, program in programs.items():
        subprocess.run(
            [sys.executable, program, command],
            env={**environment, "PYTHONPATH": str(EXAMPLES)},
            check=True,
        )
    metrics = json.loads((tmp_path / "output" / "data" / "metrics.json").read_text())
    assert 0.5 < metrics["train_accuracy"] < 1
    predictions = duckdb.read_parquet(str(tmp_path / "output" / "data" / "predictions.parquet"))
    assert predictions.columns == ["prediction", "probability"]
    assert len(predictions) == 2000


def test_every_gate_stands_in_the_table_of_the_docs() -> None:
    page = (PROJECT / "docs" / "promotion.md").read_text()
    assert [kind for kind in GATES if f"| `{kind}` |" not in page] == []
