"""How a training ends: done, failed, stopped or cleared. Each end leaves a run that says so, and no job."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

from airflow_mlops.domain.audit.events import model_trained
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import Job, JobEngine
from airflow_mlops.domain.registry import TAG_FAILURE
from airflow_mlops.domain.secrets import hidden_texts
from airflow_mlops.domain.training import RunRef, TrainingResult
from airflow_mlops.exceptions import JobStoppedError, MlopsError, TransientError
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import MlopsOperator
from airflow_mlops.operators.memory import TrainingMemory
from airflow_mlops.salvage import keep_remains

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine

_TAG_CHARACTERS = 5000  # MLflow's limit of a tag's value
_STOPPED = (JobStoppedError, TaskDeferralTimeout)


class TrainingEnds(MlopsOperator):
    """The part of a training that ends it, whatever happens."""

    is_job_safe: ClassVar[bool] = False
    """Whether the job goes on when its worker dies."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._started: tuple[JobEngine, Job] | None = None
        self._run: tuple[MlflowEngine, str] | None = None

    @abstractmethod
    def job(self, snapshot: Snapshot, channel: Path, context: Context) -> Job:
        """Return the job to run on the Parquet files in ``channel``."""

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

    def _finish(
        self, training: TrainingResult, engine: JobEngine, mlflow: MlflowEngine, context: Context
    ) -> dict[str, Any]:
        """End the run and remove the job, once its result is written down. A retry does it again without harm."""
        with ThreadPoolExecutor(2) as pool:
            ending = pool.submit(mlflow.end_run, training.run_id, "FINISHED")
            removing = pool.submit(engine.remove, training.work_key)
            append_event(context, model_trained(training))
        ending.result()
        with self._tolerated("The job could not be removed"):
            removing.result()
        return training.to_dict()

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
