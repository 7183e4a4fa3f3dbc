"""MLflow: runs, metrics, models and the registry, through its own client.

Every call that writes is safe to repeat: a retry finds the run, the metrics, the model or the version of the first try.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.facts import RunRecord, Signature, signature_columns
from airflow_mlops.domain.job_figures import MetricStep
from airflow_mlops.domain.registry import TAG_MODEL_DIGEST, TAG_WORK_KEY, ModelVersion
from airflow_mlops.domain.training import RunRef
from airflow_mlops.engines.fsspec import tree_digest
from airflow_mlops.exceptions import InvalidInputError, MlflowUnavailableError, RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_ENVIRONMENT = threading.Lock()
_METRICS_PER_CALL = 1000  # the REST API's limit of one log-batch call
_PARAMS_PER_CALL = 100
_DATASET_DIGEST_LENGTH = 36  # the REST API's limit
_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
"""Answers that stay the same however often one asks."""
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's own 7 wait for minutes; Airflow's retries do that better.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """A model directory that MLflow keeps for a run."""

    model_id: str
    uri: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class MlflowEngine:
    """One MLflow tracking server with its registry.

    :param tracking_uri: address of the server, or ``sqlite:///…`` for tests.
    :param ui_url: address that people open in a browser; the tracking URI where it is the same.
    :param environment: MLflow's own environment variables for login and TLS, set for the time of each call only,
        since its client reads them from nowhere else.
    """

    tracking_uri: str
    ui_url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    # Runs ------------------------------------------------------------------------------------------------------------

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
            if model.status != "READY":
                client.log_model_artifacts(model.model_id, str(folder))
                client.finalize_logged_model(model.model_id, "READY")
            if model.model_id not in outputs:
                client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
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

    # Registry --------------------------------------------------------------------------------------------------------

    def register(
        self, *, model_name: str, run_id: str, model_id: str, source: str, tags: Mapping[str, str], description: str
    ) -> tuple[ModelVersion, bool]:
        """Return the version that this run's model has in the registry, made if need be, and whether it was made."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                client.create_registered_model(model_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = [
                version
                for version in client.search_model_versions(f"name = '{model_name}' and run_id = '{run_id}'")
                if version.source == source
            ]
            if found:
                return _version(min(found, key=lambda version: int(version.version))), False
            made = client.create_model_version(
                model_name, source, run_id=run_id, model_id=model_id, tags=dict(tags), description=description
            )
            return _version(client.get_model_version(model_name, made.version)), True

    def version(self, model_name: str, version: str) -> ModelVersion:
        """Return one version with its tags of this moment.

        :raises RegistryError: when there is no such version.
        """
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                return _version(client.get_model_version(model_name, version))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                msg = f"{model_name} version {version} is not in the registry at {self.tracking_uri}. Was it deleted?"
                raise RegistryError(msg) from error

    def versions(self, model_name: str) -> tuple[ModelVersion, ...]:
        """Return every version of a model with its tags of this moment; none when there is no such model."""
        found: list[ModelVersion] = []
        token: str | None = None
        with self._client() as client:
            while True:
                page = client.search_model_versions(f"name = '{model_name}'", page_token=token)
                found += [_version(version) for version in page]
                token = page.token
                if not token:
                    return tuple(found)

    def version_by_alias(self, model_name: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias names, or ``None`` where the model or the alias does not exist."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                return _version(client.get_model_version_by_alias(model_name, alias))
            except MlflowException as error:
                # A missing alias is, surprisingly, an invalid parameter value.
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise

    def find_version(self, model_name: str, is_wanted: Callable[[ModelVersion], bool]) -> ModelVersion | None:
        """Return the newest version that is wanted, or ``None``. Only as many are read as it takes."""
        token: str | None = None
        with self._client() as client:
            while True:
                page = client.search_model_versions(
                    f"name = '{model_name}'", order_by=["version_number DESC"], page_token=token
                )
                found = next((item for item in map(_version, page) if is_wanted(item)), None)
                token = page.token
                if found is not None or not token:
                    return found

    def has_model(self, model_name: str) -> bool:
        """Whether the registry knows a model."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                client.get_registered_model(model_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return True

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        """Point an alias at a version. MLflow has no compare-and-set: the last writer wins."""
        with self._client() as client:
            client.set_registered_model_alias(version.model_name, alias, version.version)

    def delete_alias(self, model_name: str, alias: str) -> None:
        """Remove an alias; nothing happens when there is none."""
        with self._client() as client:
            client.delete_registered_model_alias(model_name, alias)

    def set_version_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Set tags of a model version."""
        with self._client() as client:
            for name, value in tags.items():
                client.set_model_version_tag(version.model_name, version.version, name, value)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Download the model directory of a version into ``folder``, and return where it is.

        :raises RegistryError: when the artifacts are gone, or are not what was registered.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        folder.mkdir(parents=True, exist_ok=True)
        with self._client():
            try:
                path = Path(
                    download_artifacts(
                        artifact_uri=version.source, dst_path=str(folder), tracking_uri=self.tracking_uri
                    )
                )
            except (MlflowException, OSError) as error:
                if _is_unreachable(error):
                    raise
                msg = f"The artifacts of {version} cannot be read from {version.source}: {error}"
                raise RegistryError(msg) from error
        (path / "registered_model_meta").unlink(missing_ok=True)  # MLflow adds it to what it downloads.
        found = tree_digest(path)
        if found != version.model_digest:
            msg = (
                f"The artifacts of {version} at {version.source} have changed since it was registered: their digest "
                f"is {found}, but {version.model_digest} was registered. Train and register a new version."
            )
            raise RegistryError(msg)
        return path

    # Addresses and connection ----------------------------------------------------------------------------------------

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run's page in the MLflow UI."""
        return f"{self._ui}/#/experiments/{experiment_id}/runs/{run_id}"

    def version_url(self, model_name: str, version: str) -> str:
        """Return the address of a model version's page in the MLflow UI."""
        return f"{self._ui}/#/models/{quote(model_name, safe='')}/versions/{version}"

    def check(self) -> str:
        """Ask the server for an experiment, and return what to tell the person who asked whether it works."""
        with self._client() as client:
            client.search_experiments(max_results=1)
        return f"MLflow answers at {self.tracking_uri}"

    @property
    def _ui(self) -> str:
        return (self.ui_url or self.tracking_uri).rstrip("/")

    @contextlib.contextmanager
    def _client(self) -> Iterator["MlflowClient"]:
        """Give a client under this connection's login, and tell an unreachable server apart from other errors."""
        with _ENVIRONMENT, _environment({**self._defaults(), **self.environment, **self._address()}):
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            try:
                yield MlflowClient(self.tracking_uri, self.tracking_uri)
            except (MlflowException, OSError) as error:
                if _is_unreachable(error):
                    msg = (
                        f"MLflow at {self.tracking_uri} does not answer: {_shorten(error)} "
                        f"Check that it runs, and the host of the connection."
                    )
                    raise MlflowUnavailableError(msg) from error
                if getattr(error, "error_code", "") in _REFUSALS:
                    msg = f"MLflow at {self.tracking_uri} refuses: {_shorten(error)}"
                    raise RegistryError(msg) from error
                raise

    def _address(self) -> dict[str, str]:
        """Name the server for ``models:/`` addresses, which MLflow resolves by its environment, whatever it is told."""
        return {"MLFLOW_TRACKING_URI": self.tracking_uri, "MLFLOW_REGISTRY_URI": self.tracking_uri}

    @staticmethod
    def _defaults() -> dict[str, str]:
        return {name: value for name, value in _DEFAULTS.items() if name not in os.environ}


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


def _version(version: Any) -> ModelVersion:
    return ModelVersion(
        model_name=version.name,
        version=str(version.version),
        run_id=version.run_id or "",
        source=version.source,
        tags=dict(version.tags),
    )


def _is_unreachable(error: Exception) -> bool:
    """Whether the server could not be asked, or failed itself, so that the same request may succeed later."""
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, RestException):
        return error.error_code in {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
    if isinstance(error, MlflowException):
        # The client wraps connection errors and 5xx answers into one class with an unspecific code.
        text = str(error)
        return "API request to" in text and ("failed with exception" in text or "error code 5" in text)
    return isinstance(error, ConnectionError) or type(error).__module__.startswith("requests")


def _shorten(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004 - about three lines of a terminal


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
