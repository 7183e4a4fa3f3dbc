"""What a training task costs beside its job: ours against DockerOperator with the logging that one writes oneself.

Both train the same on the same rows in the same image, with the same memory and CPUs, and leave parameters, data,
metrics and a model in the same MLflow server. Both run as tasks of a Dag by ``dag.test()``, one after the other, in
turns, and the first of each is not counted: it imports and connects. The overhead is the task's duration, as Airflow
has it, less the container's, from Docker's own events.
"""

import datetime as dt
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.docker_image import IMAGE

JOB_SECONDS = 2.0
SCRIPT = f"""
busybox sleep {JOB_SECONDS}
echo '{{"auc": 0.7}}' > /opt/ml/output/data/metrics.json
echo 'flavors: {{}}' > /opt/ml/model/MLmodel
"""
DAGS = """
from airflow.sdk import DAG
from airflow_mlops.operators.training import DockerTrainingOperator
from benchmarks.docker_operator import LoggedDockerOperator

HYPERPARAMETERS = {"depth": "3"}

with DAG(dag_id="ours", schedule=None):
    DockerTrainingOperator(
        task_id="train",
        dataset=SNAPSHOT,
        experiment_name="overhead",
        hyperparameters=HYPERPARAMETERS,
        image=IMAGE,
        program=("sh", "-c", SCRIPT),
        limits={"memory_mb": 64, "cpus": 1.0},
    )

with DAG(dag_id="theirs", schedule=None):
    LoggedDockerOperator(
        task_id="train",
        snapshot=SNAPSHOT,
        tracking_uri=TRACKING_URI,
        experiment_name="overhead",
        hyperparameters=HYPERPARAMETERS,
        image=IMAGE,
        command=["sh", "-c", SCRIPT],
        mem_limit="64m",
        cpus=1.0,
        labels={"airflow-mlops.dag-id": "theirs"},
    )
"""


def measure_overhead(folder: Path, tracking_uri: str, repeats: int) -> float:
    """Return our overhead as a share of DockerOperator's: the median over the pairs."""
    dags = _dags(folder, SNAPSHOT=take_snapshot(folder), IMAGE=IMAGE, TRACKING_URI=tracking_uri, SCRIPT=SCRIPT)
    for dag_id in ("ours", "theirs"):
        overhead(dags[dag_id])
    pairs: list[tuple[float, float]] = []
    for number in range(repeats):
        order = ("ours", "theirs") if number % 2 else ("theirs", "ours")
        seconds = {dag_id: overhead(dags[dag_id]) for dag_id in order}
        pairs.append((seconds["ours"], seconds["theirs"]))
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"overhead of a training task: {ours:.2f} s, with DockerOperator {theirs:.2f} s ({repeats} pairs)", flush=True
    )
    return statistics.median(one / other for one, other in pairs)


def overhead(dag: Any) -> float:
    """Run a Dag of one training, and return its task's seconds less its container's."""
    begun = int(time.time())
    run = dag.test(logical_date=dt.datetime.now(dt.UTC))
    (task,) = run.get_task_instances()
    if str(task.state) != "success":
        msg = f"The training of {dag.dag_id} ended as {task.state}. Its log is above."
        raise RuntimeError(msg)
    return float(task.duration) - container_seconds(dag.dag_id, begun)


def container_seconds(dag_id: str, since: int) -> float:
    """Return for how long the only container of a Dag ran, from Docker's events."""
    import docker

    client = docker.from_env()
    try:
        filters = {"label": f"airflow-mlops.dag-id={dag_id}", "type": "container", "event": ["start", "die"]}
        events = client.events(since=since, until=int(time.time()) + 1, filters=filters, decode=True)
        times = {event["Action"]: event["timeNano"] for event in events}
    finally:
        client.close()
    return float((times["die"] - times["start"]) / 1e9)


def take_snapshot(folder: Path) -> dict[str, Any]:
    """Take a snapshot of a few rows."""
    from airflow_mlops.operators.dataset import DatasetSnapshotOperator

    (folder / "rows.csv").write_text("n\n" + "\n".join(map(str, range(1000))))
    operator = DatasetSnapshotOperator(task_id="take", dataset_name="rows", source=str(folder / "rows.csv"))
    context: Any = {"outlet_events": {operator.asset: SimpleNamespace(extra=None)}}
    return operator.execute(context)


def _dags(folder: Path, **constants: object) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    dags.mkdir(exist_ok=True)
    lines = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    (dags / "overhead.py").write_text(lines + DAGS)
    bag = DagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder")
    if bag.import_errors:
        raise RuntimeError(str(bag.import_errors))
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
    sync_bag_to_db(bag, "dags-folder", None)
    return dict(bag.dags)
