"""What a training costs beside the job itself, against DockerOperator; and what it costs to wait for many jobs at once.

    JOBS=500 REPEATS=5 SECONDS=60 python benchmarks/training.py

Needs a Docker engine and busybox (Debian: busybox-static). Overhead is the wall time of ``execute`` less the job's own,
the median of the repeats. Both do the same training: the same container on the same rows, with its parameters, metrics
and model in an MLflow server of this benchmark. DockerOperator mounts its folders and runs here without hard limits, as
it does unless told; what then logs to MLflow is the client's plain calls.

The waiting jobs are real containers. One process runs their triggers in one event loop, as a triggerer does; its CPU
and memory are those of that process, Airflow's SDK and triggers included, the triggerer's own database loop not.
Times are noisy. The last line is JSON.
"""

import asyncio
import io
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_HOME = tempfile.TemporaryDirectory(prefix="airflow-mlops-benchmark-")
os.environ |= {  # Airflow reads these when it is imported.
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__MLOPS__ARTIFACTS_ROOT": f"{_HOME.name}/artifacts",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

import docker  # noqa: E402
import psutil  # noqa: E402

from airflow_mlops.domain.job import Job, JobCommand, JobHandle, JobLimits  # noqa: E402
from airflow_mlops.engines.docker import DockerEngine  # noqa: E402
from airflow_mlops.operators.dataset import DatasetSnapshotOperator  # noqa: E402
from airflow_mlops.operators.training import DockerTrainingOperator  # noqa: E402
from airflow_mlops.triggers.docker import DockerJobTrigger  # noqa: E402
from demo.mlflow import start_mlflow, wait_for_mlflow  # noqa: E402
from demo.processes import Processes  # noqa: E402

JOBS = int(os.environ.get("JOBS", "500"))
REPEATS = int(os.environ.get("REPEATS", "5"))
SECONDS = float(os.environ.get("SECONDS", "60"))
IMAGE = f"airflow-mlops/benchmark:{os.getpid()}"
JOB_SECONDS = 2.0
SCRIPT = f"""
busybox sleep {JOB_SECONDS}
echo '{{"auc": 0.7}}' > /opt/ml/output/data/metrics.json
echo 'flavors: {{}}' > /opt/ml/model/MLmodel
"""
LIMITS = JobLimits(memory_mb=16, cpus=0.5, processes=8, scratch_mb=4, wall_seconds=7200)


def make_image(client: docker.DockerClient) -> None:
    """Import a busybox as an image."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(str(shutil.which("busybox")), "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    repository, _, tag = IMAGE.partition(":")
    client.api.import_image_from_data(stream.getvalue(), repository=repository, tag=tag)


def take_snapshot(folder: Path) -> dict[str, Any]:
    """Take a snapshot of a few rows."""
    (folder / "rows.csv").write_text("n\n" + "\n".join(map(str, range(1000))))
    operator = DatasetSnapshotOperator(task_id="take", dataset_name="rows", source=str(folder / "rows.csv"))
    context: Any = {"outlet_events": {operator.asset: SimpleNamespace(extra=None)}}
    return operator.execute(context)


class Store(dict[str, Any]):
    """Airflow's task state store."""

    set = dict.__setitem__

    def delete(self, key: str) -> None:
        self.pop(key, None)


def train_here(snapshot: dict[str, Any]) -> float:
    """Return the seconds that DockerTrainingOperator adds to its job's."""
    operator = DockerTrainingOperator(
        task_id="train",
        dataset=snapshot,
        experiment_name="benchmark",
        hyperparameters={"depth": 3},
        image=IMAGE,
        program=("sh", "-c", SCRIPT),
        limits=LIMITS,
        run_name="ours",
    )
    ti = SimpleNamespace(
        dag_id="benchmark",
        run_id=uuid.uuid4().hex,
        task_id="train",
        map_index=-1,
        try_number=1,
        max_tries=0,
        xcom_push=lambda **_: None,
    )
    context: Any = {"ti": ti, "dag": SimpleNamespace(folder="/"), "dag_run": SimpleNamespace(clear_number=0)}
    begun = time.monotonic()
    result = operator.execute({**context, "task_state_store": Store()})
    return time.monotonic() - begun - float(result["job_seconds"])


def train_there(snapshot: dict[str, Any], uri: str) -> float:
    """Return the seconds that DockerOperator and the logging that one writes oneself add to the job's."""
    # Here, since the process that waits imports this file, too.
    from airflow.providers.docker.operators.docker import DockerOperator
    from docker.types import Mount
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("input/data/train", "model", "output/data"):
            (Path(folder) / name).mkdir(parents=True)
        for part in Path(snapshot["uri"]).glob("*.parquet"):
            shutil.copy(part, Path(folder) / "input/data/train")
        train = DockerOperator(
            task_id="train",
            image=IMAGE,
            command=["sh", "-c", SCRIPT],
            mounts=[Mount("/opt/ml", folder, type="bind")],
            mount_tmp_dir=False,
            network_mode="none",
            auto_remove="never",
        )
        ti: Any = SimpleNamespace(xcom_push=lambda **_: None)
        train.execute({"ti": ti})  # type: ignore[typeddict-item]  # all it uses
        mlflow = MlflowClient(uri)
        experiment_id = mlflow.search_experiments(filter_string="name = 'benchmark'")[0].experiment_id
        run = mlflow.create_run(experiment_id, run_name="theirs")
        mlflow.log_inputs(run.info.run_id, [DatasetInput(Dataset("rows", snapshot["digest"][:36], "local", "{}"), [])])
        mlflow.log_param(run.info.run_id, "depth", 3)
        mlflow.set_tag(run.info.run_id, "image", IMAGE)
        metrics = json.loads((Path(folder) / "output/data/metrics.json").read_text())
        for name, value in metrics.items():
            mlflow.log_metric(run.info.run_id, name, value)
        model = mlflow.create_logged_model(experiment_id, name="model", source_run_id=run.info.run_id)
        mlflow.log_model_artifacts(model.model_id, f"{folder}/model")
        mlflow.finalize_logged_model(model.model_id, "READY")
        mlflow.set_terminated(run.info.run_id, "FINISHED")
        client = docker.from_env()
        container = client.containers.get(train.container["Id"])
        container.remove(v=True)  # what auto_remove would have done
        wall = time.monotonic() - begun
        client.close()
        return wall - _job_seconds(container.attrs["State"])


def _job_seconds(state: dict[str, str]) -> float:
    return (datetime.fromisoformat(state["FinishedAt"]) - datetime.fromisoformat(state["StartedAt"])).total_seconds()


def measure_overhead(folder: Path) -> float:
    """Return our overhead as a share of DockerOperator's."""
    with Processes(folder) as processes:
        uri = start_mlflow(processes, folder, processes.claim_port(0))
        wait_for_mlflow(processes, uri)
        os.environ["AIRFLOW_CONN_MLFLOW_DEFAULT"] = json.dumps({"conn_type": "mlflow", "host": uri})
        snapshot = take_snapshot(folder)
        train_here(snapshot), train_there(snapshot, uri)  # what is imported and connected once
        pairs = [(train_here(snapshot), train_there(snapshot, uri)) for _ in range(REPEATS)]
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"overhead of a training: {ours:.2f} s, with DockerOperator {theirs:.2f} s", flush=True)
    return ours / theirs


def start_jobs(folder: Path) -> list[JobHandle]:
    """Start the jobs that wait; as many as the engine can hold."""
    (folder / "part.parquet").write_bytes(b"rows")
    engine = DockerEngine()

    def start(_: int) -> JobHandle | None:
        job = Job(
            work_key=uuid.uuid4().hex,
            command=JobCommand.TRAIN,
            hyperparameters={},
            channels={"train": folder},
            image=IMAGE,
            program=("busybox", "sh", "-c", "sleep 7200"),
            limits=LIMITS,
        )
        try:
            return engine.submit(job)
        except Exception as error:  # noqa: BLE001 - the engine holds no more
            print(f"not started: {error}", file=sys.stderr)
            return None

    begun = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        handles = [handle for handle in pool.map(start, range(JOBS)) if handle]
    print(f"{len(handles)} of {JOBS} jobs were started in {time.monotonic() - begun:.0f} s", flush=True)
    return handles


def run_triggers(handles: list[dict[str, Any]], pipe: Connection) -> None:
    """Wait for all jobs, as one triggerer does, and tell how many ends were seen."""

    async def wait(handle: dict[str, Any]) -> None:
        trigger = DockerJobTrigger(
            handle=handle, limits=LIMITS.to_dict(), run_id="", docker_conn_id=None, mlflow_conn_id="mlflow_default"
        )
        async for event in trigger.run():
            assert event.payload["error"] is None  # noqa: S101

    async def wait_for_all() -> None:
        waiting = [asyncio.create_task(wait(handle)) for handle in handles]
        pipe.send("waiting")
        await asyncio.gather(*waiting)

    asyncio.run(wait_for_all())
    pipe.send("ended")


def measure_waiting(handles: list[JobHandle]) -> tuple[float, float]:
    """Return the cores and the megabytes of one process that waits for all jobs, its first seconds included."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=run_triggers, args=([handle.to_dict() for handle in handles], theirs)
    )
    process.start()
    assert ours.recv() == "waiting"  # noqa: S101
    watched = psutil.Process(process.pid)
    before, begun, memory = sum(watched.cpu_times()[:2]), time.monotonic(), 0
    while time.monotonic() - begun < SECONDS:
        time.sleep(1)
        memory = max(memory, watched.memory_info().rss)
    cores = (sum(watched.cpu_times()[:2]) - before) / (time.monotonic() - begun)
    print(f"waiting: {cores:.3f} cores, {memory / 1e6:.0f} MB", flush=True)
    begun = time.monotonic()
    remove_jobs(handles)
    assert ours.recv() == "ended"  # noqa: S101
    process.join()
    print(f"all {len(handles)} ends were seen, {time.monotonic() - begun:.0f} s after the first removal", flush=True)
    return cores, memory / 1e6


def remove_jobs(handles: list[JobHandle]) -> None:
    engine = DockerEngine()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(engine.remove, [handle.work_key for handle in handles]))


def main() -> None:
    client = docker.from_env()
    make_image(client)
    handles: list[JobHandle] = []
    try:
        overhead = measure_overhead(Path(_HOME.name))
        (folder := Path(_HOME.name) / "channel").mkdir()
        handles = start_jobs(folder)
        cores, megabytes = measure_waiting(handles)
    finally:
        remove_jobs(handles)
        client.images.remove(IMAGE, force=True)
        client.close()
    result = {
        "overhead_vs_docker_operator": round(overhead, 3),
        "waiting_jobs": len(handles),
        "triggerer_cores": round(cores, 3),
        "triggerer_mb": round(megabytes),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
