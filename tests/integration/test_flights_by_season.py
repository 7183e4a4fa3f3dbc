"""The reference policy on the flights of 2013, by the real trainer: what is let through in summer, and what is not.

The champion has learned January and February. Each month a model learns the two months before and is judged on the
month itself. Delays in summer have other causes than in winter, and a new model knows them; from October on it knows
no more than the old one does.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import EvidenceReference
from airflow_mlops.domain.promotion import PromotionDecision, PromotionPolicy
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.operators.base import MlopsOperator
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.promotion import PromotionGateOperator
from airflow_mlops.operators.registry import RegisterModelOperator
from airflow_mlops.operators.training import ProcessTrainingOperator
from dags.continuous_training import FEATURES, POLICY, TARGET, TIME_COLUMN
from demo.flights import write_months

from .test_training import StateStore

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
MODEL_NAME = "flights-by-season"


class Season:
    """Rounds of the loop on one registry. Each is a Dag run of its own."""

    def __init__(self, data: Path, *, model_name: str = MODEL_NAME, target: str = TARGET, task: str = "binary") -> None:
        self.data, self.model_name, self.target, self.task = data, model_name, target, task

    def run(self, operator: MlopsOperator, run_id: str) -> Any:
        """Execute a task, and return its result as XCom gives it on."""
        kept: dict[str, Any] = {}
        ti = SimpleNamespace(
            dag_id="loop",
            run_id=run_id,
            task_id=operator.task_id,
            map_index=-1,
            try_number=1,
            max_tries=0,
            id="ti",
            bundle_instance=SimpleNamespace(version=None),
            xcom_push=lambda key, value: kept.update({key: value}),
        )
        context: Any = {
            "ti": ti,
            "task": operator,
            "dag": SimpleNamespace(folder=str(REPOSITORY / "dags")),
            "dag_run": SimpleNamespace(clear_number=0, run_after=datetime(2014, 1, 1, tzinfo=UTC)),
            "task_state_store": StateStore(),
            "outlet_events": {outlet: SimpleNamespace(extra=None) for outlet in operator.outlets},
        }
        return json.loads(json.dumps(operator.execute(context)))

    def snapshot(self, run_id: str, name: str, start: str, end: str) -> Snapshot:
        take = DatasetSnapshotOperator(
            task_id=f"take_{name}",
            dataset_name=name,
            source=str(self.data),
            time_column=TIME_COLUMN,
            start=start,
            end=end,
        )
        return Snapshot.from_dict(self.run(take, run_id))

    def train(self, start: str, end: str) -> ModelVersion:
        training = ProcessTrainingOperator(
            task_id="train",
            program=("python", str(REPOSITORY / "docker" / "trainer")),
            dataset=self.snapshot(start, "flights", start, end).to_dict(),
            experiment_name=self.model_name,
            hyperparameters={
                "target": self.target,
                "task": "regression" if self.task == "regression" else "classification",
                "features": ",".join(FEATURES),
                "time_column": TIME_COLUMN,
                "max_iterations": 100,
                "learning_rate": 0.1,
            },
        )
        register = RegisterModelOperator(
            task_id="register", model_name=self.model_name, training=self.run(training, start)
        )
        return ModelVersion.from_dict(self.run(register, start))

    def judge(
        self, candidate: ModelVersion, start: str, end: str, policy: PromotionPolicy = POLICY
    ) -> tuple[PromotionDecision, EvidenceReference]:
        holdout = self.snapshot(start, "flights-holdout", start, end)
        evaluate = EvaluateModelOperator(
            task_id="evaluate",
            model_version=candidate.to_dict(),
            holdout=holdout.to_dict(),
            target=self.target,
            task=self.task,
            resamples=200,
        )
        evidence = self.run(evaluate, start)
        gate = PromotionGateOperator(task_id="gate", evidence=evidence, policy=policy)
        context: Any = {"dag": SimpleNamespace(folder="/")}
        decision = gate.measure(context)
        return decision, EvidenceReference.from_dict(evidence)


def test_retrained_models_pass_in_summer_and_are_refused_from_october(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops.engines.mlflow import MlflowEngine

    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    write_months(tmp_path / "flights")
    season = Season(tmp_path / "flights")
    champion = season.train("2013-01-01", "2013-03-01")
    MlflowEngine(tracking_uri=mlflow_server).set_alias(champion, CHAMPION)

    july, july_report = season.judge(season.train("2013-05-01", "2013-07-01"), "2013-07-01", "2013-08-01")
    assert july.passed, july.verdicts
    assert "better" in Path(july_report.report_uri).read_text()

    october, october_report = season.judge(season.train("2013-08-01", "2013-10-01"), "2013-10-01", "2013-11-01")
    assert not october.passed
    (refusal,) = [verdict for verdict in october.verdicts if verdict.refuses]
    assert refusal.gate.startswith("roc_auc better than champion by 0.005")
    assert "with 95% confidence the improvement is at least" in refusal.reason or "but it is" in refusal.reason
    assert "not clearly different" in Path(october_report.report_uri).read_text()
