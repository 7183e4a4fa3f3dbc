"""Training in a whole Airflow: what a person sees while a task is deferred, and what kills and limits of it leave."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from airflow_mlops.domain.job import LABEL_WORK_KEY
from airflow_mlops.domain.training import TrainingResult
from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from demo.processes import Child
from demo.stack import Stack

if TYPE_CHECKING:
    from docker import DockerClient
    from mlflow.entities import Run

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.timeout(900)]

LINES = 40
SAYING = f"""
cd $SAGEMAKER_BASE_DIR
i=0
while [ $i -lt {LINES} ]; do
    i=$((i+1))
    echo "line $i"
    echo "{{\\"step\\": $i, \\"loss\\": 0.5}}" >> output/data/metrics.jsonl
    sleep 1
done
echo '{{"auc": 0.7}}' > output/data/metrics.json
echo > model/MLmodel
"""
SLOW_TO_STOP = """
trap 'sleep 9; echo rescued > /opt/ml/output/data/part; echo saved; exit 143' TERM
echo begun
sleep 300 & wait
"""
DAGS = """
from datetime import timedelta

from airflow.sdk import DAG
from airflow_mlops.operators.training import DockerTrainingOperator

for name, program, deferrable, seconds in (
    ("freed", SAYING, True, 3600),
    ("freed_and_killed", SAYING, True, 3600),
    ("limited", SLOW_TO_STOP, True, 30),
    ("waited_for", SLOW_TO_STOP, False, 3600),
    ("orphaned", SAYING, False, 3600),
):
    with DAG(dag_id=name, schedule=None, dagrun_timeout=timedelta(seconds=seconds)):
        DockerTrainingOperator(
            task_id="train",
            dataset=SNAPSHOT,
            experiment_name=name,
            image=IMAGE,
            program=("sh", "-c", program),
            limits={"memory_mb": 64},
            deferrable=deferrable,
        )
"""


class TrainingStack(Stack):
    """An Airflow and an MLflow that need neither flights nor the trainer image, whose triggerer can be killed."""

    def _start_errands(self, environment: Mapping[str, str]) -> list[Child]:
        return []

    def _environment(self) -> dict[str, str]:
        self._started_with = super()._environment() | {"AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15"}
        return self._started_with

    def restart_triggerer(self) -> None:
        """Kill the triggerer with all its processes, and start another one."""
        (child,) = (child for child in self._processes.children if child.name == "Airflow triggerer")
        parent = psutil.Process(child.process.pid)
        for process in (parent, *parent.children(recursive=True)):
            process.kill()
        child.process.wait()
        self._processes.children.remove(child)
        self._start_airflow("triggerer", "--skip-serve-logs", environment=self._started_with)

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        self._processes.wait_for({what: is_so}, timeout_seconds=240)


class Training:
    """The one task of a Dag run, and what there is of it."""

    def __init__(self, stack: TrainingStack, dag_id: str, docker: "DockerClient") -> None:
        from mlflow import MlflowClient

        self.stack, self.dag_id, self.docker = stack, dag_id, docker
        self.mlflow: MlflowClient = MlflowClient(stack.mlflow_uri)
        stack.trigger(dag_id, "once", {})

    def state(self) -> str:
        return self.stack.airflow.run(self.dag_id, "once").tasks[0].state

    def until(self, state: str) -> None:
        self.stack.until(f"{self.dag_id} is {state}", lambda: self.state() == state)

    def until_printed(self, words: str) -> None:
        self.stack.until(f"{self.dag_id} prints {words}", lambda: words in "\n".join(self.log()))

    def log(self) -> list[str]:
        """Return the messages that a person sees in the UI."""
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/once/taskInstances/train/logs/1"
        try:
            content = self.stack.airflow._get(path, full_content="true")["content"]
        except httpx.HTTPStatusError:  # Its first try has not begun.
            return []
        return [str(line["event"]) for line in content]

    def run(self) -> "Run":
        experiment = self.mlflow.get_experiment_by_name(self.dag_id)
        assert experiment is not None
        (run,) = self.mlflow.search_runs([experiment.experiment_id])
        return run

    def artifacts(self) -> set[str]:
        found, folders = set[str](), [""]
        while folders:
            for item in self.mlflow.list_artifacts(self.run().info.run_id, folders.pop()):
                (folders.append if item.is_dir else found.add)(item.path)
        return found

    def containers(self) -> list[Any]:
        key = WorkKey(dag_id=self.dag_id, run_id="once", task_id="train")
        return self.docker.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL_WORK_KEY}={key}"})

    def assert_ended_with_all_that_was_left(self) -> None:
        self.stack.until(f"the container of {self.dag_id} is removed", lambda: not self.containers())
        assert self.run().info.status == "KILLED"
        assert {"job/log.txt", "job/output/data/part"} <= self.artifacts()
        log = Path(self.mlflow.download_artifacts(self.run().info.run_id, "job/log.txt")).read_text()
        assert re.search("Z begun\n.*Z saved\n", log)


@pytest.fixture(scope="module")
def stack(shell_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingStack]:
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "source.csv").write_text("n\n1\n2\n")
    (folder / "dags").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(folder / "store"))
        taking = DatasetSnapshotOperator(task_id="take", dataset_name="numbers", source=str(folder / "source.csv"))
        ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
        context: Any = {"ti": ti, "outlet_events": {taking.asset: SimpleNamespace(extra=None)}}
        snapshot = taking.execute(context)
    code = DAGS.replace("SNAPSHOT", repr(snapshot)).replace("IMAGE", repr(shell_image))
    code = code.replace("SAYING", repr(SAYING)).replace("SLOW_TO_STOP", repr(SLOW_TO_STOP))
    (folder / "dags/trainings.py").write_text(code)
    with TrainingStack(
        folder,
        backend="docker",
        dags=folder / "dags",
        dag_ids=("freed", "freed_and_killed", "limited", "waited_for", "orphaned"),
        airflow_port=0,
        mlflow_port=0,
    ) as stack:
        yield stack


@pytest.fixture
def train(stack: TrainingStack) -> Iterator[Callable[[str], Training]]:
    import docker

    client = docker.from_env()
    yield partial(Training, stack, docker=client)
    client.close()


def printed(log: list[str]) -> list[int]:
    """Return the numbers of the job's lines in a task's log."""
    return [int(found[1]) for message in log if (found := re.search(r"Z line (\d+)$", message))]


def test_log_and_metrics_of_a_deferred_task_come_while_it_waits(
    train: Callable[[str], Training], stack: TrainingStack
) -> None:
    training = train("freed")
    training.until_printed("line 2")
    assert training.state() == "deferred"
    stack.until("a metric shows", lambda: "loss" in training.run().data.metrics)
    assert training.state() == "deferred"
    training.until("success")
    assert printed(training.log()) == list(range(1, LINES + 1))
    result = TrainingResult.from_dict(stack.airflow.xcom("freed", "once", "train"))
    assert result.usage is not None
    assert result.usage.cpu_seconds
    assert result.usage.unsampled_seconds < result.job_seconds / 2
    assert (training.run().info.status, training.run().data.metrics["auc"]) == ("FINISHED", 0.7)
    assert training.run().data.metrics["system/cpu_seconds"] == result.usage.cpu_seconds
    assert training.containers() == []


def test_a_killed_triggerer_costs_neither_the_job_nor_its_log(
    train: Callable[[str], Training], stack: TrainingStack
) -> None:
    training = train("freed_and_killed")
    training.until_printed("line 2")
    (container,) = training.containers()
    stack.restart_triggerer()
    assert [found.id for found in training.containers()] == [container.id]
    training.until("success")
    log = training.log()
    last = max(number for number, message in enumerate(log) if "A triggerer follows the job" in message)
    assert printed(log[last:]) == list(range(1, LINES + 1))
    result = TrainingResult.from_dict(stack.airflow.xcom(training.dag_id, "once", "train"))
    assert result.usage is not None
    assert result.usage.cpu_seconds
    assert (training.run().info.status, training.containers()) == ("FINISHED", [])


def test_the_time_limit_of_a_dag_run_stops_a_deferred_job(train: Callable[[str], Training]) -> None:
    training = train("limited")
    training.until_printed("begun")
    training.until("skipped")
    training.assert_ended_with_all_that_was_left()


def test_a_job_that_outlives_its_killed_task_is_ended_all_the_same(
    train: Callable[[str], Training], stack: TrainingStack
) -> None:
    training = train("waited_for")
    training.until_printed("begun")
    path = "/api/v2/dags/waited_for/dagRuns/once/taskInstances/train"
    stack.airflow._send("PATCH", path, {"new_state": "failed"})
    training.assert_ended_with_all_that_was_left()
    assert training.state() == "failed"


def test_a_task_ends_with_its_killed_worker_and_leaves_the_job_to_a_retry(
    train: Callable[[str], Training], stack: TrainingStack
) -> None:
    training = train("orphaned")
    training.until_printed("line 1")
    task = psutil.Process(stack.airflow._get("/api/v2/dags/orphaned/dagRuns/once/taskInstances/train")["pid"])
    worker = task.parent()
    assert worker is not None
    worker.kill()
    assert psutil.wait_procs([task], timeout=30)[0] == [task]
    assert [container.status for container in training.containers()] == ["running"]
    assert training.run().info.status == "RUNNING"
