"""A pipeline of your own: customers in S3 become, week by week, a candidate that must beat the approved champion."""

from airflow.sdk import DAG

from airflow_mlops.domain.promotion import ImprovementGate, MetricGate, PromotionPolicy
from airflow_mlops.operators.approval import PromotionApprovalOperator
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.promotion import PromoteModelOperator, PromotionGateOperator
from airflow_mlops.operators.registry import RegisterModelOperator
from airflow_mlops.operators.training import DockerTrainingOperator
from airflow_mlops.operators.validation import DataValidationOperator

LAKE = "s3://aws_default@lake/customers"
POLICY = PromotionPolicy(gates=(MetricGate(metric="roc_auc", at_least=0.7), ImprovementGate(metric="roc_auc")))

with DAG("churn", schedule="@weekly"):
    rows = DatasetSnapshotOperator(task_id="snapshot", dataset_name="churn", source=f"{LAKE}/train/")
    unseen = DatasetSnapshotOperator(task_id="holdout", dataset_name="churn-holdout", source=f"{LAKE}/holdout/")
    valid = DataValidationOperator(task_id="validate", dataset=rows.output, suite="expectations/churn.json")
    job = DockerTrainingOperator(task_id="train", dataset=rows.output, image="churn-trainer:3", experiment_name="churn")
    model = RegisterModelOperator(task_id="register", model_name="churn", training=job.output, validation=valid.output)
    judged = EvaluateModelOperator(task_id="evaluate", model_version=model.output, holdout=unseen.output, target="left")
    decision = PromotionGateOperator(task_id="gate", evidence=judged.output, policy=POLICY)
    answer = PromotionApprovalOperator(task_id="approve", decision=decision.output, policy=POLICY)
    PromoteModelOperator(
        task_id="promote", decision=decision.output, approval=answer.output, policy=POLICY, model_name="churn"
    )
    valid >> job
