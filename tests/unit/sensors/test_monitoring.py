"""A worker that looks and a triggerer that waits find the same window or retraining."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.retraining import RetrainDecision, RetrainPolicy
from airflow_mlops.domain.retraining_rules import next_decision
from airflow_mlops.exceptions import InvalidInputError, StorageUnavailableError
from airflow_mlops.hooks.monitoring import monitoring_records
from airflow_mlops.sensors.monitoring import DriftSensor
from airflow_mlops.triggers import monitoring
from airflow_mlops.triggers.monitoring import FindingTrigger

START = datetime(2026, 3, 1, tzinfo=UTC)
CONTEXT: Any = {}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


def window(day: int) -> Window:
    return Window(start=START + timedelta(days=day), end=START + timedelta(days=day + 1))


def find(day: int, kind: str = "data_drift", verdict: str = "violated") -> WindowCheck:
    check = WindowCheck(
        kind=CheckKind(kind),
        window=window(day),
        verdict=CheckVerdict(verdict),
        model_name="late",
        model_version="1",
        rows=10,
    )
    monitoring_records("late").record(check)
    return check


def decide(day: int) -> RetrainDecision:
    records = monitoring_records("late")
    records.close(window(day), [], START)
    newest = next(iter(records.newest_decisions()), None)
    known = records.outcomes_after(newest.window if newest else None, {})
    decision = next_decision(RetrainPolicy(), known, newest, now=START)
    assert decision is not None
    assert records.create(decision)
    return decision


def sensor(**arguments: Any) -> DriftSensor:
    given = {"model_name": "late", "since": START.isoformat(), "poke_interval": 0.02, "timeout": 60, **arguments}
    return DriftSensor(task_id="wait", **given)


def wait(waiting: DriftSensor, happen: Callable[[], object]) -> dict[str, Any]:
    """Let a sensor wait in the way it was told to; something happens after its first look."""
    if not waiting.deferrable:
        assert not waiting.poke(CONTEXT)
        happen()
        found: dict[str, Any] = waiting.execute(CONTEXT)
        return found
    trigger = deferred(waiting)
    happen()
    return waiting.execute_complete(CONTEXT, asyncio.run(event_of(trigger)))


def deferred(waiting: DriftSensor) -> FindingTrigger:
    """Execute a sensor that has to wait, and return its trigger as a triggerer makes it."""
    with pytest.raises(TaskDeferred) as parked:
        waiting.execute(CONTEXT)
    name, arguments = parked.value.trigger.serialize()
    trigger: FindingTrigger = resolve_name(name)(**json.loads(json.dumps(arguments)))
    return trigger


async def event_of(trigger: FindingTrigger) -> Any:
    events = [event.payload async for event in trigger.run()]
    assert len(events) == 1
    return events[0]


@pytest.mark.parametrize("deferrable", [True, False])
def test_violated_window_is_awaited_and_given(deferrable: bool) -> None:
    find(0, verdict="passed")
    find(0, kind="decay")
    assert wait(sensor(deferrable=deferrable), lambda: find(1)) == find(1).to_dict()


@pytest.mark.parametrize("deferrable", [True, False])
def test_window_before_the_time_is_passed_over(deferrable: bool) -> None:
    find(0)
    find(1)
    since = window(1).end.isoformat()
    found = wait(sensor(since=since, kinds=["decay", "data_drift"], deferrable=deferrable), lambda: find(2, "decay"))
    assert WindowCheck.from_dict(found).window == window(2)


@pytest.mark.parametrize("deferrable", [True, False])
def test_retraining_is_awaited_by_the_kind_of_its_reasons(deferrable: bool) -> None:
    find(0), decide(0)

    def retrain() -> None:
        find(1), decide(1)

    found = wait(sensor(retraining=True, deferrable=deferrable), retrain)
    assert RetrainDecision.from_dict(found).is_retraining
    assert not sensor(retraining=True, kinds=["bias"]).poke(CONTEXT)
    assert not sensor(retraining=True, since=window(1).end).poke(CONTEXT)


def test_what_is_there_already_ends_the_task_at_once() -> None:
    find(0)
    assert WindowCheck.from_dict(sensor(deferrable=True).execute(CONTEXT)).window == window(0)


def test_bad_data_has_no_drift_but_can_be_awaited_itself() -> None:
    find(0), find(0, "quality")
    assert not sensor().poke(CONTEXT)
    assert sensor(kinds="quality").poke(CONTEXT)


def test_model_without_records_is_waited_for() -> None:
    assert not sensor(model_name="other").poke(CONTEXT)
    assert not sensor(model_name="other", retraining=True).poke(CONTEXT)


def test_records_that_cannot_be_read_fail_the_task(store: Path) -> None:
    trigger = deferred(waiting := sensor(deferrable=True))
    folder = store / f"monitoring/late/windows/{window(0).key}"
    folder.mkdir(parents=True)
    (folder / "data_drift.json").write_text("{}")
    event = asyncio.run(event_of(trigger))
    with pytest.raises(InvalidInputError, match="WindowCheck lacks the key"):
        waiting.execute_complete(CONTEXT, event)
    waiting.never_fail = True
    with pytest.raises(AirflowSkipException):
        waiting.execute_complete(CONTEXT, event)


def test_storage_that_does_not_answer_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = deferred(sensor(deferrable=True))
    look, failures = monitoring.find_finding, iter([StorageUnavailableError("gone")])

    def flaky(condition: Any) -> Any:
        for failure in failures:
            find(0)
            raise failure
        return look(condition)

    monkeypatch.setattr(monitoring, "find_finding", flaky)
    assert asyncio.run(event_of(trigger))["found"]["kind"] == "data_drift"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({"since": "soon"}, "must be an ISO 8601 time"), ({"kinds": []}, "No kind"), ({"kinds": ["mood"]}, "'mood'")],
)
def test_condition_that_cannot_be_meant_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        sensor(**arguments).poke(CONTEXT)
