"""Watch the models that serve: is their data good, has it moved, are they as good and as fair as was promised, and is
it time to train again?

One Dag watches all models of the list below. Each month it looks at what they have answered in the month before; for
models with more traffic, let it run daily. Unpause it when the first model serves. Windows that were missed are caught
up, the oldest first, and a window that is done again is decided as before.

Nobody is to be woken twice for one thing: a model's findings of a window are one message, and one message says that
they are over. When a model is worse in two windows of five, an event starts the Dag that trains it, with the reasons.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, TriggerRule, task_group

from airflow_mlops.domain.bias import BiasSpec
from airflow_mlops.domain.drift import DriftSpec
from airflow_mlops.domain.gates import FairnessGate
from airflow_mlops.domain.performance import PerformanceSpec
from airflow_mlops.domain.retraining import KindRule, RetrainPolicy
from airflow_mlops.operators.drift import DriftCheckOperator
from airflow_mlops.operators.performance import BiasCheckOperator, PerformanceCheckOperator
from airflow_mlops.operators.prediction_window import PredictionWindowOperator
from airflow_mlops.operators.retraining import RetrainDecisionOperator
from airflow_mlops.operators.validation import DataValidationOperator
from airflow_mlops.sensors.ground_truth import GroundTruthSensor

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")

# What is watched: add a model, and it is watched from the next window on.
MODELS = [
    {
        "model_name": "flight-delays",
        "predictions": "/data/production/flight-delays/predictions",
        "labels": "/data/production/flight-delays/labels",
        "suite": "expectations/flights_production.json",
        # The weather has its seasons, and predictions follow it. What that does to the model, performance says.
        "drift": DriftSpec(ignore=WEATHER, prediction=()).to_dict(),
        "reference": None,  # what the champion was trained on; else a snapshot, as DatasetSnapshotOperator returns it
        "performance": PerformanceSpec(metric="roc_auc", margin=0.02).to_dict(),
        "bias": BiasSpec(
            bars=(FairnessGate(column="origin", metric="demographic_parity_difference", at_most=0.3),)
        ).to_dict(),
        "policy": RetrainPolicy(
            decay=KindRule(violations=2, windows=5),
            cool_down_days=60,
            recover_after=1,
        ).to_dict(),
    }
]
NOTIFIERS = ()  # any of Airflow's, such as SmtpNotifier(to=…, subject="{{ monitoring.subject }}")

# Which windows: each calendar month from the first one on.
MONTHLY = CronDataIntervalTimetable("0 0 1 * *", timezone="UTC")
FIRST_WINDOW, LAST_WINDOW = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 12, 1, tzinfo=UTC)
WINDOW = {"window_start": "{{ data_interval_start }}", "window_end": "{{ data_interval_end }}"}
LABELS_WITHIN = timedelta(days=3)  # the checks wait so long for labels, then go on without
LOOK_EVERY = timedelta(minutes=1)

with DAG(
    dag_id="model_monitoring",
    description="Watch what the champions answer: data, drift, performance, bias; decide, alert, train again.",
    doc_md=__doc__,
    schedule=MONTHLY,
    start_date=FIRST_WINDOW,
    end_date=LAST_WINDOW,
    catchup=True,
    max_active_runs=1,  # one window after the other, the oldest first
    is_paused_upon_creation=True,
    tags=["mlops"],
    default_args={"retries": 2, "retry_delay": 30},
) as dag:

    @task_group
    def watch(
        *,
        model_name: str,
        predictions: str,
        labels: str,
        suite: str,
        drift: Any,
        reference: Any,
        performance: Any,
        bias: Any,
        policy: Any,
    ) -> None:
        model: dict[str, Any] = {"model_name": model_name, **WINDOW}
        labelled = GroundTruthSensor(
            task_id="labels",
            log=predictions,
            labels=labels,
            **model,
            timeout=LABELS_WITHIN,
            poke_interval=LOOK_EVERY,
            soft_fail=True,
            deferrable=True,
        )
        window = PredictionWindowOperator(
            task_id="window", log=predictions, **model, trigger_rule=TriggerRule.NONE_FAILED
        )
        validated = DataValidationOperator(task_id="validate", dataset=window.output, suite=suite, on_failure="warn")
        checks = [
            DriftCheckOperator(task_id="drift", current=window.output, reference=reference, spec=drift, **model),
            PerformanceCheckOperator(
                task_id="performance", predictions=window.output, labels=labels, spec=performance, **model
            ),
            BiasCheckOperator(task_id="bias", predictions=window.output, labels=labels, spec=bias, **model),
        ]
        decided = RetrainDecisionOperator(
            task_id="decide",
            checks=[check.output for check in checks],
            validation=validated.output,
            policy=policy,
            notifiers=NOTIFIERS,
            **model,
            trigger_rule=TriggerRule.ALL_DONE,
        )
        labelled >> window
        [window, validated, *checks] >> decided
        # The decision is made whatever became of the checks. The last task fails the run where one of them has failed.
        [window, validated, *checks, decided] >> EmptyOperator(task_id="watched", trigger_rule=TriggerRule.NONE_FAILED)

    watch.expand_kwargs(MODELS)
