"""What a training task costs beside its job: ours against DockerOperator with the logging that one writes oneself.

Both train the same on the same rows in the same image, with the same memory and CPUs, and leave parameters, data,
metrics and a model in the same MLflow server. Both run as tasks of a Dag by ``dag.test()``, one after the other, in
turns, and the first of each is not counted: it imports and connects. The overhead is the task's duration, as Airflow
has it, less the container's, from Docker's own events. A job takes between 2 and 3 seconds, so that its end falls in
with nothing that is done once a second.

The sides differ in what each is for. Ours copies inputs and results through Docker's API, isolates the job, and does
what is said of the other in ``docker_operator.py`` that it leaves out; the other mounts a folder of the worker's. Its
operator has no parameters for the isolation, which costs no measurable time.
"""

import datetime as dt
import statistics
import time
from typing import Any

from benchmarks.dags import read_dags
from benchmarks.docker_image import IMAGE

SCRIPT = """
busybox sleep 2.$((RANDOM % 10))
echo '{"auc": 0.7}' > /opt/ml/output/data/metrics.json
echo 'flavors: {}' > /opt/ml/model/MLmodel
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


def measure_overhead(snapshot: dict[str, Any], tracking_uri: str, repeats: int) -> float:
    """Return our overhead as a share of DockerOperator's: the median over the pairs."""
    constants = {"SNAPSHOT": snapshot, "IMAGE": IMAGE, "TRACKING_URI": tracking_uri, "SCRIPT": SCRIPT}
    dags = read_dags("overhead", DAGS, constants)
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
