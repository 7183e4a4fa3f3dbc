"""What it costs to wait for many deferred trainings at once.

Each is a real one: ``DockerTrainingOperator(deferrable=True)`` begins its MLflow run, starts its container, and defers.
Its trigger is then a row of Airflow's database beside a deferred task, as Airflow would write it, and one
``airflow triggerer`` picks up all of them. All of its processes count: the one that reads the database, the one that
runs the triggers, and those that serve its logs. Memory is the proportional set size (PSS): pages that several
processes share are counted once. CPU time is user and system time. Both are taken over a while in which all jobs are
followed, memory at its highest.

In the end the jobs are killed, and it is waited until Airflow's database has each task ready to go on.
"""

import datetime as dt
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from airflow_mlops.domain.job import JobLimits
from benchmarks.dags import read_dags
from benchmarks.docker_image import IMAGE
from demo.processes import Processes

THREADS = 4
PATIENCE_SECONDS = 900.0
DAG_ID = f"waiting-{os.getpid()}"
LIMITS = JobLimits(memory_mb=16, cpus=0.5, processes=8, scratch_mb=4, wall_seconds=4 * 3600)
DAG = """
from airflow.sdk import DAG
from airflow_mlops.operators.training import DockerTrainingOperator

with DAG(dag_id=DAG_ID, schedule=None):
    DockerTrainingOperator.partial(
        task_id="train",
        dataset=SNAPSHOT,
        experiment_name="waiting",
        image=IMAGE,
        program=("busybox", "sh", "-c", "echo begun; exec busybox sleep 14400"),
        limits=LIMITS,
        deferrable=True,
    ).expand(run_name=[str(number) for number in range(JOBS)])
"""


def measure_waiting(processes: Processes, snapshot: dict[str, Any], jobs: int, seconds: float) -> dict[str, float]:
    """Return how many jobs were waited for, and the cores and megabytes of the triggerer meanwhile."""
    constants = {"DAG_ID": DAG_ID, "SNAPSHOT": snapshot, "IMAGE": IMAGE, "LIMITS": LIMITS.to_dict(), "JOBS": jobs}
    dag = read_dags("waiting", DAG, constants)[DAG_ID]
    with _removed_in_the_end():
        started = _start_jobs(dag, jobs)
        _write_down(dag, started)
        triggerer = processes.start(
            "triggerer",
            [sys.executable, "-m", "airflow", "triggerer", "--capacity", str(max(1000, jobs))],
            env={**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO", "NO_COLOR": "1"},
        )
        _wait(lambda: _followed(triggerer.log) == jobs, f"The triggerer does not follow {jobs} jobs", triggerer.log)
        usage = _measure(psutil.Process(triggerer.process.pid), seconds)
        begun = time.monotonic()
        _remove_jobs()
        _wait(lambda: _resumable() == jobs, "Not all ends of jobs were seen", triggerer.log)
        print(f"all {jobs} ends were seen, {time.monotonic() - begun:.0f} s after the first of them", flush=True)
    return {"waiting_jobs": jobs, **usage}


def _start_jobs(dag: Any, jobs: int) -> list[Any]:
    """Start the trainings as a worker does, and return the triggers that they defer with."""
    from airflow.sdk.exceptions import TaskDeferred

    mapped = dag.get_task("train")

    def start(number: int) -> Any:
        ti = SimpleNamespace(
            dag_id=DAG_ID,
            run_id="waiting",
            task_id="train",
            map_index=number,
            try_number=1,
            max_tries=0,
            xcom_push=lambda **_: None,
        )
        context: Any = {
            "ti": ti,
            "dag": SimpleNamespace(folder="/"),
            "dag_run": SimpleNamespace(clear_number=0),
            "task_state_store": SimpleNamespace(get=lambda _: None, set=lambda *_: None, delete=lambda _: None),
        }
        operator = mapped.operator_class(**{**mapped.partial_kwargs, "task_id": "train", "run_name": str(number)})
        try:
            operator.execute(context)
        except TaskDeferred as deferred:
            return deferred.trigger
        raise AssertionError

    begun = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        triggers = list(pool.map(start, range(jobs)))
    print(f"{jobs} jobs were started in {time.monotonic() - begun:.0f} s", flush=True)
    return triggers


def _write_down(dag: Any, triggers: list[Any]) -> None:
    """Write the triggers into Airflow's database, each with its deferred task."""
    from airflow.models.trigger import Trigger
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    now = dt.datetime.now(dt.UTC)
    with create_session() as session:
        run = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).create_dagrun(
            run_id="waiting",
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            run_type=DagRunType.MANUAL,
            state=DagRunState.RUNNING,
            triggered_by=DagRunTriggeredByType.TEST,
            start_date=now,
            session=session,
        )
        tasks = {task.map_index: task for task in run.get_task_instances(session=session)}
        for number, trigger in enumerate(triggers):
            row = Trigger(*trigger.serialize())
            session.add(row)
            session.flush()
            tasks[number].trigger_id = row.id
            tasks[number].state = TaskInstanceState.DEFERRED
            tasks[number].start_date = now
            tasks[number].next_method = "execute_complete"
            tasks[number].next_kwargs = {}


def _measure(process: psutil.Process, seconds: float) -> dict[str, float]:
    """Return the cores and megabytes of a process and all below it, over so many seconds."""
    family = [process, *process.children(recursive=True)]
    before, begun, highest = _cpu_seconds(family), time.monotonic(), 0.0
    while time.monotonic() - begun < seconds:
        highest = max(highest, sum(member.memory_full_info().pss for member in family) / 1e6)
        time.sleep(min(2.0, seconds))
    cores = (_cpu_seconds(family) - before) / (time.monotonic() - begun)
    for member in family:
        name = " ".join(member.cmdline())[:80]
        print(f"  {member.memory_full_info().pss / 1e6:6.0f} MB  {_cpu_seconds([member]):6.1f} s so far  {name}")
    print(f"waiting took {cores:.3f} cores and {highest:.0f} MB, all {len(family)} processes together", flush=True)
    return {"triggerer_cores": round(cores, 3), "triggerer_mb": round(highest)}


def _cpu_seconds(family: list[psutil.Process]) -> float:
    return sum(sum(member.cpu_times()[:2]) for member in family)


def _followed(log: Path) -> int:
    """Return how many triggers run, as the triggerer tells once a minute."""
    told = re.findall(r"(\d+) triggers currently running", log.read_text(errors="replace"))
    return int(told[-1]) if told else 0


def _resumable() -> int:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import func, select

    ready = TaskInstance.state == TaskInstanceState.SCHEDULED
    with create_session() as session:
        return session.scalar(select(func.count()).where(TaskInstance.dag_id == DAG_ID, ready)) or 0


def _wait(is_done: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            msg = f"{what}, in {PATIENCE_SECONDS:.0f} s. The end of its log:\n{log.read_text(errors='replace')[-4000:]}"
            raise RuntimeError(msg)
        time.sleep(1)


@contextmanager
def _removed_in_the_end() -> Iterator[None]:
    try:
        yield
    finally:
        _remove_jobs()


def _remove_jobs() -> None:
    """Remove the containers of this benchmark, and of no other."""
    import docker

    with closing(docker.from_env(timeout=600)) as client:

        def remove(job_id: str) -> None:
            with suppress(docker.errors.NotFound):
                client.api.remove_container(job_id, force=True, v=True)

        found = client.api.containers(all=True, filters={"label": f"airflow-mlops.dag-id={DAG_ID}"})
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(remove, [container["Id"] for container in found]))
