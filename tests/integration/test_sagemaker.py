"""The Dag of the docs that trains on SageMaker, against a server that answers as SageMaker and S3 do.

It takes the job's request, and trains nothing. So the image then runs over what that request names, in S3, by the rules
that SageMaker's documentation gives.
"""

import datetime as dt
import io
import json
import os
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops.domain.dataset import Snapshot
from demo.flights import write_months
from demo.processes import Processes

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.integration, pytest.mark.docker]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sagemaker.py"
REGION = "eu-central-1"
CREDENTIALS = {"login": "tests", "password": "tests-secret"}


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start AWS with an empty bucket, name it in Airflow's connection, and give its address."""
    import requests

    with Processes(tmp_path / "aws") as processes:
        port = processes.claim_port(0)
        command = [str(Path(sysconfig.get_path("scripts")) / "moto_server"), "--port", str(port)]
        processes.start("AWS", command, env=dict(os.environ))
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return requests.get(f"{url}/moto-api/", timeout=1).ok
            except requests.RequestException:
                return False

        processes.wait_for({"AWS": answers}, timeout_seconds=60)
        extra = {"endpoint_url": url, "region_name": REGION}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", **CREDENTIALS, "extra": extra}))
        client(url, "s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield url


def client(url: str, service: str) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["login"],
        aws_secret_access_key=CREDENTIALS["password"],
    )


@pytest.fixture
def dag(airflow_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    months = write_months(tmp_path / "months")
    (tmp_path / "flights").mkdir()
    months[0].rename(tmp_path / "flights" / months[0].name)
    (tmp_path / "dags").mkdir()
    code = EXAMPLE.read_text().replace('"/data/flights/"', repr(f"{tmp_path}/flights/"))
    (tmp_path / "dags" / "sagemaker.py").write_text(
        code.replace("deferrable=True", "deferrable=True, check_interval=1")
    )
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", "s3://aws_default@bucket/mlops")
    bag = DagBag(dag_folder=tmp_path / "dags", bundle_path=tmp_path / "dags", bundle_name="sagemaker")
    assert not bag.import_errors
    with create_session() as session:
        session.merge(DagBundleModel(name="sagemaker"))
    sync_bag_to_db(bag, "sagemaker", None)
    return bag.dags["train_on_sagemaker"]


def tree_of(job: dict[str, Any], s3: Any) -> bytes:
    """Pack what SageMaker lays out below `/opt/ml` for a job: all of it is root's."""
    files = {"input/config/hyperparameters.json": json.dumps(job["HyperParameters"]).encode()}
    for channel in job["InputDataConfig"]:
        bucket, _, prefix = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://").partition("/")
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            name = f"input/data/{channel['ChannelName']}/{item['Key'].removeprefix(prefix)}"
            files[name] = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for folder in ("model", "output", "output/data"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def engine(docker_engine: None) -> Iterator["DockerClient"]:
    import docker

    engine = docker.from_env(timeout=240)
    yield engine
    engine.close()


def test_dag_of_the_docs_asks_sagemaker_for_a_job_that_the_image_can_do(
    aws: str, dag: Any, engine: "DockerClient", trainer_image: str
) -> None:
    finished = dag.test(logical_date=dt.datetime.now(dt.UTC))
    tasks = {ti.task_id: ti for ti in finished.get_task_instances()}
    assert {name: str(ti.state) for name, ti in tasks.items()} == {"snapshot": "success", "train": "success"}
    (summary,) = client(aws, "sagemaker").list_training_jobs()["TrainingJobSummaries"]
    job = client(aws, "sagemaker").describe_training_job(TrainingJobName=summary["TrainingJobName"])
    snapshot = Snapshot.from_dict(tasks["snapshot"].xcom_pull("snapshot"))
    (channel,) = job["InputDataConfig"]
    address = channel["DataSource"]["S3DataSource"]["S3Uri"]
    assert address == f"s3://bucket/mlops/datasets/flights/{snapshot.digest}/"

    command = engine.containers.create(trainer_image, "train", user="root", network_mode="none")
    try:
        command.put_archive("/opt/ml", tree_of(job, client(aws, "s3")))
        command.start()
        status = command.wait(timeout=120)["StatusCode"]
        assert status == 0, command.logs().decode()
        for path in ("model/MLmodel", "output/data/metrics.json"):
            command.get_archive(f"/opt/ml/{path}")  # It raises where there is none.
    finally:
        command.remove(force=True, v=True)
