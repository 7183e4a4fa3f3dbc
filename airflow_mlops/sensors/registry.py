"""Wait for the MLflow registry, so that other Dags follow a model."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.following import AliasCondition, VersionCondition, Watch
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.exceptions import MlflowUnavailableError, MlopsError, RegistryError
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import ModelVersionLink
from airflow_mlops.operators.base import permanent_errors_fail
from airflow_mlops.triggers.registry import RegistryTrigger, find_awaited

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine


class RegistrySensor(BaseSensorOperator):
    """Base of the sensors of the registry: look, and look again until the condition is met or ``timeout`` has passed.

    A model that is not there, or a registry that refuses, fails the task at once. So does a registry that does not
    answer the first look, since its address may be wrong; that is an error that retries cure. Later it is waited out.

    :param model_name: the registered model (templated).
    :param must_exist: whether an unknown model is an error; else it is waited for, too.
    :param mlflow_conn_id: the MLflow connection.
    :param deferrable: free the worker; a triggerer waits then, at ``poke_interval`` and without ``exponential_backoff``
        and ``silent_fail``. Default is ``[operators] default_deferrable``.

    Returns the :class:`~airflow_mlops.domain.registry.ModelVersion` as a dict.

    :raises RegistryError: when there is no such model, or the registry refuses.
    :raises MlflowUnavailableError: when the registry does not answer the first look.
    """

    operator_extra_links = (ModelVersionLink(),)
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        model_name: str,
        must_exist: bool = True,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        permanent_errors_fail(kwargs)
        super().__init__(**kwargs)
        self.model_name = model_name
        self.must_exist = must_exist
        self.mlflow_conn_id = mlflow_conn_id
        self.deferrable = deferrable
        self._has_looked = False

    @abc.abstractmethod
    def condition(self) -> AliasCondition | VersionCondition:
        """Return what is waited for, from the rendered parameters."""

    def watch(self) -> Watch:
        """Return the condition, and what to make of an unknown model."""
        return Watch(condition=self.condition(), must_exist=self.must_exist)

    def execute(self, context: Context) -> Any:
        """Look once, and leave the rest to a triggerer, or look until the condition is met."""
        if not self.deferrable:
            return super().execute(context)
        try:
            found = self._look(context)
        except MlopsError as error:
            self._fail(error)
        if found is not None:
            return found.to_dict()
        return self._leave_to_triggerer()

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once. A registry that has answered before may be gone for a while."""
        has_looked = self._has_looked or (
            self.reschedule and context["ti"].get_first_reschedule_date(context) is not None
        )
        try:
            found = self._look(context)
        except MlflowUnavailableError as error:
            if not has_looked:
                raise
            self.log.warning("%s Waiting on, for %s.", error, self.watch().condition)
            found = None
        return PokeReturnValue(is_done=found is not None, xcom_value=found and found.to_dict())

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the version that the trigger has found, or fail as a look of one's own would have."""
        if event["error"]:
            self._fail(RegistryError(event["error"]))
        found = ModelVersion.from_dict(event["version"])
        self._tell(found, self._engine(), context)
        return found.to_dict()

    def _look(self, context: Context) -> ModelVersion | None:
        mlflow = self._engine()
        found = find_awaited(mlflow, self.watch())
        self._has_looked = True
        if found is None:
            self.log.info("Waiting for %s.", self.watch().condition)
        else:
            self._tell(found, mlflow, context)
        return found

    def _leave_to_triggerer(self) -> NoReturn:
        trigger = RegistryTrigger(
            watch=self.watch().to_dict(), mlflow_conn_id=self.mlflow_conn_id, poll_interval=self.poke_interval
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def _tell(self, found: ModelVersion, mlflow: MlflowEngine, context: Context) -> None:
        self.log.info("There is what was waited for: %s.", found)
        ModelVersionLink.persist(context, mlflow.version_url(found.model_name, found.version))

    def _engine(self) -> MlflowEngine:
        return MlflowHook(self.mlflow_conn_id).engine()

    def _fail(self, error: MlopsError) -> NoReturn:
        """Fail, or skip as Airflow does in poke mode."""
        if self.never_fail:
            msg = f"Skipping, since never_fail is set: {error}"
            raise AirflowSkipException(msg) from error
        raise error


class ModelAliasSensor(RegistrySensor):
    """Wait until an alias names a version: any, a given one, another one, or a newer one.

    Further parameters: see :class:`RegistrySensor`, and Airflow's ``BaseSensorOperator``.

    :param alias: the alias (templated).
    :param version: wait for this version (templated). An empty text is none, here and below.
    :param other_than: wait for another version than this one, older or newer: this also follows a rollback
        (templated).
    :param newer_than: wait for a version with a greater number (templated).
    """

    template_fields: Sequence[str] = ("model_name", "alias", "version", "other_than", "newer_than")

    def __init__(
        self,
        *,
        alias: str = CHAMPION,
        version: str | None = None,
        other_than: str | None = None,
        newer_than: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alias = alias
        self.version = version
        self.other_than = other_than
        self.newer_than = newer_than

    def condition(self) -> AliasCondition:
        """Return what is waited for."""
        return AliasCondition(
            model_name=self.model_name,
            alias=self.alias,
            version=_given(self.version),
            other_than=_given(self.other_than),
            newer_than=_given(self.newer_than),
        )


class ModelVersionSensor(RegistrySensor):
    """Wait until a version exists and carries tags: a given one, or the newest that does.

    Further parameters: see :class:`RegistrySensor`, and Airflow's ``BaseSensorOperator``.

    :param version: the version; without it, the newest one that fits (templated). An empty text is none.
    :param tags: what it must carry (templated).
    :param newer_than: a version with a greater number than this one (templated).
    """

    template_fields: Sequence[str] = ("model_name", "version", "tags", "newer_than")

    def __init__(
        self,
        *,
        version: str | None = None,
        tags: Mapping[str, str] | None = None,
        newer_than: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.tags = tags
        self.newer_than = newer_than

    def condition(self) -> VersionCondition:
        """Return what is waited for."""
        return VersionCondition(
            model_name=self.model_name,
            version=_given(self.version),
            tags=dict(self.tags or {}),
            newer_than=_given(self.newer_than),
        )


def _given(version: str | None) -> str | None:
    """Return a version, or ``None`` for what a template leaves when there is nothing: an empty text."""
    text = "" if version is None else str(version).strip()
    return text or None
