"""The champion of January and February over the year: what docs/performance.md says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.monitoring import CheckVerdict, WindowCheck
from airflow_mlops.domain.registry import CHAMPION, TAG_EVIDENCE, ModelVersion
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.performance import PerformanceCheckOperator
from airflow_mlops.operators.prediction_window import PredictionWindowOperator
from dags.continuous_training import MODEL_NAME
from demo.flights import write_months
from demo.serving import label, serve

from .test_flights_by_season import Season

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def promote(season: Season, mlflow: MlflowEngine) -> ModelVersion:
    """Train on January and February, judge on March, and make it the champion."""
    version = season.train("2013-01-01", "2013-03-01")
    holdout = season.snapshot("holdout", "flights-holdout", "2013-03-01", "2013-04-01")
    evaluate = EvaluateModelOperator(
        task_id="evaluate",
        model_version=version.to_dict(),
        holdout=holdout.to_dict(),
        target="late",
        resamples=200,
        spec={"slices": None, "serving": None, "explain": None},
    )
    evidence = season.run(evaluate, "promote")
    mlflow.set_version_tags(version, {TAG_EVIDENCE: evidence["digest"]})
    mlflow.set_alias(version, CHAMPION)
    return version


def check(season: Season, folder: Path, month: int, labels: Path | None) -> WindowCheck:
    start, end = f"2013-{month:02d}-01", f"2013-{month + 1:02d}-01" if month < 12 else "2014-01-01"
    window = PredictionWindowOperator(
        task_id="window", model_name=season.model_name, log=str(folder / "log"), window_start=start, window_end=end
    )
    given: dict[str, Any] = {"labels": str(labels / f"flights-2013-{month:02d}.parquet")} if labels else {}
    task = PerformanceCheckOperator(
        task_id="performance",
        model_name=season.model_name,
        predictions=season.run(window, start),
        window_start=start,
        window_end=end,
        spec={"resamples": 100},
        **given,
    )
    return WindowCheck.from_dict(season.run(task, start))


def watch(mlflow_server: str, folder: Path, months: tuple[int, ...]) -> dict[int, tuple[WindowCheck, WindowCheck]]:
    """Serve months by the champion, and check each without labels and then with them."""
    data = folder / "flights"
    write_months(data)
    season = Season(data, model_name=MODEL_NAME)
    promote(season, MlflowEngine(tracking_uri=mlflow_server))
    found = {}
    for month in months:
        file = data / f"flights-2013-{month:02d}.parquet"
        serve(file, mlflow_uri=mlflow_server, log=folder / "log")
        label(file, labels=folder / "labels")
        found[month] = check(season, folder, month, None), check(season, folder, month, folder / "labels")
    return found


def test_champion_decays_as_labels_show_and_estimates_do_not(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    april, november = watch(mlflow_server, tmp_path, (4, 11)).values()
    for blind, seeing in (april, november):
        promised = seeing.figures["roc_auc.promised"]
        assert (blind.verdict, seeing.verdict) == (CheckVerdict.UNDECIDED, CheckVerdict.VIOLATED)
        assert promised == pytest.approx(0.71, abs=0.02)
        assert seeing.figures["roc_auc"] < promised - 0.04
        assert blind.figures["roc_auc.estimated"] == pytest.approx(promised, abs=0.02)
        assert blind.reasons[1].startswith("Estimated without labels, not measured")
    assert april[1].figures["input_effect.high"] < april[1].figures["concept_effect.low"] + 0.02
    assert "data drift" in april[1].reasons[1].lower()
    assert "concept drift: the same inputs" in november[1].reasons[1].lower()
    assert november[1].figures["concept_effect.high"] < 0
