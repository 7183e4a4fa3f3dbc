"""Runs, their metrics, and the models and pages that they leave."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.facts import RunRecord, Signature, signature_columns
from airflow_mlops.domain.job_figures import MetricStep
from airflow_mlops.domain.registry import TAG_MODEL_DIGEST, TAG_WORK_KEY
from airflow_mlops.domain.training import RunRef
from airflow_mlops.engines.fsspec import tree_digest
from airflow_mlops.engines.mlflow.server import MlflowServer
from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_METRICS_PER_CALL = 1000  # the REST API's limit of one log-batch call
_PARAMS_PER_CALL = 100
_DATASET_DIGEST_LENGTH = 36  # the REST API's limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """A model directory that MLflow keeps for a run."""

    model_id: str
    uri: str
    digest: str


class MlflowRuns(MlflowServer):
    """The tracking side of a server."""

    def start_run(
        self, *, experiment_name: str, run_name: str, work_key: str, tags: Mapping[str, str], is_first_try: bool = False
    ) -> RunRef:
        """Return the run that an unfinished try of this work began, or a new one. The experiment is made if need be."""
        with self._client() as client:
            experiment = client.get_experiment_by_name(experiment_name)
            if experiment is None:
                experiment_id = _create_experiment(client, experiment_name)
            elif experiment.lifecycle_stage != "active":
                msg = (
                    f"The MLflow experiment {experiment_name!r} was deleted. Restore it, or choose another "
                    f"experiment_name."
                )
                raise InvalidInputError(msg)
            else:
                experiment_id = experiment.experiment_id
            unfinished = f"tags.`{TAG_WORK_KEY}` = '{work_key}' and attributes.status = 'RUNNING'"
            if not is_first_try and (found := client.search_runs([experiment_id], unfinished, max_results=1)):
                return _run_ref(found[0], experiment_id)
            run = client.create_run(experiment_id, run_name=run_name, tags={**tags, TAG_WORK_KEY: work_key})
            return _run_ref(run, experiment_id)

    def is_running(self, run_id: str) -> bool:
        """Whether a run is there and has not ended."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                info = client.get_run(run_id).info
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return bool(info.status == "RUNNING" and info.lifecycle_stage == "active")

    def run_record(self, run_id: str) -> RunRecord:
        """Return what a run says of its training.

        :raises RegistryError: when the run was deleted for good.
        """
        with self._client() as client:
            run = client.get_run(run_id)
        ended = run.info.end_time
        return RunRecord(
            ended_at=None if ended is None else datetime.fromtimestamp(ended / 1000, tz=UTC),
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
        )

    def has_metric(self, run_id: str, name: str) -> bool:
        """Whether a metric was logged in this run."""
        with self._client() as client:
            return name in client.get_run(run_id).data.metrics

    def log_files(self, run_id: str, folder: Path, path: str) -> None:
        """Keep the files of a folder as artifacts of the run, below ``path``."""
        with self._client() as client:
            if any(file.is_file() for file in folder.rglob("*")):
                client.log_artifacts(run_id, str(folder), path)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log parameters of the run."""
        from mlflow.entities import Param

        items = [Param(key, value) for key, value in params.items()]
        with self._client() as client:
            for start in range(0, len(items), _PARAMS_PER_CALL):
                client.log_batch(run_id, params=items[start : start + _PARAMS_PER_CALL])

    def log_metrics(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        steps: Sequence[MetricStep] = (),
        *,
        tags: Mapping[str, str] | None = None,
        started_at_ms: int | None = None,
    ) -> None:
        """Log final metrics, metrics by step, and tags.

        All metrics carry the run's start as their time: then logging them again changes nothing. MLflow is asked for
        it, unless it is given.
        """
        from mlflow.entities import Metric, RunTag

        with self._client() as client:
            time = client.get_run(run_id).info.start_time if started_at_ms is None else started_at_ms
            items = [Metric(step.name, step.value, time, step.step) for step in steps]
            items += [Metric(name, value, time, 0) for name, value in metrics.items()]
            marks = [RunTag(name, value) for name, value in (tags or {}).items()]
            for start in range(0, len(items), _METRICS_PER_CALL):
                client.log_batch(run_id, metrics=items[start : start + _METRICS_PER_CALL], tags=marks)
                marks = []

    def log_dataset(self, run_id: str, snapshot: Snapshot, context: str) -> None:
        """Log a snapshot as a dataset input of the run, with its own digest, since MLflow's is no fingerprint."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=snapshot.dataset_name,
            digest=snapshot.digest[:_DATASET_DIGEST_LENGTH],
            source_type="airflow_mlops",
            source=json.dumps({"uri": snapshot.uri, "digest": snapshot.digest}),
            profile=json.dumps({"num_rows": snapshot.rows}),
        )
        with self._client() as client:
            client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_page(self, run_id: str, path: str, html: str) -> str:
        """Keep an HTML page with a run, and return its address in the MLflow UI, which shows it."""
        with self._client() as client:
            client.log_text(run_id, html, path)
            experiment_id = str(client.get_run(run_id).info.experiment_id)
        return f"{self.run_url(experiment_id, run_id)}/artifacts/{quote(path)}"

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        with self._client() as client:
            client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def end_run(self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Set the final status of the run."""
        with self._client() as client:
            client.set_terminated(run_id, status)

    def log_model(
        self, run: RunRef, folder: Path, *, name: str, params: Mapping[str, str], is_first_try: bool = False
    ) -> LoggedModel:
        """Upload a model directory as the run's logged model. The same directory is uploaded once.

        An upload that was cut off is done again, into the same logged model.

        :param params: what it was trained with.
        :param is_first_try: nobody can have uploaded a model of this run before, so that MLflow need not be asked.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        digest = tree_digest(folder)
        with self._client() as client:
            found: list[Any] = []
            outputs: list[str] = []
            if not is_first_try:
                found = client.search_logged_models(
                    [run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'"
                )
                known = client.get_run(run.run_id).outputs
                outputs = [output.model_id for output in known.model_outputs] if known else []
            model = next((model for model in found if model.tags.get(TAG_MODEL_DIGEST) == digest), None)
            if model is None:
                model = client.create_logged_model(
                    run.experiment_id,
                    name=name,
                    source_run_id=run.run_id,
                    params=dict(params),
                    tags={TAG_MODEL_DIGEST: digest},
                )
            with ThreadPoolExecutor(1) as pool:
                links = [LoggedModelOutput(model.model_id, step=0)] if model.model_id not in outputs else []
                linking = pool.submit(client.log_outputs, run.run_id, links) if links else None
                if model.status != "READY":
                    # What ``client.log_model_artifacts`` does, which asks the server first where the model's place is.
                    place = get_artifact_repository(model.artifact_location, tracking_uri=self.tracking_uri)
                    place.log_artifacts(str(folder))  # type: ignore[no-untyped-call]  # MLflow's
                    client.finalize_logged_model(model.model_id, "READY")
                if linking is not None:
                    linking.result()
            return LoggedModel(model_id=model.model_id, uri=model.model_uri, digest=digest)

    def signature(self, source: str) -> Signature | None:
        """Return what the ``MLmodel`` file of a model says of what goes in and comes out. Nothing is unpickled.

        :param source: address of a model, such as ``models:/m-…``, or a local model directory.
        """
        from mlflow.models import get_model_info

        with self._client():
            found = get_model_info(source).signature
        if found is None:
            return None
        inputs, outputs = (schema.to_dict() if schema else [] for schema in (found.inputs, found.outputs))
        return Signature(inputs=signature_columns(inputs), outputs=signature_columns(outputs))

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run's page in the MLflow UI."""
        return f"{self._ui}/#/experiments/{experiment_id}/runs/{run_id}"


def _create_experiment(client: "MlflowClient", name: str) -> str:
    """Create an experiment, or find the one that another task has created in the meantime."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _run_ref(run: "Run", experiment_id: str) -> RunRef:
    return RunRef(run_id=run.info.run_id, experiment_id=experiment_id, started_at_ms=run.info.start_time)
