"""Watch the drift of one model: look at each day, decide, and tell people and other Dags."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable, TriggerRule

from airflow_mlops.domain.retraining import KindRule, RetrainPolicy
from airflow_mlops.operators.drift import DriftCheckOperator
from airflow_mlops.operators.prediction_window import PredictionWindowOperator
from airflow_mlops.operators.retraining import RetrainDecisionOperator

MODEL = {
    "model_name": "churn",
    "window_start": "{{ data_interval_start }}",
    "window_end": "{{ data_interval_end }}",
}

with DAG(
    "watch_churn",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 3, 1, tzinfo=UTC),
    catchup=True,
    max_active_runs=1,  # the oldest window first
):
    window = PredictionWindowOperator(task_id="window", log="/data/churn/predictions", **MODEL)
    drift = DriftCheckOperator(task_id="drift", current=window.output, **MODEL)
    decide = RetrainDecisionOperator(
        task_id="decide",
        checks=[drift.output],
        policy=RetrainPolicy(data_drift=KindRule(violations=3, windows=7), cool_down_days=14),
        notifiers=[],  # any of Airflow's, such as SmtpNotifier(to="ml@example.com", subject="{{ monitoring.subject }}")
        trigger_rule=TriggerRule.ALL_DONE,  # also when a check was skipped or has failed
        **MODEL,
    )
    window >> decide
