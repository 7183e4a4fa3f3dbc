"""The champion of January and February over the year: what docs/performance.md says of it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
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
        resamples=100,
        spec={"slices": None, "serving": None, "explain": None},
    )
    evidence = season.run(evaluate, "promote")
    mlflow.set_version_tags(version, {TAG_EVIDENCE: evidence["digest"]})
    mlflow.set_alias(version, CHAMPION)
    return version


def check(season: Season, folder: Path, month: int) -> WindowCheck:
    start, end = f"2013-{month:02d}-01", f"2013-{month + 1:02d}-01" if month < 12 else "2014-01-01"
    window = PredictionWindowOperator(
        task_id="window", model_name=season.model_name, log=str(folder / "log"), window_start=start, window_end=end
    )
    task = PerformanceCheckOperator(
        task_id="performance",
        model_name=season.model_name,
        predictions=season.run(window, start),
        window_start=start,
        window_end=end,
        spec={"resamples": 100},
        labels=str(folder / "labels"),
    )
    return WindowCheck.from_dict(season.run(task, start))


def watch(mlflow_server: str, folder: Path, months: tuple[int, ...]) -> Season:
    """Let the champion answer for some months, and write down their labels."""
    data = folder / "flights"
    write_months(data)
    season = Season(data, model_name=MODEL_NAME)
    promote(season, MlflowEngine(tracking_uri=mlflow_server))
    served = folder / "served.parquet"  # One process scores them all.
    pq.write_table(
        pa.concat_tables(pq.read_table(data / f"flights-2013-{month:02d}.parquet") for month in months), served
    )
    serve(served, mlflow_uri=mlflow_server, log=folder / "log")
    label(served, labels=folder / "labels")
    return season


def test_champion_decays_as_labels_show_and_estimates_do_not(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    season = watch(mlflow_server, tmp_path, (4, 11))
    april, november = (check(season, tmp_path, month) for month in (4, 11))
    for seeing in (april, november):
        promised = seeing.figures["roc_auc.promised"]
        assert promised == pytest.approx(0.71, abs=0.02)
        assert seeing.verdict is CheckVerdict.VIOLATED
        assert seeing.figures["roc_auc"] < promised - 0.04
        assert seeing.figures["roc_auc.estimated"] == pytest.approx(promised, abs=0.02)
    assert "data drift" in april.reasons[1].lower()
    assert april.figures["input_effect"] < april.figures["concept_effect"]
    assert november.reasons[1].lower().startswith(("concept drift", "both concept drift"))
