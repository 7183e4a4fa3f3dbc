"""A trained model becomes a version in the registry, once, and knows where it came from."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context

from airflow_mlops.domain.audit.events import version_registered
from airflow_mlops.domain.registry import (
    TAG_DAG_ID,
    TAG_DAG_RUN_ID,
    TAG_TASK_ID,
    TAG_WORK_KEY,
    ModelVersion,
    provenance_tags,
)
from airflow_mlops.domain.training import TrainingResult
from airflow_mlops.exceptions import RegistryError
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.audit import append_version_event
from airflow_mlops.operators.base import MlopsOperator, work_key_of


class RegisterModelOperator(MlopsOperator):
    """Register the model of a training as a version of a registered model.

    A retry, or a second task for the same training, finds the version that is there already. The version carries as
    tags where it came from: data, suite, image, code, Dag run.

    :param model_name: name of the registered model, made if it does not exist (templated).
    :param training: result of a training operator (templated).
    :param validation: result of the ``DataValidationOperator`` that passed the training data, for its suite's digest
        (templated).
    :param description: Markdown that the registry shows with the version (templated).
    :param tags: more tags of the version (templated).
    :param reasons: why the model was trained: the ``reasons`` of a ``TrainingRequestOperator``. They go to the version,
        to the audit trail and to whoever approves (templated).
    :param require_signature: refuse a model whose ``MLmodel`` does not say what goes in and what comes out, since
        nothing can then check that it fits where it is served.
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.registry.ModelVersion` as a dict.

    :raises RegistryError: when the model has no signature, the validation is of other data, or the registry refuses it.
    """

    template_fields: Sequence[str] = ("model_name", "training", "validation", "description", "tags", "reasons")
    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        model_name: str,
        training: Any,
        validation: Any = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        reasons: Any = (),
        require_signature: bool = True,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.training = training
        self.validation = validation
        self.description = description
        self.tags = tags
        self.reasons = reasons
        self.require_signature = require_signature
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Register the version, or find it."""
        training = TrainingResult.from_dict(self.training)
        self.enforce(training)
        version = self.register(training, context)
        return version.to_dict()

    def enforce(self, training: TrainingResult) -> None:
        """Refuse a validation that was not of the data that the model learned from."""
        validated = (self.validation or {}).get("dataset_digest", training.dataset_digest)
        if validated != training.dataset_digest:
            msg = (
                f"The model learned from the snapshot {training.dataset_digest[:12]}, but the validation is of "
                f"{validated[:12]}. Give this task the validation of the training data."
            )
            raise RegistryError(msg)

    def register(self, training: TrainingResult, context: Context) -> ModelVersion:
        """Make the version with its tags, or find it, and link to it."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        if self.require_signature and mlflow.signature(training.model_uri) is None:
            msg = (
                f"The model of run {training.run_id} has no signature. Save it with one "
                f"(mlflow.models.infer_signature), or pass require_signature=False."
            )
            raise RegistryError(msg)
        version, made = mlflow.register(
            model_name=self.model_name,
            run_id=training.run_id,
            model_id=training.model_id,
            source=training.model_uri,
            tags=self._version_tags(training, context),
            description=self.description,
        )
        self.log.info("%s %s.", version, "was registered" if made else "was registered before, and is used again")
        ModelVersionLink.persist(context, mlflow.version_url(version.model_name, version.version))
        told = version_registered(version, training, self.description)
        append_version_event(context, told, version, mlflow)
        return version

    def _version_tags(self, training: TrainingResult, context: Context) -> dict[str, str]:
        key = work_key_of(context)
        validation = self.validation or {}
        suite_digest = validation.get("suite_digest") if validation.get("success") else None  # Warned of is not passed.
        return {
            **(self.tags or {}),
            **provenance_tags(training, suite_digest=suite_digest, reasons=tuple(self.reasons or ())),
            TAG_WORK_KEY: str(key),
            TAG_DAG_ID: key.dag_id,
            TAG_DAG_RUN_ID: key.run_id,
            TAG_TASK_ID: key.task_id,
        }
