"""A model in a real registry that was promoted on a holdout, its prediction log, and labels that come later."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import (
    Evaluation,
    EvidenceReference,
    JudgedModel,
    LearningTask,
    evidence_path,
    predictions_path,
)
from airflow_mlops.domain.monitoring import WindowCheck
from airflow_mlops.domain.registry import CHAMPION, TAG_EVIDENCE, ModelVersion
from airflow_mlops.engines.fsspec import file_digest
from airflow_mlops.engines.numpy import Predictions, compare, diagnose
from airflow_mlops.engines.pyarrow import write_columns
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.performance import PerformanceCheckOperator
from airflow_mlops.prediction_log import PredictionLog

from .test_promotion_operators import Loop

Columns = Mapping[str, Any]
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


class Watched:
    """One watched model, and the tasks around it."""

    def __init__(self, loop: Loop, task: LearningTask = LearningTask.BINARY) -> None:
        self.loop, self.task = loop, task
        self.folder = loop.folder

    def snapshot(self, name: str, source: Path, **window: Any) -> Snapshot:
        operator = DatasetSnapshotOperator(task_id="take", dataset_name=name, source=str(source), **window)
        return Snapshot.from_dict(operator.execute(self.loop.context(operator)))

    def promote(self, holdout: Columns, said: Predictions, content: bytes = b"one") -> ModelVersion:
        """Register a version with the evidence of what it said of a holdout, and make it the champion.

        :param holdout: the features, and the truth as ``label_of_holdout``.
        """
        pq.write_table(pa.table(dict(holdout)), self.folder / "holdout.parquet")
        snapshot = self.snapshot("holdout", self.folder / "holdout.parquet")
        version = self.loop.register(self.loop.train(content))
        evidence = self.evaluate(version, snapshot, np.asarray(holdout["label_of_holdout"]), said)
        self.loop.mlflow.set_version_tags(version, {TAG_EVIDENCE: evidence.digest})
        self.loop.mlflow.set_alias(version, CHAMPION)
        return self.loop.mlflow.version(version.model_name, version.version)

    def evaluate(self, version: ModelVersion, snapshot: Snapshot, truth: Any, said: Predictions) -> EvidenceReference:
        columns = {"prediction": said.prediction, "label": truth}
        if said.probability is not None:
            columns["probability"] = said.probability
        write_columns(self.folder / "said.parquet", columns)
        digest = file_digest(self.folder / "said.parquet")
        target = Path(artifact_store().path) / predictions_path(version.model_name, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "said.parquet").rename(target)
        evaluation = Evaluation(
            model_name=version.model_name,
            candidate=JudgedModel(version=version.version, run_id=version.run_id, model_digest=version.model_digest),
            champion=None,
            dataset_name=snapshot.dataset_name,
            dataset_digest=snapshot.digest,
            target="label_of_holdout",
            task=self.task,
            rows=len(truth),
            confidence_level=0.95,
            resamples=200,
            metrics=compare(task=self.task, truth=truth, candidate=said, champion=None, resamples=200).metrics,
            diagnostics=(diagnose("candidate", self.task, truth, said),),
            predictions_digest=digest,
        )
        file = artifact_store() / evidence_path(version.model_name, evaluation.content_digest())
        file.write_json(evaluation.to_dict())
        return EvidenceReference(
            model_name=version.model_name,
            version=version.version,
            uri=file.uri,
            digest=evaluation.content_digest(),
            report_uri="",
            report_url="",
        )

    def serve(
        self,
        version: str,
        features: Columns,
        said: Predictions,
        *,
        start: datetime = MARCH,
        end: datetime = APRIL,
        model_name: str | None = None,
    ) -> list[str]:
        """Log answers, evenly over the time, and return their ids."""
        kinds = {name: type(np.asarray(values).tolist()[0]) for name, values in features.items()}
        rows = len(said.prediction)
        log = PredictionLog(
            self.folder / "log",
            model_name=model_name or self.loop.model_name,
            model_version=version,
            features=kinds,
            prediction=type(said.prediction.tolist()[0]),
            has_probability=said.probability is not None,
        )
        step = (end - start) / rows
        with log:
            ids = [
                log.write(
                    {name: values[row] for name, values in features.items()},
                    prediction=said.prediction[row],
                    probability=None if said.probability is None else said.probability[row],
                    predicted_at=start + row * step,
                )
                for row in range(rows)
            ]
        assert (log.refused, log.dropped) == (0, 0)
        return ids

    def label(self, ids: list[str], labels: Any, *, at: datetime = APRIL, name: str = "labels") -> str:
        """Write labels to a file of their own, and return the folder of all of them."""
        folder = self.folder / "labels"
        folder.mkdir(exist_ok=True)
        rows = {"prediction_id": ids, "label": labels, "labelled_at": [at + timedelta(seconds=1)] * len(ids)}
        pq.write_table(pa.table(rows), folder / f"{name}.parquet")
        return str(folder)

    def window(self) -> dict[str, Any]:
        taken = self.snapshot(
            "log", self.folder / "log", time_column="predicted_at", start=MARCH.isoformat(), end=APRIL.isoformat()
        )
        return taken.to_dict()

    def check(self, operator: type[Any] = PerformanceCheckOperator, **arguments: Any) -> WindowCheck:
        """Run a check on the window of March, and return what it says."""
        given: dict[str, Any] = {
            "task_id": "check",
            "model_name": self.loop.model_name,
            "window_start": MARCH.isoformat(),
            "window_end": APRIL.isoformat(),
        }
        if "predictions" not in arguments:
            given["predictions"] = self.window()
        if operator is PerformanceCheckOperator:
            arguments["spec"] = {"resamples": 100, **(arguments.get("spec") or {})}
        task = operator(**given | arguments)
        return WindowCheck.from_dict(json.loads(json.dumps(task.execute(self.loop.context(task)))))

    def detail(self, noun: str = "performance") -> dict[str, Any]:
        folder = Path(artifact_store().path) / "reports/loop/r/check"
        found: dict[str, Any] = json.loads((folder / f"{noun}.json").read_text())
        return found


def sigmoid(score: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(score, dtype=float)))


def scorer(x: Any) -> Predictions:
    """Say what a calibrated model of the slope 1 says."""
    chance = sigmoid(x)
    return Predictions(prediction=(chance >= 0.5).astype(int), probability=chance)
