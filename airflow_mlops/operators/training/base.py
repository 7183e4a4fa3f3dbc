"""What every training does: run the job contract's ``train`` command, record it as an MLflow run, and judge its end."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import (
    MLMODEL,
    MODEL,
    TRAIN_CHANNEL,
    Job,
    JobCommand,
    JobEngine,
    JobHandle,
    JobLimits,
    JobResult,
)
from airflow_mlops.domain.job_end import require_success
from airflow_mlops.domain.job_figures import JobMetrics
from airflow_mlops.domain.registry import (
    TAG_BACKEND,
    TAG_CODE_VERSION,
    TAG_DAG_ID,
    TAG_DAG_RUN_ID,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_DATASET_URI,
    TAG_IMAGE,
    TAG_IMAGE_DIGEST,
    TAG_TASK_ID,
)
from airflow_mlops.domain.secrets import hidden_texts, redact
from airflow_mlops.domain.training import Backend, RunRef, TrainingResult
from airflow_mlops.exceptions import JobOutputError
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import MlflowRunLink
from airflow_mlops.operators.base import work_key_of
from airflow_mlops.operators.jobs import (
    job_hyperparameters,
    job_limits,
    local_channel,
    prepared,
    without_secrets,
)
from airflow_mlops.operators.live_metrics import LiveMetrics
from airflow_mlops.operators.memory import TrainingMemory
from airflow_mlops.operators.training.ending import TrainingEnds

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import LoggedModel, MlflowEngine

_LAST_METRIC = "system/job_seconds"  # When it is there, all metrics are.


class TrainModelOperator(TrainingEnds):
    """Base of the training operators: run the job contract's ``train`` command, and log it as an MLflow run.

    A retry attaches to the job that an earlier try left running or finished, and trains anew where that one failed.
    The run of a failed try ends as FAILED, with what there is of it and the reason as a tag. Returns a
    :class:`~airflow_mlops.domain.training.TrainingResult` as a dict.

    :param dataset: the snapshot to train on, as ``DatasetSnapshotOperator`` returns it (templated).
    :param experiment_name: MLflow experiment, made if it does not exist (templated).
    :param hyperparameters: given to the job as texts, anything but a text as JSON; ``None`` values are left out
        (templated).
    :param environment: environment variables of the job, which has none of the worker's (templated).
    :param secrets: file name to where Airflow keeps the secret: ``conn:my_db`` for a connection's URI,
        ``conn:my_db#password`` for one field of it, ``var:my_key`` for a variable. The job reads it from
        ``/opt/ml/input/secrets/<name>`` (templated).
    :param limits: hard limits of memory, CPUs, processes, scratch space and time.
    :param code_version: version of the training code; default is the image's label
        ``org.opencontainers.image.revision``, else the version of the Dag bundle (templated).
    :param run_name: name of the MLflow run (templated).
    :param mlflow_conn_id: the MLflow connection.

    :raises JobError: with the job's own reason, when it failed, hit a limit or left no usable model or metrics.
    :raises JobStoppedError: when it was stopped from outside.
    """

    template_fields: Sequence[str] = (
        "dataset",
        "experiment_name",
        "hyperparameters",
        "environment",
        "secrets",
        "code_version",
        "run_name",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"dataset": "json", "hyperparameters": "json"}
    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#cfe2f3"

    backend: ClassVar[Backend]

    def __init__(
        self,
        *,
        dataset: Any,
        experiment_name: str,
        hyperparameters: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        limits: JobLimits | Mapping[str, Any] | None = None,
        code_version: str | None = None,
        run_name: str = "{{ task.task_id }} {{ run_id }}",
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.experiment_name = experiment_name
        self.hyperparameters = hyperparameters
        self.environment = environment
        self.secrets = secrets
        self.limits = limits
        self.code_version = code_version
        self.run_name = run_name
        self.mlflow_conn_id = mlflow_conn_id

    @abstractmethod
    def engine(self) -> JobEngine:
        """Return the engine that runs the job."""

    def job(self, snapshot: Snapshot, channel: Path, context: Context) -> Job:
        """Return the job to run on the Parquet files in ``channel``. Subclasses add where it runs."""
        from airflow_mlops.hooks.secrets import read_secrets

        key = work_key_of(context)
        return Job(
            work_key=str(key),
            command=JobCommand.TRAIN,
            hyperparameters=job_hyperparameters(self.hyperparameters or {}),
            channels={TRAIN_CHANNEL: channel},
            environment=self.environment or {},
            secrets=read_secrets(self.secrets or {}),
            limits=job_limits(self.limits),
            labels={
                "airflow-mlops.dag-id": key.dag_id,
                "airflow-mlops.run-id": key.run_id,
                "airflow-mlops.task-id": key.task_id,
                "airflow-mlops.dataset-digest": snapshot.digest,
            },
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Train, record what the job left, and refuse what is no model."""
        snapshot = Snapshot.from_dict(self.dataset)
        engine, mlflow = self.engine(), MlflowHook(self.mlflow_conn_id).engine()
        memory = TrainingMemory(context, is_new=context["ti"].try_number == 1)  # To clear a task counts on, too.
        self._end_cleared(snapshot, engine, mlflow, context, memory)
        if (state := memory.recall()) and state.result:
            self.log.info("An earlier try finished the training, but died before Airflow heard of it.")
            return self._finish(state.result, engine, mlflow, context)
        with local_channel(snapshot) as channel:
            job = self.job(snapshot, channel, context)
            with self._ended(job, engine, mlflow, memory) as output:
                with prepared(job, engine) as preparing:
                    run = self.begin(job, snapshot, mlflow, context, memory)
                preparing.result()
                handle = self.submit(job, engine)
                memory.remember(run, handle=handle)
                self.describe(job, snapshot, run, mlflow, context)
                if handle is None:
                    return self.complete(
                        job, snapshot=snapshot, run=run, engine=engine, mlflow=mlflow, context=context, output=output
                    )
        return self.wait_deferred(job, run, handle)

    def complete(
        self,
        job: Job,
        *,
        snapshot: Snapshot,
        run: RunRef,
        engine: JobEngine,
        mlflow: MlflowEngine,
        context: Context,
        output: Path,
    ) -> dict[str, Any]:
        """Measure, record and enforce: what is the same whether the worker waited for the job, or was freed."""
        result, metrics = self.measure(job, engine, output), JobMetrics.read(output)
        is_first_try = context["ti"].try_number == 1

        def upload() -> LoggedModel:
            self.enforce(job, result, metrics, output)
            return mlflow.log_model(
                run, output / MODEL, name="model", params=job.hyperparameters, is_first_try=is_first_try
            )

        with ThreadPoolExecutor(1) as pool:
            uploading = pool.submit(upload)
            self.record(result, metrics, run, mlflow, context)  # What cannot be recorded goes before what is refused.
        model = uploading.result()
        training = TrainingResult(
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            model_uri=model.uri,
            model_id=model.model_id,
            model_digest=model.digest,
            metrics=metrics.final,
            dataset_name=snapshot.dataset_name,
            dataset_digest=snapshot.digest,
            dataset_uri=snapshot.uri,
            backend=self.backend,
            image=job.image,
            image_digest=result.image_digest,
            code_version=self._code_version(result, context),
            work_key=job.work_key,
            job_seconds=result.seconds,
            usage=result.usage,
        )
        TrainingMemory(context).remember(run, result=training)
        return self._finish(training, engine, mlflow, context)

    def submit(self, job: Job, engine: JobEngine) -> JobHandle | None:
        """Start the job without waiting for it, where that is possible. Return it if the worker is to be freed."""
        self.log.info("The train job runs %s, its work key is %s.", job.place, job.work_key)
        self._started = (engine, job)
        return None

    def wait_deferred(self, job: Job, run: RunRef, handle: JobHandle) -> NoReturn:
        """Free the worker until the submitted job has ended."""
        raise NotImplementedError

    def begin(
        self, job: Job, snapshot: Snapshot, mlflow: MlflowEngine, context: Context, memory: TrainingMemory
    ) -> RunRef:
        """Start the MLflow run. No job starts without one."""
        key = work_key_of(context)
        tags = {
            TAG_DAG_ID: key.dag_id,
            TAG_DAG_RUN_ID: key.run_id,
            TAG_TASK_ID: key.task_id,
            TAG_DATASET_NAME: snapshot.dataset_name,
            TAG_DATASET_DIGEST: snapshot.digest,
            TAG_DATASET_URI: snapshot.uri,
            TAG_BACKEND: self.backend.value,
            "mlflow.source.name": f"{key.dag_id}.{key.task_id}",
            "mlflow.source.type": "JOB",
        }
        if job.image:
            tags[TAG_IMAGE] = job.image
        run = self._earlier_run(mlflow, memory) or mlflow.start_run(
            experiment_name=self.experiment_name,
            run_name=self.run_name,
            work_key=job.work_key,
            tags=tags,
            is_first_try=context["ti"].try_number == 1,
        )
        self._run = (mlflow, run.run_id)
        return run

    def describe(self, job: Job, snapshot: Snapshot, run: RunRef, mlflow: MlflowEngine, context: Context) -> None:
        """Log what the job is given, and link the run in the UI. A job in a container runs by now."""
        MlflowRunLink.persist(context, mlflow.run_url(run.experiment_id, run.run_id))
        mlflow.log_params(run.run_id, job.hyperparameters)
        mlflow.log_dataset(run.run_id, snapshot, "training")

    def measure(self, job: Job, engine: JobEngine, output: Path) -> JobResult:
        """Run the job to its end, its log in the task's log, and collect what it left into ``output``."""
        with LiveMetrics(engine, job.work_key, *self._run) if self._run else contextlib.nullcontext():
            result = self.run_job(job, engine, output, without_secrets(self.log.info, job))
        result = replace(result, reason=redact(result.reason, hidden_texts(job.secrets)))
        self.log.info("The train job ended after %.1f s: %s.", result.seconds, result.state)
        return result

    def run_job(self, job: Job, engine: JobEngine, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run the job to its end, or go on with one that was submitted."""
        return engine.run(job, output, log)

    def record(
        self, result: JobResult, metrics: JobMetrics, run: RunRef, mlflow: MlflowEngine, context: Context
    ) -> None:
        """Log what ran and what it measured; of a failed job, what can be read."""
        tags = {TAG_IMAGE_DIGEST: result.image_digest, TAG_CODE_VERSION: self._code_version(result, context)}
        is_first_try = context["ti"].try_number == 1
        if is_first_try or not mlflow.has_metric(run.run_id, _LAST_METRIC):  # Else an earlier try has logged them all.
            used = result.usage.to_metrics() if result.usage else {}
            mlflow.log_metrics(
                run.run_id,
                {**metrics.final, **used, _LAST_METRIC: result.seconds},
                metrics.steps,
                tags={name: value for name, value in tags.items() if value},
                started_at_ms=run.started_at_ms,
            )

    def enforce(self, job: Job, result: JobResult, metrics: JobMetrics, output: Path) -> None:
        """Refuse a job that did not succeed, or left metrics that are not finite numbers, or no MLflow model."""
        require_success(job, result)
        if metrics.problem is not None:
            raise metrics.problem
        if (output / MLMODEL).is_file():
            return
        found = sorted(path.relative_to(output).as_posix() for path in (output / MODEL).rglob("*"))[:10]
        state = f"has no MLmodel, only {', '.join(found)}" if found else "is empty"
        msg = (
            f"The train job {job.place} succeeded, but its model/ {state}. "
            f"Save the model with MLflow, such as mlflow.sklearn.save_model(model, path='/opt/ml/model')."
        )
        raise JobOutputError(msg)

    def _code_version(self, result: JobResult, context: Context) -> str | None:
        bundle = getattr(context["ti"], "bundle_instance", None)  # The type of ``ti`` does not declare it.
        return self.code_version or result.code_version or getattr(bundle, "version", None)
