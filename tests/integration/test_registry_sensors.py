"""Sensors on a real registry: a worker that looks and a triggerer that waits come to the same end."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import MlflowUnavailableError, RegistryError
from airflow_mlops.sensors.registry import ModelAliasSensor, ModelVersionSensor, RegistrySensor
from airflow_mlops.triggers import registry
from airflow_mlops.triggers.registry import RegistryTrigger

pytestmark = pytest.mark.integration


class Model:
    """A registered model without artifacts: nobody loads it here."""

    def __init__(self, uri: str, name: str) -> None:
        from mlflow import MlflowClient

        self.client, self.name = MlflowClient(uri, uri), name
        self.mlflow = MlflowEngine(tracking_uri=uri)
        self.client.create_registered_model(name)

    def add(self, **tags: str) -> str:
        return str(self.client.create_model_version(self.name, "s3://nowhere/model", tags=tags).version)

    def name_it(self, version: str, alias: str = CHAMPION) -> None:
        self.client.set_registered_model_alias(self.name, alias, version)


@pytest.fixture
def model(mlflow_server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Model:
    connect(monkeypatch, mlflow_server)
    return Model(mlflow_server, request.node.name.replace("[", "-").rstrip("]"))


def connect(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": uri}))


def context() -> Any:
    return {"ti": SimpleNamespace(xcom_push=lambda key, value: None)}


def deferred(sensor: RegistrySensor) -> RegistryTrigger:
    """Execute a sensor that has to wait, and return its trigger as a triggerer makes it."""
    with pytest.raises(TaskDeferred) as parked:
        sensor.execute(context())
    name, arguments = parked.value.trigger.serialize()
    trigger: RegistryTrigger = resolve_name(name)(**json.loads(json.dumps(arguments)))
    return trigger


async def event_of(trigger: RegistryTrigger) -> Any:
    events = [event.payload async for event in trigger.run()]
    assert len(events) == 1
    return events[0]


def wait(sensor: RegistrySensor, move: Callable[[], object]) -> str:
    """Let a sensor wait in the way it was told to; the registry moves after its first look."""
    if sensor.deferrable:
        trigger = deferred(sensor)
        move()
        version = sensor.execute_complete(context(), asyncio.run(event_of(trigger)))
    else:
        assert not sensor.poke(context())
        move()
        version = sensor.execute(context())
    return ModelVersion.from_dict(version).version


def sensor_of(cls: type[RegistrySensor], model: Model, *, deferrable: bool = False, **arguments: Any) -> Any:
    return cls(
        task_id="follow", model_name=model.name, deferrable=deferrable, poke_interval=0.05, timeout=60, **arguments
    )


@pytest.mark.parametrize("deferrable", [True, False])
def test_alias_that_moves_forth_and_back_is_followed(model: Model, deferrable: bool) -> None:
    first, second = model.add(), model.add()
    follow = sensor_of(ModelAliasSensor, model, deferrable=deferrable)
    assert wait(follow, lambda: model.name_it(first)) == first
    follow = sensor_of(ModelAliasSensor, model, deferrable=deferrable, other_than=first)
    assert wait(follow, lambda: model.name_it(second)) == second
    follow = sensor_of(ModelAliasSensor, model, deferrable=deferrable, other_than=second)
    assert wait(follow, lambda: model.name_it(first)) == first  # a rollback
    follow = sensor_of(ModelAliasSensor, model, deferrable=deferrable, newer_than=first)
    assert wait(follow, lambda: model.name_it(second)) == second


@pytest.mark.parametrize("deferrable", [True, False])
def test_version_is_awaited_until_it_is_there_and_tagged(model: Model, deferrable: bool) -> None:
    assert wait(sensor_of(ModelVersionSensor, model, deferrable=deferrable), model.add) == "1"
    assert wait(sensor_of(ModelVersionSensor, model, deferrable=deferrable, newer_than="1"), model.add) == "2"

    def tag() -> None:
        model.client.set_model_version_tag(model.name, "1", "stage", "ok")

    assert wait(sensor_of(ModelVersionSensor, model, deferrable=deferrable, tags={"stage": "ok"}), tag) == "1"


@pytest.mark.parametrize("deferrable", [True, False])
def test_condition_that_is_met_already_ends_the_task_at_once(model: Model, deferrable: bool) -> None:
    model.name_it(model.add())
    assert sensor_of(ModelAliasSensor, model, deferrable=deferrable, other_than="").execute(context())["version"] == "1"


@pytest.mark.parametrize("deferrable", [True, False])
def test_unknown_model_is_an_error_unless_it_may_come(model: Model, deferrable: bool) -> None:
    model.client.delete_registered_model(model.name)
    with pytest.raises(RegistryError, match=f"There is no model '{model.name}'.*must_exist=False"):
        sensor_of(ModelAliasSensor, model, deferrable=deferrable).execute(context())
    with pytest.raises(AirflowSkipException):
        sensor_of(ModelAliasSensor, model, deferrable=deferrable, never_fail=True).execute(context())

    def come() -> None:
        model.client.create_registered_model(model.name)
        model.name_it(model.add())

    assert wait(sensor_of(ModelAliasSensor, model, deferrable=deferrable, must_exist=False), come) == "1"


def test_model_that_is_deleted_while_it_is_followed_fails_the_task(model: Model) -> None:
    follow = sensor_of(ModelAliasSensor, model, deferrable=True)
    trigger = deferred(follow)
    model.client.delete_registered_model(model.name)
    with pytest.raises(RegistryError, match="There is no model"):
        follow.execute_complete(context(), asyncio.run(event_of(trigger)))
    follow = sensor_of(ModelAliasSensor, model, deferrable=True, never_fail=True)
    with pytest.raises(AirflowSkipException):
        follow.execute_complete(context(), {"version": None, "error": "gone"})


@pytest.mark.parametrize("deferrable", [True, False])
def test_registry_that_does_not_answer_fails_the_first_look_and_is_waited_out_later(
    model: Model, deferrable: bool, monkeypatch: pytest.MonkeyPatch, mlflow_server: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        connect(monkeypatch, nowhere)
        with pytest.raises(MlflowUnavailableError):
            sensor_of(ModelAliasSensor, model, deferrable=deferrable).execute(context())
        connect(monkeypatch, mlflow_server)
        follow = sensor_of(ModelAliasSensor, model, deferrable=deferrable)
        if not deferrable:
            assert not follow.poke(context())
            connect(monkeypatch, nowhere)
            assert not follow.poke(context())
            return
        trigger = deferred(follow)
        connect(monkeypatch, nowhere)
        model.name_it(model.add())

        async def outage() -> Any:
            failed = asyncio.Event()
            monkeypatch.setattr(trigger.log, "warning", lambda *_: failed.set())
            waiting = asyncio.create_task(event_of(trigger))
            await failed.wait()
            assert not waiting.done()
            connect(monkeypatch, mlflow_server)
            return await waiting

        assert asyncio.run(outage())["version"]["version"] == "1"


def test_many_sensors_of_one_alias_ask_the_registry_about_once_an_interval(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = model.add(), model.add()
    model.name_it(first)
    asked = []
    ask = registry.ask
    twice = threading.Event()

    def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) > 1:
            twice.set()
        return ask(*arguments)

    monkeypatch.setattr(registry, "ask", counted)
    triggers = [
        RegistryTrigger(
            watch=sensor_of(ModelAliasSensor, model, other_than=first).watch().to_dict(),
            mlflow_conn_id="mlflow_default",
            poll_interval=0.5,
        )
        for _ in range(200)
    ]

    async def follow() -> list[Any]:
        waiting = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
        await asyncio.to_thread(twice.wait)
        waiting[0].cancel()  # in the midst of a look, perhaps
        await asyncio.to_thread(model.name_it, second)
        return await asyncio.gather(*waiting[1:])

    assert {event["version"]["version"] for event in asyncio.run(follow())} == {second}
    assert len(asked) < len(triggers)


def test_sensor_times_out_where_nothing_comes(model: Model) -> None:
    follow = sensor_of(ModelAliasSensor, model)
    follow.timeout = 0
    with pytest.raises(AirflowSensorTimeout):
        follow.execute(context())
