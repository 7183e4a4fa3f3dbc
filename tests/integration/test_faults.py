"""Training jobs over whatever happens: killed workers and triggerers, people who stop them, and time that is up."""

import asyncio
import datetime as dt
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops.domain.job import LABEL_WORK_KEY
from airflow_mlops.domain.registry import TAG_FAILURE
from airflow_mlops.domain.training import TrainingResult
from airflow_mlops.engines.docker.aio import AsyncDocker
from airflow_mlops.engines.docker.watch import HostWatch
from airflow_mlops.exceptions import (
    DockerUnavailableError,
    InvalidInputError,
    JobOutOfDiskError,
    JobStoppedError,
    JobTimeoutError,
)
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.triggers.docker import DockerJobTrigger

from .faults import KILL_POINTS, Try

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = [pytest.mark.integration, pytest.mark.docker]

GOOD = """
    cd $SAGEMAKER_BASE_DIR
    echo training
    busybox sleep 2
    echo "{\\"auc\\": 0.$(busybox tr -dc 1-9 < /proc/sys/kernel/random/uuid)}" > output/data/metrics.json
    echo '{"step": 1, "loss": 0.5}' > output/data/metrics.jsonl
    busybox date > model/MLmodel
"""
LONG = "trap 'echo stopping; exit 143' TERM; echo half > /opt/ml/output/data/part; echo begun; sleep 60 & wait"


class Work:
    """One training, and what there is of it in Docker and in MLflow."""

    def __init__(self, folder: Path, fields: dict[str, Any], docker: "DockerClient", mlflow: "MlflowClient") -> None:
        self.folder, self.fields, self.docker, self.mlflow = folder, fields, docker, mlflow
        self.begun = int(time.time())

    def attempt(self, **numbers: int) -> Try:
        return Try(self.folder, self.fields, **numbers)

    @property
    def label(self) -> str:
        from airflow_mlops.operators.base import work_key_of

        return f"{LABEL_WORK_KEY}={work_key_of(self.attempt().context)}"

    def containers(self) -> list["Container"]:
        return self.docker.containers.list(all=True, ignore_removed=True, filters={"label": self.label})

    def jobs(self) -> int:
        """Return how many containers were ever started for it."""
        events = self.docker.events(
            since=self.begun,
            until=int(time.time()) + 1,
            filters={"type": "container", "event": ["start"], "label": self.label},
            decode=True,
        )
        return len(list(events))

    def runs(self) -> list["Run"]:
        experiment = self.mlflow.get_experiment_by_name(self.fields["experiment_name"])
        assert experiment is not None
        return list(self.mlflow.search_runs([experiment.experiment_id]))

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 60
        while not any(words in str(container.logs()) for container in self.containers()):
            assert time.monotonic() < deadline, f"the job never said {words!r}"
            time.sleep(0.1)

    def artifacts(self, run: "Run") -> set[str]:
        found: set[str] = set()
        folders = [""]
        while folders:
            for item in self.mlflow.list_artifacts(run.info.run_id, folders.pop()):
                (folders.append if item.is_dir else found.add)(item.path)
        return found

    def assert_done_once(self, answer: dict[str, Any], *, jobs: int = 1) -> None:
        """There is one job, one run, one set of metrics and one model, and nothing is left over."""
        result = TrainingResult.from_dict(answer)
        (run,) = self.runs()
        assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
        for name in run.data.metrics:
            steps = [point.step for point in self.mlflow.get_metric_history(run.info.run_id, name)]
            assert len(steps) == len(set(steps)), name
        assert run.data.metrics["auc"] == result.metrics["auc"]
        (model,) = self.mlflow.search_logged_models([run.info.experiment_id])
        assert (model.model_id, str(model.status)) == (result.model_id, "READY")
        assert self.containers() == []
        assert self.jobs() == jobs

    def assert_stopped(self, status: str = "KILLED") -> None:
        """The job and its run have ended, what the job had left is kept, and there is no container."""
        (run,) = self.runs()
        assert run.info.status == status
        assert run.data.tags[TAG_FAILURE]
        assert {"job/log.txt", "job/output/data/part"} <= self.artifacts(run)
        log = Path(self.mlflow.download_artifacts(run.info.run_id, "job/log.txt")).read_text()
        assert "begun" in log
        assert "Z begun" in log
        assert self.containers() == []


@pytest.fixture
def make_work(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    shell_image: str,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Work]]:
    import docker
    from mlflow import MlflowClient

    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    (tmp_path / "source.csv").write_text("n\n1\n2\n")
    taking = DatasetSnapshotOperator(task_id="take", dataset_name="numbers", source=str(tmp_path / "source.csv"))

    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {taking.asset: SimpleNamespace(extra=None)}}
    snapshot = taking.execute(context)
    client = docker.from_env()
    works: list[Work] = []

    def make(program: str, *, wall_seconds: float = 60, **fields: Any) -> Work:
        fields = {
            "image": shell_image,
            "dataset": snapshot,
            "experiment_name": f"{request.node.name} {tmp_path}",
            "limits": {"memory_mb": 64, "cpus": 1.0, "scratch_mb": 4, "wall_seconds": wall_seconds},
            "program": program,
            **fields,
        }
        works.append(Work(tmp_path, fields, client, MlflowClient(mlflow_server)))
        return works[-1]

    yield make
    for work in works:
        for container in work.containers():
            container.remove(force=True, v=True)
    client.close()


SAYING = """
    cd $SAGEMAKER_BASE_DIR
    for i in 1 2 3 4 5 6 7 8; do
        echo "line $i"
        echo "{\\"step\\": $i, \\"loss\\": 0.$i}" >> output/data/metrics.jsonl
        sleep 0.7
    done
    echo '{"auc": 0.7}' > output/data/metrics.json
    echo > model/MLmodel
"""


def complete(attempt: Try, *, deferrable: bool) -> Any:
    """Do the task in either mode."""
    return attempt.resume(asyncio.run(first_event(attempt.defer().trigger))) if deferrable else attempt.execute()


async def first_event(trigger: DockerJobTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return dict(event.payload)
    raise AssertionError


# The worker is killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", KILL_POINTS)
def test_after_a_kill_the_retry_ends_with_one_of_everything(make_work: Callable[..., Work], point: str) -> None:
    work = make_work(GOOD)
    work.attempt().die(point)
    work.assert_done_once(work.attempt(try_number=2).execute())


def test_many_kills_in_a_row_change_nothing(make_work: Callable[..., Work]) -> None:
    work = make_work(GOOD)
    points = ("after submit", "while collecting", "after the metrics", "after the run has ended")
    for number, point in enumerate(points, start=1):
        work.attempt(try_number=number, max_tries=5).die(point)
    work.assert_done_once(work.attempt(try_number=5, max_tries=5).execute())


def test_a_failure_that_nobody_recorded_is_found_by_the_retry(make_work: Callable[..., Work]) -> None:
    from airflow_mlops.exceptions import JobFailedError

    work = make_work("echo half > /opt/ml/output/data/part; echo begun; exit 3")
    work.attempt().die("before collecting")
    with pytest.raises(JobFailedError, match="exit status 3"):
        work.attempt(try_number=2).execute()
    work.assert_stopped("FAILED")
    assert work.jobs() == 1


def test_a_retry_that_cannot_begin_ends_the_job_of_the_try_before(make_work: Callable[..., Work]) -> None:
    work = make_work(LONG)
    work.attempt().die("while the job runs")
    work.wait_for("begun")
    (run,) = work.runs()
    work.mlflow.delete_experiment(run.info.experiment_id)
    with pytest.raises(InvalidInputError, match="was deleted"):
        work.attempt(try_number=2).execute()
    assert work.containers() == []


@pytest.mark.parametrize("point", ["after submit", "while collecting", "after the result is written down"])
def test_a_freed_worker_may_be_killed_before_and_after(make_work: Callable[..., Work], point: str) -> None:
    work = make_work(GOOD, deferrable=True)
    is_later = point != "after submit"
    if is_later:
        asyncio.run(first_event(work.attempt().defer().trigger))
    work.attempt().die(point, resume=is_later)
    retry = work.attempt(try_number=2)
    if point == "after the result is written down":
        answer = retry.execute()
    else:
        answer = retry.resume(asyncio.run(first_event(retry.defer().trigger)))
    work.assert_done_once(answer)


# A retry and a new beginning -----------------------------------------------------------------------------------------


def test_a_task_that_is_cleared_after_its_success_trains_anew(make_work: Callable[..., Work]) -> None:
    work = make_work(GOOD)
    first = work.attempt().execute()
    second = work.attempt(try_number=2, max_tries=4, clear_number=1).execute()
    assert first["run_id"] != second["run_id"]
    assert work.jobs() == 2


def test_a_task_that_is_cleared_under_way_ends_the_run_of_before(make_work: Callable[..., Work]) -> None:
    work = make_work(GOOD)
    work.attempt().die("while the job runs")
    work.attempt(try_number=2, max_tries=4, clear_number=1).execute()
    assert sorted(run.info.status for run in work.runs()) == ["FINISHED", "KILLED"]
    assert work.containers() == []


# Deferred ------------------------------------------------------------------------------------------------------------


def test_a_freed_worker_ends_with_the_same_as_one_that_waits(make_work: Callable[..., Work]) -> None:
    work = make_work(GOOD, deferrable=True)
    trigger = work.attempt().defer().trigger
    name, arguments = trigger.serialize()
    assert name == "airflow_mlops.triggers.docker.DockerJobTrigger"
    again = DockerJobTrigger(**json.loads(json.dumps(arguments)))
    answer = work.attempt().resume(asyncio.run(first_event(again)))
    work.assert_done_once(answer)


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_wall_time_is_the_same_limit_in_both_modes(make_work: Callable[..., Work], deferrable: bool) -> None:
    work = make_work(LONG, wall_seconds=3, deferrable=deferrable)
    with pytest.raises(JobTimeoutError, match="may run 3 s"):
        complete(work.attempt(), deferrable=deferrable)
    work.assert_stopped("FAILED")


@pytest.mark.parametrize("deferrable", [False, True])
def test_many_small_files_are_out_of_disk_in_both_modes(make_work: Callable[..., Work], deferrable: bool) -> None:
    script = "while true; do i=$((i+1)); dd if=/dev/zero of=/opt/ml/output/data/$i bs=64k count=1 2>/dev/null; done"
    work = make_work(script, deferrable=deferrable)
    with pytest.raises(JobOutOfDiskError, match="Disk quota exceeded: /opt/ml holds"):
        complete(work.attempt(), deferrable=deferrable)
    (run,) = work.runs()
    assert run.info.status == "FAILED"
    assert work.containers() == []


def test_a_restart_of_the_triggerer_stops_nothing(make_work: Callable[..., Work]) -> None:
    work = make_work(GOOD.replace("sleep 2", "sleep 6"), deferrable=True)
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)

    async def shut_down() -> None:
        waiting = asyncio.create_task(first_event(trigger))
        await asyncio.sleep(2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await trigger.cleanup()

    asyncio.run(shut_down())
    (container,) = work.containers()
    assert container.status == "running"
    work.assert_done_once(work.attempt().resume(asyncio.run(first_event(trigger))))


def test_many_jobs_share_one_connection_to_their_host(
    make_work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: list[dt.datetime] = []
    ends = AsyncDocker.ends

    def counted(self: AsyncDocker, since: dt.datetime) -> Any:
        streams.append(since)
        return ends(self, since)

    monkeypatch.setattr(AsyncDocker, "ends", counted)
    work = make_work("sleep 3", deferrable=True)
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)

    async def wait() -> list[dict[str, Any]]:
        return await asyncio.gather(*(first_event(DockerJobTrigger(**trigger.serialize()[1])) for _ in range(20)))

    assert [event["error"] for event in asyncio.run(wait())] == [None] * 20
    assert len(streams) == 1
    assert not HostWatch._watches


def test_the_end_of_a_job_is_seen_when_the_connection_was_lost(
    make_work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: AsyncDocker, since: dt.datetime) -> Any:
        msg = "it does not answer"
        raise DockerUnavailableError(msg)

    monkeypatch.setattr(AsyncDocker, "ends", broken)
    work = make_work("sleep 3", deferrable=True)
    assert asyncio.run(first_event(work.attempt().defer().trigger))["error"] is None


def test_a_host_that_is_lost_is_told_and_the_retry_goes_on(
    make_work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops.engines.docker import DockerEngine

    work = make_work(GOOD, deferrable=True)
    trigger = work.attempt().defer().trigger

    async def lost(self: AsyncDocker) -> Any:
        msg = "The Docker host does not answer"
        raise DockerUnavailableError(msg)

    async def impatient(_: object) -> DockerEngine:
        return DockerEngine(patience_seconds=1)

    with monkeypatch.context() as patch:
        patch.setattr(AsyncDocker, "now", lost)
        patch.setattr("airflow_mlops.hooks.docker.DockerHostHook.aengine", impatient)
        event = asyncio.run(first_event(trigger))
    with pytest.raises(DockerUnavailableError, match="does not answer"):
        work.attempt().resume(event)
    retry = work.attempt(try_number=2)
    work.assert_done_once(retry.resume(asyncio.run(first_event(retry.defer().trigger))))


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return what the job has printed into the log so far, which is Airflow's standard output here."""
    output: list[str] = []

    def lines() -> list[str]:
        output.append(capfd.readouterr().out)
        return re.findall(r"Z (line \d+)", "".join(output))

    return lines


@pytest.mark.parametrize("deferrable", [False, True])
def test_log_metrics_and_usage_are_those_of_the_job_in_both_modes(
    make_work: Callable[..., Work], printed: Callable[[], list[str]], deferrable: bool
) -> None:
    work = make_work(SAYING, deferrable=deferrable)
    answer = TrainingResult.from_dict(complete(work.attempt(), deferrable=deferrable))
    assert printed() == [f"line {i}" for i in range(1, 9)]
    assert answer.usage is not None
    assert answer.usage.cpu_seconds
    assert answer.usage.peak_memory_bytes
    assert answer.usage.unsampled_seconds < answer.job_seconds
    (run,) = work.runs()
    assert run.data.metrics["system/cpu_seconds"] == answer.usage.cpu_seconds
    history = work.mlflow.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(i, i / 10) for i in range(1, 9)]


def test_log_and_metrics_come_while_a_freed_job_runs(
    make_work: Callable[..., Work], printed: Callable[[], list[str]]
) -> None:
    work = make_work(SAYING.replace("sleep 0.7", "sleep 3"), deferrable=True)
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)

    async def watch() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(trigger))
        while not (printed() and work.runs()[0].data.metrics.get("loss")):
            assert not waiting.done()
            await asyncio.sleep(0.2)
        return await waiting

    asyncio.run(watch())


def test_a_new_triggerer_goes_on_and_the_worker_prints_only_what_is_missing(
    make_work: Callable[..., Work], printed: Callable[[], list[str]]
) -> None:
    """The log is whole in the new triggerer's file and the worker's together, which is what is left of a dead one."""
    work = make_work(SAYING, deferrable=True)
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)

    async def interrupted() -> None:
        waiting = asyncio.create_task(first_event(trigger))
        while len(printed()) < 2:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(interrupted())
    before = len(printed())
    answer = work.attempt().resume(asyncio.run(first_event(trigger)))
    assert printed()[before:] == [f"line {i}" for i in range(1, 9)]
    work.assert_done_once(answer)


def test_a_freed_job_shows_its_secrets_nowhere(
    make_work: Callable[..., Work], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_API_TOKEN", "s3cr3t-token")
    tell = "echo half > /opt/ml/output/data/part; cat /opt/ml/input/secrets/token; echo; echo begun; sleep 60"
    work = make_work(tell, deferrable=True, secrets={"token": "var:api_token"})
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)
    assert "s3cr3t-token" not in json.dumps(trigger.serialize()[1])
    output: list[str] = []

    async def follow_and_kill() -> None:
        waiting = asyncio.create_task(first_event(trigger))
        while "Z begun" not in "".join(output):
            output.append(capfd.readouterr().out)
            await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(follow_and_kill())
    work.assert_stopped()
    log = Path(work.mlflow.download_artifacts(work.runs()[0].info.run_id, "job/log.txt")).read_text()
    for text in ("".join(output), log):
        assert "Z ***" in text
        assert "s3cr3t-token" not in text


# Stop means stop -----------------------------------------------------------------------------------------------------


def test_a_worker_that_is_asked_to_end_stops_its_job(make_work: Callable[..., Work]) -> None:
    work = make_work(LONG)
    process = work.attempt().begin()
    work.wait_for("begun")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    work.assert_stopped()


def test_the_time_of_the_task_is_up(make_work: Callable[..., Work]) -> None:
    from airflow.sdk.exceptions import AirflowTaskTimeout
    from airflow.sdk.execution_time.timeout import timeout

    work = make_work(LONG)
    with pytest.raises(AirflowTaskTimeout), timeout(6):  # type: ignore[no-untyped-call]  # Airflow's
        work.attempt().execute()
    work.assert_stopped()


def test_the_time_of_the_trigger_is_up(make_work: Callable[..., Work]) -> None:
    from airflow.sdk.exceptions import TaskDeferralTimeout

    work = make_work(LONG, deferrable=True, execution_timeout=dt.timedelta(seconds=5))
    deferred = work.attempt().defer()
    assert deferred.timeout == dt.timedelta(seconds=5)
    work.wait_for("begun")
    with pytest.raises(TaskDeferralTimeout):
        work.attempt().operator.resume_execution("__fail__", {"error": "Trigger timeout"}, work.attempt().context)
    work.assert_stopped()


def test_a_freed_task_that_is_marked_failed_or_cleared_stops_its_job(make_work: Callable[..., Work]) -> None:
    work = make_work(LONG, deferrable=True)
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)
    work.wait_for("begun")
    asyncio.run(trigger.on_kill())
    work.assert_stopped()


@pytest.mark.parametrize("is_host_lost", [False, True])
def test_a_killed_task_ends_its_run_whatever_became_of_the_container(
    make_work: Callable[..., Work], monkeypatch: pytest.MonkeyPatch, is_host_lost: bool
) -> None:
    work = make_work(LONG, deferrable=True)
    trigger = work.attempt().defer().trigger
    assert isinstance(trigger, DockerJobTrigger)
    if is_host_lost:
        monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
        with pytest.raises(DockerUnavailableError):
            asyncio.run(trigger.on_kill())
    else:
        (container,) = work.containers()
        container.remove(force=True, v=True)
        asyncio.run(trigger.on_kill())
    (run,) = work.runs()
    assert run.info.status == "KILLED"
    assert "marked failed" in run.data.tags[TAG_FAILURE]


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_container_of_a_failed_job_can_be_kept(make_work: Callable[..., Work], deferrable: bool) -> None:
    work = make_work("echo begun; exit 143", keep_on_failure=True, deferrable=deferrable)
    with pytest.raises(JobStoppedError):
        complete(work.attempt(max_tries=0), deferrable=deferrable)
    (kept,) = work.containers()
    assert "-kept-" in str(kept.name)
    assert b"begun" in kept.logs()
