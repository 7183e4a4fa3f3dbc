"""Model versions and evidence as a training and an evaluation leave them, made in a moment."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_mlops.domain.evaluation import (
    Estimate,
    Evaluation,
    EvidenceReference,
    JudgedModel,
    LearningTask,
    MetricComparison,
    evidence_path,
)
from airflow_mlops.domain.registry import CHAMPION, ModelVersion, provenance_tags
from airflow_mlops.domain.serialization import canonical_json
from airflow_mlops.domain.training import Backend, TrainingResult
from airflow_mlops.engines.mlflow import MlflowEngine

ML_MODEL = "flavors: {python_function: {loader_module: x}}\nmodel_uuid: 1\nutc_time_created: '2026-01-01 00:00:00'\n"


def register(mlflow: MlflowEngine, model_name: str, folder: Path, params: Mapping[str, str]) -> ModelVersion:
    """Log and register a model whose weights are its hyperparameters."""
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text(ML_MODEL)
    (folder / "weights.bin").write_text(canonical_json(dict(params)))
    run = mlflow.start_run(experiment_name=model_name, run_name="train", work_key=uuid.uuid4().hex, tags={})
    mlflow.log_params(run.run_id, params)
    logged = mlflow.log_model(run, folder, name="model", params=params)
    mlflow.end_run(run.run_id, "FINISHED")
    training = TrainingResult(
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        model_uri=logged.uri,
        model_id=logged.model_id,
        model_digest=logged.digest,
        metrics={},
        dataset_name="flights",
        dataset_digest="f" * 64,
        dataset_uri="/data",
        backend=Backend.PROCESS,
        image=None,
        image_digest=None,
        code_version="abc123",
        work_key="0" * 32,
        job_seconds=1.0,
    )
    source, tags = training.model_uri, provenance_tags(training)
    version, _ = mlflow.register(
        model_name=model_name, source=source, run_id=run.run_id, model_id=logged.model_id, tags=tags, description=""
    )
    return version


def judge(mlflow: MlflowEngine, version: ModelVersion, artifacts: Path, roc_auc: float = 0.8) -> dict[str, Any]:
    """Store the evaluation of a version against the champion of this moment; return the reference to it."""
    champion = mlflow.version_by_alias(version.model_name, CHAMPION)

    def judged(model: ModelVersion) -> JudgedModel:
        return JudgedModel(version=model.version, run_id=model.run_id, model_digest=model.model_digest)

    evaluation = Evaluation(
        model_name=version.model_name,
        candidate=judged(version),
        champion=judged(champion) if champion else None,
        dataset_name="holdout",
        dataset_digest="d" * 64,
        target="late",
        task=LearningTask.BINARY,
        rows=10_000,
        confidence_level=0.95,
        resamples=10,
        metrics=(
            MetricComparison(
                metric="roc_auc",
                higher_is_better=True,
                candidate=Estimate(value=roc_auc, low=roc_auc - 0.01, high=roc_auc + 0.01),
            ),
        ),
    )
    digest = evaluation.content_digest()
    file = artifacts / evidence_path(version.model_name, digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(canonical_json(evaluation.to_dict()))
    reference = EvidenceReference(
        model_name=version.model_name,
        version=version.version,
        uri=str(file),
        digest=digest,
        report_uri=str(file),
        report_url="",
    )
    return reference.to_dict()
