"""The candidate and the champion score the same holdout, each in its own image, and are compared with uncertainty."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import (
    Evaluation,
    Evidence,
    EvidenceReference,
    JudgedModel,
    LearningTask,
    evidence_path,
    evidence_report_path,
)
from airflow_mlops.domain.job import PREDICTIONS, SCORE_CHANNEL, Job, JobCommand, JobEngine, JobLimits, require_success
from airflow_mlops.domain.registry import CHAMPION, TAG_DATASET_DIGEST, TAG_IMAGE_DIGEST, ModelVersion
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.domain.training import Backend
from airflow_mlops.exceptions import EvaluationError, ImageNotFoundError, JobOutputError, PermanentError
from airflow_mlops.hooks.docker import DockerHostHook
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.links.mlflow import ModelVersionLink, ReportLink
from airflow_mlops.operators.base import MlopsOperator, work_key_of
from airflow_mlops.operators.jobs import SCORER, job_limits, local_channel, local_program, scorer_program

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine
    from airflow_mlops.engines.numpy import Predictions


class EvaluateModelOperator(MlopsOperator):
    """Score a candidate and the champion on one holdout snapshot, and compare them.

    Each version is scored in the image that trained it, by its recorded digest, or as a process if it was trained as
    one. What scores it is a program that the worker puts into the job: all models are scored by the same code, and an
    image needs no more than MLflow for it. Where no version has the champion alias, the candidate is
    judged alone. Numbers that describe the holdout also go to the candidate's MLflow run, as ``holdout_<metric>``.

    :param model_version: the candidate, as ``RegisterModelOperator`` returns it (templated).
    :param holdout: a snapshot with rows that the candidate has not seen (templated).
    :param target: column of the holdout that holds the truth (templated).
    :param task: ``binary``, ``multiclass`` or ``regression``.
    :param program: program and arguments that take the command ``score`` instead; ``()`` is the image's own entrypoint.
    :param limits: hard limits of each scoring job.
    :param confidence_level: of the bootstrap intervals, such as 0.95.
    :param resamples: number of bootstrap samples.
    :param docker_conn_id: connection of the Docker host; ``None`` is the worker's own engine.
    :param mlflow_conn_id: the MLflow connection.

    Returns an :class:`~airflow_mlops.domain.evaluation.EvidenceReference` as a dict. The evaluation is stored in the
    artifact store as ``evidence/<model>/<digest>.json``, and beside it a readable report as ``.html``, which the
    candidate's MLflow run keeps, too, so that a browser can open it.

    :raises EvaluationError: when predictions or labels cannot be compared.
    :raises ImageNotFoundError: when the image of the candidate or of the champion is gone.
    :raises JobError: when scoring fails.
    """

    template_fields: Sequence[str] = ("model_version", "holdout", "target")
    operator_extra_links = (ReportLink(), ModelVersionLink())
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        model_version: Any,
        holdout: Any,
        target: str,
        task: str = LearningTask.BINARY.value,
        program: Sequence[str] | None = None,
        limits: JobLimits | Mapping[str, Any] | None = None,
        confidence_level: float = 0.95,
        resamples: int = 1000,
        docker_conn_id: str | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_version = model_version
        self.holdout = holdout
        self.target = target
        self.task = LearningTask(task)
        self.program = program
        self.limits = limits
        self.confidence_level = confidence_level
        self.resamples = resamples
        self.docker_conn_id = docker_conn_id
        self.mlflow_conn_id = mlflow_conn_id
        self._started: tuple[JobEngine, str] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure both models, and record the evidence."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        evaluation = self.measure(mlflow, context)
        evidence = self.record(evaluation, mlflow, context)
        return evidence.to_dict()

    def measure(self, mlflow: MlflowEngine, context: Context) -> Evaluation:
        """Score both versions on the holdout, and compare what they say with the truth."""
        from airflow_mlops.engines.numpy import compare, diagnose
        from airflow_mlops.engines.pyarrow import read_column

        candidate = ModelVersion.from_dict(self.model_version)
        champion = mlflow.version_by_alias(candidate.model_name, CHAMPION)
        holdout = Snapshot.from_dict(self.holdout)
        if candidate.tags.get(TAG_DATASET_DIGEST) == holdout.digest:
            msg = (
                f"The holdout {holdout.digest[:12]} is the very data that {candidate} learned from, which says nothing "
                f"of how good it is. Take a snapshot of rows that it has not seen."
            )
            raise EvaluationError(msg)
        if champion is None:
            self.log.info("No version of %s has the alias %r yet.", candidate.model_name, CHAMPION)
        with local_channel(holdout) as channel:
            truth = read_column(sorted(channel.glob("*.parquet")), self.target)
            ours = self.score(candidate, "candidate", channel, mlflow, context)
            theirs = self.score(champion, "champion", channel, mlflow, context) if champion else None
        compared = compare(
            task=self.task,
            truth=truth,
            candidate=ours,
            champion=theirs,
            confidence_level=self.confidence_level,
            resamples=self.resamples,
        )
        return Evaluation(
            model_name=candidate.model_name,
            candidate=_judged(candidate),
            champion=_judged(champion) if champion else None,
            dataset_name=holdout.dataset_name,
            dataset_digest=holdout.digest,
            target=self.target,
            task=self.task,
            rows=len(truth),
            confidence_level=self.confidence_level,
            resamples=self.resamples,
            metrics=compared.metrics,
            notes=compared.notes,
            diagnostics=tuple(
                diagnose(role, self.task, truth, said)
                for role, said in (("candidate", ours), ("champion", theirs))
                if said is not None
            ),
        )

    def score(
        self, version: ModelVersion, role: str, channel: Path, mlflow: MlflowEngine, context: Context
    ) -> Predictions:
        """Run the ``score`` command of a version's own image over a folder of Parquet files, and read what it says."""
        engine = self.engine(version)
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
            output = Path(folder) / "result"
            job = self.job(version, role, mlflow.download(version, Path(folder) / "model"), channel, context)
            self.log.info("The %s, %s, scores the holdout %s.", role, version, job.place)
            self._started = (engine, job.work_key)
            try:
                result = engine.run(job, output, self.log.info)
                require_success(job, result)
                predictions = _read_predictions(output, f"{role}, {version},")
            except ImageNotFoundError as error:
                msg = f"The {role}, {version}, cannot be scored, since its image is gone. {error}"
                raise ImageNotFoundError(msg) from error
            except PermanentError:
                engine.remove(job.work_key)
                raise
            engine.remove(job.work_key)
            return predictions

    def engine(self, version: ModelVersion) -> JobEngine:
        """Return where a version is scored: where it was trained."""
        if version.backend is Backend.DOCKER:
            return DockerHostHook(self.docker_conn_id).engine()
        from airflow_mlops.engines import process

        return process.ProcessEngine()

    def job(self, version: ModelVersion, role: str, model: Path, channel: Path, context: Context) -> Job:
        """Return the scoring job of a version. Candidate and champion are two pieces of work."""
        in_image = version.backend is Backend.DOCKER
        if self.program is None:
            program = scorer_program(in_image=in_image)
        else:
            program = tuple(self.program) if in_image else local_program(self.program, context)
        return Job(
            work_key=digest_of([str(work_key_of(context)), role])[:32],
            command=JobCommand.SCORE,
            hyperparameters={},
            channels={SCORE_CHANNEL: channel},
            model=model,
            code=SCORER if in_image and self.program is None else None,
            image=version.tag(TAG_IMAGE_DIGEST) if in_image else None,
            program=program,
            limits=job_limits(self.limits),
        )

    def record(self, evaluation: Evaluation, mlflow: MlflowEngine, context: Context) -> EvidenceReference:
        """Store the evaluation and its report under its digest, and its numbers with the candidate's run."""
        from airflow_mlops.domain.evaluation_html import render

        digest = evaluation.content_digest()
        file = artifact_store() / evidence_path(evaluation.model_name, digest)
        file.write_json(evaluation.to_dict())
        report = artifact_store() / evidence_report_path(evaluation.model_name, digest)
        page = render(evaluation, digest)
        report.write_text(page)
        report_url = mlflow.log_page(evaluation.candidate.run_id, f"evaluation/{digest}.html", page)
        ReportLink.persist(context, report_url)
        metrics = {f"holdout_{item.metric}": item.candidate.value for item in evaluation.metrics}
        mlflow.log_metrics(evaluation.candidate.run_id, metrics)
        mlflow.log_dataset(evaluation.candidate.run_id, Snapshot.from_dict(self.holdout), "evaluation")
        ModelVersionLink.persist(context, mlflow.version_url(evaluation.model_name, evaluation.candidate.version))
        for item in evaluation.metrics:
            self.log.info("%s", item)
        evidence = Evidence(
            uri=file.uri, digest=digest, evaluation=evaluation, report_uri=report.uri, report_url=report_url
        )
        return evidence.reference()

    def on_kill(self) -> None:
        """Stop the scoring job."""
        if self._started is not None:
            engine, work_key = self._started
            engine.remove(work_key)


def _judged(version: ModelVersion) -> JudgedModel:
    return JudgedModel(
        version=version.version,
        run_id=version.run_id,
        model_digest=version.model_digest,
        image_digest=version.image_digest,
    )


def _read_predictions(output: Path, who: str) -> Predictions:
    """Read ``predictions.parquet`` of a collected job.

    :raises JobOutputError: when it left none.
    """
    from airflow_mlops.engines import numpy
    from airflow_mlops.engines.pyarrow import column_names, read_column

    file = output / PREDICTIONS
    if not file.is_file():
        msg = f"The {who} left no {PREDICTIONS}. The score command must write one, with a row for each row it is given."
        raise JobOutputError(msg)
    probability = read_column([file], "probability") if "probability" in column_names(file) else None
    return numpy.Predictions(prediction=read_column([file], "prediction"), probability=probability)
