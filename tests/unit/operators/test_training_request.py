from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow_mlops.assets import retraining_asset
from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.training_request import RetrainingEvent
from airflow_mlops.operators.training_request import TrainingRequestOperator

EVENT = RetrainingEvent(
    model_name="late",
    model_version="1",
    window=Window(start=datetime(2013, 8, 1, tzinfo=UTC), end=datetime(2013, 9, 1, tzinfo=UTC)),
    reasons=("It is worse.",),
)
FORM: dict[str, Any] = {"train_start": "2013-01-01", "train_end": "2013-03-01", "holdout_end": "2013-04-01"}


def request(events: Any) -> dict[str, Any]:
    task = TrainingRequestOperator(task_id="request", model_name="late", **FORM)
    context: Any = {"triggering_asset_events": events}
    return task.execute(context)


def test_run_that_a_person_triggers_takes_the_dates_of_the_form() -> None:
    assert request({}) == {"schema_version": 1, **FORM, "reasons": []}


def test_run_that_an_event_started_takes_its_window_and_its_reasons() -> None:
    found = request({retraining_asset("late"): [SimpleNamespace(extra=EVENT.to_dict())]})
    assert found["train_end"] == "2013-08-01T00:00:00+00:00"
    assert found["holdout_end"] == "2013-09-01T00:00:00+00:00"
    assert found["reasons"] == ["It is worse."]


def test_event_of_another_asset_is_none_of_its_business() -> None:
    assert request({retraining_asset("churn"): [SimpleNamespace(extra={})]})["reasons"] == []


def test_each_key_is_an_xcom_of_its_own() -> None:
    assert TrainingRequestOperator(task_id="request", model_name="late", **FORM).multiple_outputs
