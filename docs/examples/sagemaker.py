"""Train the image on SageMaker: a snapshot on S3, and the Amazon provider's operator."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

from airflow_mlops.operators.dataset import DatasetSnapshotOperator

BUCKET = "s3://bucket"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/trainer:3"
ROLE = "arn:aws:iam::123456789012:role/sagemaker-training"

with DAG("train_on_sagemaker", schedule=None):
    rows = DatasetSnapshotOperator(task_id="snapshot", dataset_name="flights", source="/data/flights/")

    train = SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "flight-delays",
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "HyperParameters": {"target": "late", "features": "carrier,hour,temp"},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            # The snapshot's own address names Airflow's connection, too: s3://aws_default@bucket/…
                            "S3Uri": "{{ ti.xcom_pull('snapshot')['uri'] | replace('aws_default@', '') }}/",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"{BUCKET}/sagemaker/"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 14400},
            "EnableNetworkIsolation": True,
        },
        deferrable=True,
    )
    rows >> train
