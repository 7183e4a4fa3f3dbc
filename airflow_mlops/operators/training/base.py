"""What every training does: run the job contract's ``train`` command, record it as an MLflow run, and judge its end."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

from airflow_mlops.domain.audit.events import model_trained
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
    JobState,
)
from airflow_mlops.domain.job_end import require_success
from airflow_mlops.domain.job_figures import read_metric_steps, read_metrics
from airflow_mlops.domain.registry import (
    TAG_BACKEND,
    TAG_CODE_VERSION,
    TAG_DAG_ID,
    TAG_DAG_RUN_ID,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_DATASET_URI,
    TAG_FAILURE,
    TAG_IMAGE,
    TAG_IMAGE_DIGEST,
    TAG_TASK_ID,
)
from airflow_mlops.domain.secrets import hidden_texts, redact
from airflow_mlops.domain.training import Backend, RunRef, TrainingResult
from airflow_mlops.exceptions import (
    JobOutputError,
    JobStoppedError,
    MlopsError,
    TransientError,
)
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import MlflowRunLink
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import MlopsOperator, work_key_of
from airflow_mlops.operators.jobs import (
    job_hyperparameters,
    job_limits,
    local_channel,
    without_secrets,
)
from airflow_mlops.operators.live_metrics import LiveMetrics
from airflow_mlops.operators.memory import TrainingMemory
from airflow_mlops.salvage import keep_remains

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine

_TAG_CHARACTERS = 5000  # MLflow's limit of a tag's value
_STOPPED = (JobStoppedError, TaskDeferralTimeout)
_LAST_METRIC = "system/job_seconds"  # When it is there, all metrics are.


class TrainModelOperator(MlopsOperator):
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
    is_job_safe: ClassVar[bool] = False
    """Whether the job goes on when its worker dies."""

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
        self._started: tuple[JobEngine, Job] | None = None
        self._run: tuple[MlflowEngine, str] | None = None

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
        engine, mlflow, memory = self.engine(), MlflowHook(self.mlflow_conn_id).engine(), TrainingMemory(context)
        self._end_cleared(snapshot, engine, mlflow, context, memory)
        if (state := memory.recall()) and state.result:
            self.log.info("An earlier try finished the training, but died before Airflow heard of it.")
            return self._finish(state.result, engine, mlflow, context)
        with local_channel(snapshot) as channel:
            job = self.job(snapshot, channel, context)
            with self._ended(job, engine, mlflow, memory) as output:
                with self._prepared(job, engine) as prepared:
                    run = self.begin(job, snapshot, mlflow, context, memory)
                prepared.result()
                handle = self.submit(job, engine)
                if handle is None:
                    return self.complete(
                        job, snapshot=snapshot, run=run, engine=engine, mlflow=mlflow, context=context, output=output
                    )
                memory.remember(run, handle=handle)
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
        result = self.measure(job, engine, output)
        metrics = self.record(result, output, run, mlflow, context)
        self.enforce(job, result, output)
        is_first_try = context["ti"].try_number == 1
        model = mlflow.log_model(
            run, output / MODEL, name="model", params=job.hyperparameters, is_first_try=is_first_try
        )
        training = TrainingResult(
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            model_uri=model.uri,
            model_id=model.model_id,
            model_digest=model.digest,
            metrics=metrics,
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
        """Start the job without waiting for it, where that is asked for and possible; else return nothing."""
        self.log.info("The train job runs %s, its work key is %s.", job.place, job.work_key)
        self._started = (engine, job)
        return None

    def wait_deferred(self, job: Job, run: RunRef, handle: JobHandle) -> NoReturn:
        """Free the worker until the submitted job has ended."""
        raise NotImplementedError

    def begin(
        self, job: Job, snapshot: Snapshot, mlflow: MlflowEngine, context: Context, memory: TrainingMemory
    ) -> RunRef:
        """Start the MLflow run, with all that is known before the job starts."""
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
        memory.remember(run)
        MlflowRunLink.persist(context, mlflow.run_url(run.experiment_id, run.run_id))
        mlflow.log_params(run.run_id, job.hyperparameters)
        mlflow.log_dataset(run.run_id, snapshot, "training")
        return run

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
        self, result: JobResult, output: Path, run: RunRef, mlflow: MlflowEngine, context: Context
    ) -> dict[str, float]:
        """Log what ran and what it measured, and return the metrics. Of a failed job, log what can be read.

        :raises JobOutputError: when a job succeeded and its metrics are not finite numbers.
        """
        tags = {TAG_IMAGE_DIGEST: result.image_digest, TAG_CODE_VERSION: self._code_version(result, context)}
        given = {name: value for name, value in tags.items() if value}
        try:
            metrics, steps = read_metrics(output), read_metric_steps(output)
        except JobOutputError:
            if result.state is JobState.SUCCEEDED:
                mlflow.set_tags(run.run_id, given)
                raise
            metrics, steps = {}, []
        is_first_try = context["ti"].try_number == 1
        if is_first_try or not mlflow.has_metric(run.run_id, _LAST_METRIC):  # Else an earlier try has logged them all.
            used = result.usage.to_metrics() if result.usage else {}
            final = {**metrics, **used, _LAST_METRIC: result.seconds}
            mlflow.log_metrics(run.run_id, final, steps, tags=given, started_at_ms=run.started_at_ms)
        return metrics

    def enforce(self, job: Job, result: JobResult, output: Path) -> None:
        """Refuse a job that did not succeed, or left no MLflow model."""
        require_success(job, result)
        if (output / MLMODEL).is_file():
            return
        found = sorted(path.relative_to(output).as_posix() for path in (output / MODEL).rglob("*"))[:10]
        state = f"has no MLmodel, only {', '.join(found)}" if found else "is empty"
        msg = (
            f"The train job {job.place} succeeded, but its model/ {state}. "
            f"Save the model with MLflow, such as mlflow.sklearn.save_model(model, path='/opt/ml/model')."
        )
        raise JobOutputError(msg)

    def on_kill(self) -> None:
        """Stop the job. What waits for it then sees that it was stopped, keeps what it left, and ends the MLflow run.

        Airflow kills the worker's process 5 seconds later. For a job that needs longer there is :meth:`abandon`.
        """
        work = [self.abandon]
        if self._started is not None:
            engine, job = self._started
            work.append(lambda: engine.stop(job.work_key))
        for each in work:  # This runs in a signal handler: what it interrupts may hold a lock.
            threading.Thread(target=each, daemon=True).start()

    def abandon(self) -> None:
        """Do what must be done now, if the worker's process has no time to do it when the job has ended."""
        if self._run is not None:
            mlflow, run_id = self._run
            mlflow.end_run(run_id, "KILLED")

    def _earlier_run(self, mlflow: MlflowEngine, memory: TrainingMemory) -> RunRef | None:
        """Return the run of an earlier try, if it can go on. The job of a process does not outlive its worker."""
        state = memory.recall()
        if state is None or not mlflow.is_running(state.run_id):
            return None
        if not self.is_job_safe:
            mlflow.set_tags(state.run_id, {TAG_FAILURE: "The worker died, and the job with it"})
            mlflow.end_run(state.run_id, "KILLED")
            return None
        return RunRef(run_id=state.run_id, experiment_id=state.experiment_id)

    def _end_cleared(
        self, snapshot: Snapshot, engine: JobEngine, mlflow: MlflowEngine, context: Context, memory: TrainingMemory
    ) -> None:
        """End what was left of this task's work when a person cleared it, since now it is done anew."""
        state = memory.recall_cleared()
        if state is None:
            return
        job, run = self.job(snapshot, Path(), context), RunRef(run_id=state.run_id, experiment_id=state.experiment_id)
        if state.result is None:
            engine.stop(job.work_key)
            self._keep(run.run_id, job, engine, mlflow)
        if mlflow.is_running(run.run_id):
            mlflow.set_tags(run.run_id, {TAG_FAILURE: "The task was cleared"})
            mlflow.end_run(run.run_id, "KILLED")
        engine.remove(job.work_key)
        memory.forget()

    def _finish(
        self, training: TrainingResult, engine: JobEngine, mlflow: MlflowEngine, context: Context
    ) -> dict[str, Any]:
        """End the run and remove the job, once its result is written down. A retry does it again without harm."""
        append_event(context, model_trained(training))
        with ThreadPoolExecutor(1) as pool:
            removing = pool.submit(engine.remove, training.work_key)
            mlflow.end_run(training.run_id, "FINISHED")
        with self._tolerated("The job could not be removed"):
            removing.result()
        return training.to_dict()

    @contextlib.contextmanager
    def _prepared(self, job: Job, engine: JobEngine) -> Iterator[Future[None]]:
        """Let the engine prepare the job while something else is done. Its error, if any, is in what is given."""
        with ThreadPoolExecutor(1) as pool:
            preparing = pool.submit(engine.prepare, job)
            try:
                yield preparing
            except BaseException:
                with contextlib.suppress(Exception):  # Another error is on its way, and says more.
                    preparing.result()
                    engine.discard(job)
                raise

    @contextlib.contextmanager
    def _ended(self, job: Job, engine: JobEngine, mlflow: MlflowEngine, memory: TrainingMemory) -> Iterator[Path]:
        """Give a folder for the job's output. When the training fails, stop the job, and keep all that tells why.

        An earlier try may have left a job even where this one has not come so far as to begin, or find, its run.
        """
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
            try:
                yield Path(folder)
            except BaseException as error:
                is_stopped = isinstance(error, _STOPPED) or not isinstance(error, Exception)
                is_curable = isinstance(error, (TransientError, TaskDeferralError)) and not is_stopped
                if is_curable and memory.is_retried(error, self.retry_policy):
                    self.log.warning("A retry goes on with the job and its MLflow run: %s", error)
                    raise
                run_id = self._run[1] if self._run else None
                with self._tolerated("The job could not be stopped, or what it left not be kept"):
                    engine.stop(job.work_key)
                    if run_id:
                        self._keep(run_id, job, engine, mlflow)
                with self._tolerated("The MLflow run could not be ended"):
                    if run_id:
                        mlflow.set_tags(run_id, {TAG_FAILURE: f"{type(error).__name__}: {error}"[:_TAG_CHARACTERS]})
                        mlflow.end_run(run_id, "KILLED" if is_stopped else "FAILED")
                with self._tolerated("The job could not be removed"):
                    self._remove(job, engine)
                memory.forget()
                self._started = self._run = None
                raise

    @staticmethod
    def _keep(run_id: str, job: Job, engine: JobEngine, mlflow: MlflowEngine) -> None:
        """Keep what a job left that did not succeed."""
        hidden = hidden_texts(job.secrets)
        keep_remains(job.work_key, job.limits, engine, mlflow, run_id=run_id, hidden=hidden)

    def _remove(self, job: Job, engine: JobEngine) -> None:
        """Remove a failed job, or keep it for inspection."""
        engine.remove(job.work_key)

    @contextlib.contextmanager
    def _tolerated(self, what: str) -> Iterator[None]:
        """Log an error of tidying up: it must not hide how the training ended."""
        try:
            yield
        except MlopsError as error:
            self.log.warning("%s: %s", what, error)

    def _code_version(self, result: JobResult, context: Context) -> str | None:
        bundle = getattr(context["ti"], "bundle_instance", None)  # The type of ``ti`` does not declare it.
        return self.code_version or result.code_version or getattr(bundle, "version", None)
