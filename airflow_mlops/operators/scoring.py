"""Running the ``score`` command of model versions, each in the image that trained it, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import PREDICTIONS, SCORE_CHANNEL, Job, JobCommand, JobEngine, JobLimits, JobResult
from airflow_mlops.domain.job_end import require_success
from airflow_mlops.domain.overlap import Overlap
from airflow_mlops.domain.registry import TAG_IMAGE_DIGEST, ModelVersion
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.domain.training import Backend
from airflow_mlops.exceptions import ImageNotFoundError, JobOutputError, PermanentError
from airflow_mlops.hooks.docker import DockerHostHook
from airflow_mlops.operators.base import MlopsOperator, work_key_of
from airflow_mlops.operators.holdout import refuse_missing_columns
from airflow_mlops.operators.jobs import SCORER, job_hyperparameters, job_limits, local_program, scorer_program

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine
    from airflow_mlops.engines.numpy import Predictions
    from airflow_mlops.engines.numpy.metrics import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where the jobs of one evaluation find what they need, for as long as the measuring lives."""

    channel: Path
    """Folder with the holdout's Parquet parts, in the order of the rows by their names."""
    folder: Path
    """An own folder for models and for what jobs leave."""
    mlflow: MlflowEngine
    context: Context

    @property
    def files(self) -> tuple[Path, ...]:
        """The holdout's Parquet parts, in the order of the rows."""
        return tuple(sorted(self.channel.glob("*.parquet")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredModel:
    """A version that has scored the holdout. Its folders live as long as the bench."""

    role: str
    """``candidate`` or ``champion``."""
    version: ModelVersion
    predictions: Predictions
    model: Path
    """The MLflow model directory, on this machine."""
    output: Path
    """What the job left, with ``output/data`` in it."""
    result: JobResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredHoldout:
    """The holdout, and what the candidate and the champion said of it: what every part of an evaluation looks at."""

    snapshot: Snapshot
    files: tuple[Path, ...]
    """The Parquet parts on this machine, in the order of the rows."""
    truth: Array
    overlaps: tuple[Overlap, ...]
    """Of the holdout with the training data of each model."""
    candidate: ScoredModel
    champion: ScoredModel | None

    @property
    def models(self) -> tuple[ScoredModel, ...]:
        """The candidate and, if there is one, the champion."""
        return (self.candidate, self.champion) if self.champion else (self.candidate,)


class ScoringOperator(MlopsOperator):
    """Base of operators that let model versions score: where, by which program, and within which limits."""

    def __init__(
        self,
        *,
        program: Sequence[str] | None = None,
        limits: JobLimits | Mapping[str, Any] | None = None,
        docker_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.program = program
        self.limits = limits
        self.docker_conn_id = docker_conn_id
        self._started: tuple[JobEngine, str] | None = None

    def fetch(self, version: ModelVersion, role: str, bench: Bench) -> Path:
        """Download a version's model directory, and refuse it where the holdout lacks a column that it takes.

        :raises EvaluationError: naming the columns.
        """
        from airflow_mlops.engines.pyarrow import column_names

        model = bench.mlflow.download(version, bench.folder / role / "model")
        signature = bench.mlflow.signature(str(model))
        if signature is not None:
            refuse_missing_columns(f"{role}, {version},", signature, column_names(bench.files[0]))
        return model

    def score(self, version: ModelVersion, role: str, model: Path, bench: Bench) -> ScoredModel:
        """Run the ``score`` command of a version's own image over the holdout, and read what it says.

        :param model: the version's model directory.

        :raises ImageNotFoundError: when the version's image is gone.
        :raises JobError: when scoring fails, or leaves no predictions.
        """
        engine = self.engine(version)
        output = bench.folder / role / "result"
        job = self.job(version, role, model, bench.channel, bench.context)
        self.log.info("The %s, %s, scores %s.", role, version, job.place)
        self._started = (engine, job.work_key)
        try:
            result = engine.run(job, output, self.log.info)
            require_success(job, result)
            predictions = _read_predictions(output, f"the {role}, {version},")
        except ImageNotFoundError as error:
            msg = f"The {role}, {version}, cannot be scored, since its image is gone. {error}"
            raise ImageNotFoundError(msg) from error
        except PermanentError:
            engine.remove(job.work_key)
            raise
        engine.remove(job.work_key)
        return ScoredModel(
            role=role, version=version, predictions=predictions, model=model, output=output, result=result
        )

    def engine(self, version: ModelVersion) -> JobEngine:
        """Return where a version is scored: where it was trained."""
        if version.backend is Backend.DOCKER:
            return DockerHostHook(self.docker_conn_id).engine()
        from airflow_mlops.engines import process

        return process.ProcessEngine()

    def job(self, version: ModelVersion, role: str, model: Path, channel: Path, context: Context) -> Job:
        """Return the scoring job of a version. Each role is a piece of work of its own."""
        in_image = version.backend is Backend.DOCKER
        if self.program is None:
            program = scorer_program(in_image=in_image)
        else:
            program = tuple(self.program) if in_image else local_program(self.program, context)
        return Job(
            work_key=digest_of([str(work_key_of(context)), role])[:32],
            command=JobCommand.SCORE,
            hyperparameters=job_hyperparameters(self.questions(role)) if self.program is None else {},
            channels={SCORE_CHANNEL: channel},
            model=model,
            code=SCORER if in_image and self.program is None else None,
            image=version.tag(TAG_IMAGE_DIGEST) if in_image else None,
            program=program,
            limits=job_limits(self.limits),
        )

    def questions(self, role: str) -> dict[str, Any]:  # noqa: ARG002 - a seam
        """Return what the packaged scorer is to measure besides: nothing, unless a subclass wants it."""
        return {}

    def on_kill(self) -> None:
        """Stop the scoring job."""
        if self._started is not None:
            engine, work_key = self._started
            engine.remove(work_key)


def _read_predictions(output: Path, who: str) -> Predictions:
    """Read ``predictions.parquet`` of a collected job.

    :raises JobOutputError: when it left none.
    """
    from airflow_mlops.engines import numpy
    from airflow_mlops.engines.pyarrow import column_names, read_column

    file = output / PREDICTIONS
    if not file.is_file():
        msg = (
            f"The job of {who} left no {PREDICTIONS}. Its score command must write one, a row for each row it is given."
        )
        raise JobOutputError(msg)
    probability = read_column([file], "probability", who) if "probability" in column_names(file) else None
    return numpy.Predictions(prediction=read_column([file], "prediction", who), probability=probability)
