"""Which errors of a training are worth a retry, and after which time: a policy in place of the default."""

from datetime import timedelta

from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryRule

from airflow_mlops.exceptions import (
    DockerUnavailableError,
    ImageRegistryUnavailableError,
    JobOutOfMemoryError,
    JobStoppedError,
    PermanentError,
)
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.training import DockerTrainingOperator

# The first rule that fits decides; what fits none is retried as `retries` and `retry_delay` say.
POLICY = ExceptionRetryPolicy(
    rules=[
        # Spot machines: whoever was stopped tries again, soon.
        RetryRule(exception=JobStoppedError, action=RetryAction.RETRY, retry_delay=timedelta(minutes=1)),
        # A host that is rebooted needs a while; its job is lost or goes on.
        RetryRule(exception=DockerUnavailableError, action=RetryAction.RETRY, retry_delay=timedelta(minutes=10)),
        # A registry that limits its rate says when; an hour is the usual.
        RetryRule(exception=ImageRegistryUnavailableError, action=RetryAction.RETRY, retry_delay=timedelta(hours=1)),
        # With the same limit it would fail again, unless others share the host's memory.
        RetryRule(exception=JobOutOfMemoryError, action=RetryAction.RETRY, retry_delay=timedelta(minutes=30)),
        RetryRule(exception=PermanentError, action=RetryAction.FAIL),
    ]
)

with DAG("patient_training", schedule=None):
    rows = DatasetSnapshotOperator(task_id="snapshot", dataset_name="churn", source="/data/churn/")
    DockerTrainingOperator(
        task_id="train",
        dataset=rows.output,
        image="churn-trainer:3",
        experiment_name="churn",
        retries=5,
        retry_policy=POLICY,
    )
