"""Wait for the MLflow registry: sensors with the same question share its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlops.domain.following import AliasCondition, Watch
from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.exceptions import MlflowUnavailableError, PermanentError, RegistryError
from airflow_mlops.hooks.mlflow import MlflowHook

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="registry-looks")
"""One thread for all looks: a registry that is slow must not take those that others wait for."""


def find_awaited(mlflow: MlflowEngine, watch: Watch) -> ModelVersion | None:
    """Return the version that is waited for, or ``None`` while there is none.

    :raises RegistryError: when there is no such model, but there must be, or the registry refuses.
    :raises MlflowUnavailableError: when the registry does not answer.
    """
    found = ask(mlflow, watch)
    return found if watch.condition.is_met_by(found) else None


def ask(mlflow: MlflowEngine, watch: Watch) -> ModelVersion | None:
    """Return the registry's answer to the question of a watch, which need not be what is waited for."""
    condition = watch.condition
    if isinstance(condition, AliasCondition):
        found = mlflow.version_by_alias(condition.model_name, condition.alias)
    else:
        found = mlflow.find_version(condition.model_name, condition.is_met_by)
    if found is None and watch.must_exist and not mlflow.has_model(condition.model_name):
        msg = (
            f"There is no model {condition.model_name!r} in the registry at {mlflow.tracking_uri}. Check its name, or "
            f"give must_exist=False to wait for its first version."
        )
        raise RegistryError(msg)
    return found


class RegistryTrigger(BaseTrigger):
    """Wait until the registry holds what a sensor waits for.

    While the registry does not answer, the trigger goes on waiting and says so in the log; the sensor's timeout ends
    it. The event is ``{"version": {…}, "error": None}`` with a :class:`~airflow_mlops.domain.registry.ModelVersion`,
    or has an error in words when the registry refuses or lost the model.

    :param watch: what is waited for, a :class:`~airflow_mlops.domain.following.Watch` as a dict.
    :param mlflow_conn_id: the MLflow connection.
    :param poll_interval: seconds between two looks. Triggers with one question share looks that are at most half as
        old, but none from before the trigger started.
    """

    def __init__(self, *, watch: Mapping[str, Any], mlflow_conn_id: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.watch = Watch.from_dict(watch)
        self.mlflow_conn_id = mlflow_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as the triggerer stores them."""
        return f"{__name__}.{type(self).__name__}", {
            "watch": self.watch.to_dict(),
            "mlflow_conn_id": self.mlflow_conn_id,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the condition is met, or cannot be."""
        started_at = time.monotonic()
        while True:
            await asyncio.sleep(self.poll_interval)  # The worker has looked just before.
            not_before = max(started_at, time.monotonic() - self.poll_interval / 2)
            try:
                found = await _share(self.mlflow_conn_id, self.watch, not_before)
            except MlflowUnavailableError as error:
                self.log.warning("%s Waiting on, for %s.", error, self.watch.condition)
                continue
            except PermanentError as error:
                yield _event(error=str(error))
                return
            if found is not None and self.watch.condition.is_met_by(found):
                yield _event(version=found.to_dict())
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A question on its way, or its answer."""

    at: float
    """When it was asked, by the monotonic clock."""
    answer: asyncio.Task[ModelVersion | None]


_LOOKS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, bool], _Look]] = WeakKeyDictionary()
"""The newest look of each question. It stays a few hundred bytes for each, so none is ever removed."""


async def _share(mlflow_conn_id: str, watch: Watch, not_before: float) -> ModelVersion | None:
    """Return the answer to a question, asked no earlier than a moment. Whoever asks meanwhile gets the same one."""
    looks = _LOOKS.setdefault(asyncio.get_running_loop(), {})
    key = (mlflow_conn_id, watch.condition.question, watch.must_exist)
    look = looks.get(key)
    if look is None or look.at < not_before:
        answer = asyncio.create_task(_ask(mlflow_conn_id, watch))
        answer.add_done_callback(_retrieve)
        look = looks[key] = _Look(at=time.monotonic(), answer=answer)
    return await asyncio.shield(look.answer)  # A trigger that is cancelled takes nothing from the others.


async def _ask(mlflow_conn_id: str, watch: Watch) -> ModelVersion | None:
    mlflow = await MlflowHook(mlflow_conn_id).aengine()
    return await asyncio.get_running_loop().run_in_executor(_THREAD, ask, mlflow, watch)


def _retrieve(answer: asyncio.Task[ModelVersion | None]) -> None:
    """Look at the error of an answer that nobody waits for any more, else asyncio complains of it."""
    if not answer.cancelled():
        answer.exception()


def _event(*, version: dict[str, Any] | None = None, error: str | None = None) -> TriggerEvent:
    return TriggerEvent({"version": version, "error": error})  # type: ignore[no-untyped-call]  # Airflow's
