"""The decision on a real artifact store: told once, whatever happens in between."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.audit.entry import Chain, EventKind
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.retraining import RetrainDecision, RetrainPolicy, RetrainVerdict
from airflow_mlops.domain.training_request import RetrainingEvent
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.operators.retraining import RETRAININGS, RetrainDecisionOperator
from airflow_mlops.operators.windows import record_check

START = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


class Events(list[Any]):
    """What Airflow would return of the events of an alias."""

    def after(self, moment: str) -> "Events":
        return Events(event for event in self if event.timestamp >= datetime.fromisoformat(moment))


class Airflow:
    """Keeps the asset events of tasks that succeed, as Airflow does, and none of those that fail."""

    def __init__(self) -> None:
        self.events = Events()

    def run(self, run_id: str, *, fails: bool = False, **arguments: Any) -> RetrainDecision:
        added: list[Any] = []

        def add(asset: Any, extra: dict[str, Any]) -> None:
            added.append(SimpleNamespace(asset=asset, extra=extra, timestamp=datetime.now(UTC)))

        ti = SimpleNamespace(
            dag_id="watch", run_id=run_id, task_id="decide", map_index=-1, xcom_push=lambda key, value: None
        )
        context: Any = {
            "ti": ti,
            "inlet_events": {RETRAININGS: self.events},
            "outlet_events": {RETRAININGS: SimpleNamespace(add=add)},
        }
        operator = RetrainDecisionOperator(task_id="decide", **{"model_name": "late", **arguments})
        decision = RetrainDecision.from_dict(operator.execute(context))
        if not fails:
            self.events.extend(added)
        return decision

    @property
    def retrainings(self) -> list[RetrainingEvent]:
        return [RetrainingEvent.from_dict(event.extra) for event in self.events]


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


def window(number: int) -> Window:
    return Window(start=START + timedelta(days=number), end=START + timedelta(days=number + 1))


def check(number: int, verdict: str = "violated", kind: str = "data_drift", version: str = "1") -> dict[str, Any]:
    found = WindowCheck(
        kind=CheckKind(kind),
        window=window(number),
        verdict=CheckVerdict(verdict),
        model_name="late",
        model_version=version,
        rows=100,
        reasons=("temp has drifted.",),
        figures={"drift.temp": 0.3},
        report_uri=f"file:///{kind}-{number}.html",
    )
    record_check(found)
    return found.to_dict()


def test_second_violation_starts_a_retraining_that_carries_its_reasons(airflow: Airflow) -> None:
    assert airflow.run("1", checks=[check(1)]).verdict is RetrainVerdict.NO_REASON
    decision = airflow.run("2", checks=[check(2), None])
    assert decision.summary == (
        "Retrain late: data drift of version 1 of late. Data drift in 2 of the last 2 windows, the last time in the "
        "window from 2013-04-03: temp has drifted."
    )
    (event,) = airflow.retrainings
    assert (event.model_name, event.model_version, event.window, event.attempt) == ("late", "1", window(2), 1)
    assert event.reasons == decision.reasons
    assert event.reports == {"data_drift": "file:///data_drift-2.html"}
    assert airflow.events[0].asset.uri == "mlops://retraining/late"


def test_five_violated_windows_in_a_row_start_one_retraining(airflow: Airflow) -> None:
    decisions = [airflow.run(str(number), checks=[check(number)]) for number in range(5)]
    assert [str(decision.verdict) for decision in decisions] == ["no_reason", "retrain", "held", "held", "held"]
    assert len(airflow.retrainings) == 1
    entries = audit_trail().read(Chain.of_model("late")).entries
    assert [entry.event_kind for entry in entries] == [EventKind.RETRAINING]
    assert entries[0].happening.summary == decisions[1].summary


def test_retry_after_a_crash_tells_what_was_decided(airflow: Airflow) -> None:
    airflow.run("1", checks=[check(1)])
    lost = airflow.run("2", checks=[check(2)], fails=True)
    assert lost.is_retraining
    assert airflow.retrainings == []
    assert airflow.run("2", checks=[check(2)]) == lost
    assert [event.decision for event in airflow.retrainings] == [lost.key]
    airflow.run("2", checks=[check(2)])  # cleared
    airflow.run("1", checks=[check(1)])
    assert len(airflow.retrainings) == 1
    assert len(audit_trail().read(Chain.of_model("late")).entries) == 1


def test_retraining_whose_task_failed_for_good_is_told_by_a_later_run(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.run("1", checks=[check(1)])
    lost = airflow.run("2", checks=[check(2)], fails=True)
    airflow.run("3", checks=[check(3)])
    assert airflow.retrainings == []  # Its own retry may be on its way.
    later = datetime.now(UTC) + timedelta(hours=2)
    monkeypatch.setattr("airflow_mlops.operators.retraining.utcnow", lambda: later)
    airflow.run("4", checks=[check(4)], fails=True)
    airflow.run("5", checks=[check(5)])
    assert airflow.retrainings == []  # The one that took it on may be on its way.
    airflow.run("4", checks=[check(4)])
    assert [event.decision for event in airflow.retrainings] == [lost.key]


def test_workers_at_once_tell_once(airflow: Airflow) -> None:
    checks = [check(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(airflow.run, str(number), checks=[checks[number]]) for number in range(8)]
        for run in runs:
            run.result()
    keys = [event.decision for event in airflow.retrainings]
    assert len(keys) == 1


@pytest.mark.parametrize("seed", range(6))
def test_windows_in_any_order_lead_to_the_same_retrainings_where_earlier_ones_are_waited_for(
    seed: int, airflow: Airflow
) -> None:
    policy = RetrainPolicy(cool_down_days=3, max_per_week=3, patience_hours=1, watched_since=window(0).start)
    verdicts = ["violated", "violated", "passed", "violated", "violated", "violated", "passed", "violated"]
    order = [number for number in range(8) for _ in range(2)]  # each one twice: a repeat
    random.Random(seed).shuffle(order)  # noqa: S311 - no secret
    for number in order:
        airflow.run(str(number), checks=[check(number, verdicts[number])], policy=policy)
    assert [event.window for event in airflow.retrainings] == [window(1), window(4)]
    assert [event.attempt for event in airflow.retrainings] == [1, 2]
