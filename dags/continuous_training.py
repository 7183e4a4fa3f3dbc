"""Train a model on new data, judge it against the one that serves, ask a person, and promote it.

Trigger it with the dates of your choice; or let `model_monitoring` start it, when the model that serves has become
worse: then it learns from the last months before that, and the approver reads why.

To make this your own pipeline, copy the file and change the constants: everything about the flights is in them.
"""

from airflow.sdk import DAG, Param, XComArg, conf

from airflow_mlops.assets import retraining_asset
from airflow_mlops.domain.gates import (
    ExplanationGate,
    GateMode,
    ImprovementGate,
    LatencyGate,
    MetricGate,
    SignatureGate,
    SliceGate,
)
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.domain.slices import Loss
from airflow_mlops.domain.training import Backend
from airflow_mlops.domain.training_request import RollingMonths
from airflow_mlops.operators.approval import PromotionApprovalOperator
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.promotion import PromoteModelOperator, PromotionGateOperator
from airflow_mlops.operators.registry import RegisterModelOperator
from airflow_mlops.operators.training import DockerTrainingOperator, ProcessTrainingOperator, TrainModelOperator
from airflow_mlops.operators.training_request import TrainingRequestOperator
from airflow_mlops.operators.validation import DataValidationOperator

# What the model is, and what it learns from.
MODEL_NAME = "flight-delays"
SOURCE = "/data/flights"
TARGET = "late"
FEATURES = (
    "carrier", "origin", "dest", "distance", "hour", "minute", "weekday",
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip
TIME_COLUMN = "scheduled_departure"
EXPECTATIONS = "expectations/flights.json"
ROLLING = RollingMonths(training=2, holdout=1)  # up to the end of the window in which monitoring asked for it

# What trains it: an image that fulfils the job contract, or the same program where there is no Docker engine.
BACKEND = Backend(conf.get("mlops", "job_backend"))
DOCKER_CONN_ID = None  # the worker's own engine; else a connection of the type "Docker host"
TRAINER_IMAGE = "airflow-mlops/trainer:latest"
TRAINER_PROGRAM = ("python", "../docker/trainer")

# What it must show before a person is asked. The last two are on trial: they are shown, and decide nothing.
POLICY = PromotionPolicy(
    gates=(
        MetricGate(metric="roc_auc", at_least=0.62),
        MetricGate(metric="brier_score", at_most=0.20),
        ImprovementGate(metric="roc_auc", absolute=0.005, confidence=0.95),
        SignatureGate(),
        ExplanationGate(),
        SliceGate(margin=0.01, loss=Loss.BRIER_SCORE, mode=GateMode.DRY_RUN),
        LatencyGate(at_most_ms=100, mode=GateMode.DRY_RUN),
    )
)

with DAG(
    dag_id="continuous_training",
    description="New data becomes an approved champion: snapshot, validate, train, register, evaluate, gate, approve.",
    doc_md=__doc__,
    schedule=retraining_asset(MODEL_NAME),
    catchup=False,
    tags=["mlops"],
    default_args={"retries": 2, "retry_delay": 30},
    params={
        "source": Param(
            SOURCE, type="string", title="Source", description="Folder, glob or URI of Parquet or CSV files."
        ),
        "train_start": Param(
            "2013-01-01", type="string", format="date", title="Train from", description="First day to learn from."
        ),
        "train_end": Param(
            "2013-03-01",
            type="string",
            format="date",
            title="Train until",
            description="First day not to learn from: the holdout begins here.",
        ),
        "holdout_end": Param(
            "2013-04-01", type="string", format="date", title="Judge until", description="First day after the holdout."
        ),
        "learning_rate": Param(
            0.05, type="number", exclusiveMinimum=0, maximum=1, title="Learning rate", section="Hyperparameters"
        ),
        "max_iterations": Param(
            300, type="integer", minimum=1, maximum=5000, title="Most boosting steps", section="Hyperparameters"
        ),
    },
) as dag:
    request = TrainingRequestOperator(
        task_id="request",
        model_name=MODEL_NAME,
        train_start="{{ params.train_start }}",
        train_end="{{ params.train_end }}",
        holdout_end="{{ params.holdout_end }}",
        rolling=ROLLING,
    )
    snapshot_training = DatasetSnapshotOperator(
        task_id="snapshot_training",
        dataset_name="flights",
        source="{{ params.source }}",
        time_column=TIME_COLUMN,
        start=XComArg(request, "train_start"),
        end=XComArg(request, "train_end"),
    )
    snapshot_holdout = DatasetSnapshotOperator(
        task_id="snapshot_holdout",
        dataset_name="flights-holdout",
        source="{{ params.source }}",
        time_column=TIME_COLUMN,
        start=XComArg(request, "train_end"),
        end=XComArg(request, "holdout_end"),
    )
    validate_training = DataValidationOperator(
        task_id="validate_training", dataset=snapshot_training.output, suite=EXPECTATIONS
    )
    validate_holdout = DataValidationOperator(
        task_id="validate_holdout", dataset=snapshot_holdout.output, suite=EXPECTATIONS
    )

    hyperparameters = {
        "target": TARGET,
        "features": ",".join(FEATURES),
        "time_column": TIME_COLUMN,
        "learning_rate": "{{ params.learning_rate }}",
        "max_iterations": "{{ params.max_iterations }}",
    }
    train: TrainModelOperator
    if BACKEND is Backend.DOCKER:
        train = DockerTrainingOperator(
            task_id="train",
            image=TRAINER_IMAGE,
            docker_conn_id=DOCKER_CONN_ID,
            dataset=snapshot_training.output,
            experiment_name=MODEL_NAME,
            hyperparameters=hyperparameters,
        )
    else:
        train = ProcessTrainingOperator(
            task_id="train",
            program=TRAINER_PROGRAM,
            dataset=snapshot_training.output,
            experiment_name=MODEL_NAME,
            hyperparameters=hyperparameters,
        )

    register = RegisterModelOperator(
        task_id="register",
        model_name=MODEL_NAME,
        training=train.output,
        validation=validate_training.output,
        reasons=XComArg(request, "reasons"),
    )
    evaluate = EvaluateModelOperator(
        task_id="evaluate",
        model_version=register.output,
        holdout=snapshot_holdout.output,
        target=TARGET,
    )
    gate = PromotionGateOperator(task_id="gate", evidence=evaluate.output, policy=POLICY)
    approve = PromotionApprovalOperator(task_id="approve", decision=gate.output, policy=POLICY)
    promote = PromoteModelOperator(
        task_id="promote", decision=gate.output, approval=approve.output, policy=POLICY, model_name=MODEL_NAME
    )

    validate_training >> train
    validate_holdout >> evaluate
