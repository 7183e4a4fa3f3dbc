"""The decision on a real S3: workers at once write one sequence of decisions, and a sensor reads it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.hooks.monitoring import monitoring_records
from airflow_mlops.operators.retraining import RETRAININGS, RetrainDecisionOperator
from airflow_mlops.operators.windows import record_check
from airflow_mlops.sensors.monitoring import DriftSensor

pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_workers_at_once_start_one_retraining_and_write_one_sequence(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", f"{s3_bucket}/mlops")
    events: list[Any] = []
    monkeypatch.setattr("airflow_mlops.operators.retraining.told_since", lambda moment: [])

    def decide(day: int) -> None:
        check = WindowCheck(
            kind=CheckKind.DATA_DRIFT,
            window=Window(start=START + timedelta(days=day), end=START + timedelta(days=day + 1)),
            verdict=CheckVerdict.VIOLATED,
            model_name="late",
            model_version="1",
            rows=100,
        )
        record_check(check)
        ti = SimpleNamespace(dag_id="watch", run_id=str(day), task_id="decide", map_index=-1)
        ti.xcom_push = lambda key, value: None
        outlets = {RETRAININGS: SimpleNamespace(add=lambda asset, extra: events.append(extra["decision"]))}
        operator = RetrainDecisionOperator(
            task_id="decide", model_name="late", checks=[check.to_dict()], mlflow_conn_id=None
        )
        context: Any = {"ti": ti, "outlet_events": outlets}
        operator.execute(context)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decide, range(4)))
    decisions = monitoring_records("late").newest_decisions(99)
    assert [item.sequence for item in decisions] == list(range(1, len(decisions) + 1))
    assert events == [item.key for item in decisions if item.is_retraining]
    assert len(events) == 1
    wait = DriftSensor(task_id="wait", model_name="late", since=START.isoformat(), retraining=True)
    found = wait.poke({}).xcom_value
    assert found is not None
    assert found["sequence"] == int(events[0])
