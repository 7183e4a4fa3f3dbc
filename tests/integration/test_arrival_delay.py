"""A regression, the arrival delay in minutes, by the real trainer and through the same operators as a classifier."""

import json
from pathlib import Path

import pytest

from airflow_mlops.domain.evaluation import Evaluation, LearningTask, TestMethod
from airflow_mlops.domain.gates import ImprovementGate, MetricGate
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.engines.mlflow import MlflowEngine
from demo.flights import write_months

from .test_flights_by_season import Season

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

POLICY = PromotionPolicy(
    gates=(
        MetricGate(metric="r2", at_least=0.0),
        ImprovementGate(metric="rmse", confidence=0.95),
        ImprovementGate(metric="mae", relative=0.5),
    )
)


def test_minutes_of_delay_are_judged_by_the_same_operators(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    write_months(tmp_path / "flights")
    season = Season(tmp_path / "flights", model_name="arrival-delay", target="arrival_delay", task="regression")
    champion = season.train("2013-01-01", "2013-03-01")
    MlflowEngine(tracking_uri=mlflow_server).set_alias(champion, CHAMPION)
    candidate = season.train("2013-05-01", "2013-07-01")
    decision, evidence = season.judge(candidate, "2013-07-01", "2013-07-15", POLICY)

    evaluation = Evaluation.from_dict(json.loads(Path(evidence.uri).read_text()))
    assert evaluation.task is LearningTask.REGRESSION
    assert [item.metric for item in evaluation.metrics] == ["rmse", "mae", "r2"]
    assert all(10 < item.candidate.value < 120 for item in evaluation.metrics[:2])  # minutes
    assert all(item.test and item.test.method is TestMethod.PAIRED_T for item in evaluation.metrics)
    assert [overlap.rows for overlap in evaluation.overlaps] == [0, 0]
    assert evaluation.notes == ()
    assert {verdict.gate.split()[0]: verdict.passed for verdict in decision.verdicts} == {
        "r2": True,
        "rmse": True,
        "mae": False,
    }
    page = Path(evidence.report_uri).read_text()
    assert "Residuals" in page
    assert "(paired t)" in page
    assert "ROC" not in page
