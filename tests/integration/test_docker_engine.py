"""Jobs in real containers: every way in which one can end, what a retry finds, and how little a job may do."""

import gc
import re
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops.domain.job import LABEL_WORK_KEY, Job, JobCommand, JobLimits, JobResult, JobState
from airflow_mlops.domain.job_end import require_success
from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.exceptions import (
    DockerUnavailableError,
    ImageNotFoundError,
    ImageRegistryUnavailableError,
    InvalidInputError,
    JobOutOfMemoryError,
    JobOutputError,
)

from .conftest import SHELL_IMAGE, SHELL_REVISION, Registry

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

pytestmark = [pytest.mark.integration, pytest.mark.docker]

MakeJob = Callable[..., Job]
Run = Callable[..., JobResult]


@pytest.fixture
def client(docker_engine: None) -> Iterator["DockerClient"]:
    import docker

    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def engine(docker_engine: None) -> DockerEngine:
    return DockerEngine(grace_seconds=1)


@pytest.fixture
def work_key(engine: DockerEngine) -> Iterator[str]:
    key = uuid.uuid4().hex
    yield key
    engine.remove(key)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def make_job(tmp_path: Path, shell_image: str, work_key: str) -> MakeJob:
    channel = tmp_path / "channel"
    channel.mkdir()
    (channel / "part-0.parquet").write_bytes(b"rows")
    (channel / "manifest.json").write_bytes(b"not for the job")

    def make(script: str, *, wall_seconds: float = 60, **fields: Any) -> Job:
        fields = {
            "image": shell_image,
            "program": ("sh", "-c", textwrap.dedent(script), "job"),
            "limits": JobLimits(memory_mb=64, cpus=1, processes=32, scratch_mb=4, wall_seconds=wall_seconds),
            **fields,
        }
        return Job(
            work_key=work_key,
            command=JobCommand.TRAIN,
            hyperparameters={"depth": "3"},
            channels={"train": channel},
            **fields,
        )

    return make


@pytest.fixture
def run(engine: DockerEngine, make_job: MakeJob, output: Path, log: list[str]) -> Run:
    def add(line: str) -> None:
        log.append(re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", "", line))

    return lambda script, **fields: engine.run(make_job(script, **fields), output, add)


def containers(client: "DockerClient", work_key: str) -> list["Container"]:
    return client.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL_WORK_KEY}={work_key}"})


def test_a_job_finds_its_inputs_and_leaves_a_model(run: Run, output: Path, log: list[str]) -> None:
    result = run(
        """
        cd $SAGEMAKER_BASE_DIR
        echo $1
        ls input/data/train
        cat input/config/hyperparameters.json
        cat input/data/train/part-0.parquet > model/MLmodel
        echo '{"auc": 0.7}' > output/data/metrics.json
        """
    )
    assert result.state is JobState.SUCCEEDED
    assert log == ["train", "part-0.parquet", "{", '  "depth": "3"', "}"]
    assert (output / "model/MLmodel").read_bytes() == b"rows"
    assert (output / "output/data/metrics.json").read_text() == '{"auc": 0.7}\n'


def test_results_are_found_among_much_else(run: Run, output: Path) -> None:
    run(
        """
        dd if=/dev/zero of=/opt/ml/checkpoint bs=1M count=2
        echo '{}' > /opt/ml/output/data/metrics.json
        echo > /opt/ml/model/MLmodel
        """
    )
    assert {path.name for path in output.rglob("*") if path.is_file()} == {"MLmodel", "metrics.json"}


def test_a_job_that_scores_finds_the_model(run: Run, tmp_path: Path, log: list[str]) -> None:
    (tmp_path / "given" / "deep").mkdir(parents=True)
    (tmp_path / "given" / "deep" / "weights").write_text("w")
    run("cat /opt/ml/model/deep/weights; rm /opt/ml/model/deep/weights && echo removed", model=tmp_path / "given")
    assert log == ["wremoved"]


def test_the_image_is_known_by_what_it_is_and_from_what_it_was_built(run: Run, client: "DockerClient") -> None:
    result = run("true")
    assert result.code_version == SHELL_REVISION
    assert result.image_digest == client.images.get(SHELL_IMAGE).id


def test_an_image_runs_again_by_what_is_known_of_it(run: Run, engine: DockerEngine, work_key: str) -> None:
    digest = run("true").image_digest
    engine.remove(work_key)
    assert run("true", image=digest).state is JobState.SUCCEEDED


def test_the_log_comes_while_the_job_runs_and_survives_bytes_that_are_no_text(
    engine: DockerEngine, make_job: MakeJob, output: Path
) -> None:
    came = threading.Event()

    def log(line: str) -> None:
        if line.endswith(" caf�"):
            came.set()

    job = make_job(r"printf 'caf\351\n'; while [ ! -e /opt/ml/go ]; do sleep 0.1; done", wall_seconds=30)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(engine.run, job, output, log)
        assert came.wait(20)
        assert not running.done()
        engine.remove(job.work_key)
        result = running.result(20)
    assert result.state is JobState.STOPPED  # also when it is collected while the host is still removing it


# How it may end ------------------------------------------------------------------------------------------------------


def test_a_failed_job_speaks_by_its_failure_file(run: Run, output: Path) -> None:
    result = run("echo log; echo 'no such column' > /opt/ml/output/failure; echo > /opt/ml/model/MLmodel; exit 3")
    assert (result.state, result.exit_code, result.reason) == (JobState.FAILED, 3, "no such column")
    assert not (output / "model").exists()


def test_a_failed_job_without_a_failure_file_speaks_by_its_log(run: Run) -> None:
    assert run("echo one; echo two; exit 1").reason == "one\ntwo"


def test_a_program_that_the_image_lacks_is_a_failure_with_dockers_words(run: Run) -> None:
    result = run("", program=("/no/such/program",))
    assert result.state is JobState.FAILED
    assert "/no/such/program" in result.reason


def test_memory_beyond_the_limit_ends_the_job(run: Run) -> None:
    assert run("exec dd if=/dev/zero of=/dev/null bs=200M count=1").state is JobState.OUT_OF_MEMORY


def test_a_job_that_fails_since_its_child_was_killed_for_memory_ran_out_of_memory(run: Run) -> None:
    result = run("dd if=/dev/zero of=/dev/null bs=200M count=1 || { echo child died; exit 1; }")
    assert (result.state, result.exit_code) == (JobState.OUT_OF_MEMORY, 1)


def test_a_job_that_does_without_a_child_killed_for_memory_succeeds(run: Run) -> None:
    assert run("dd if=/dev/zero of=/dev/null bs=200M count=1; true").state is JobState.SUCCEEDED


def test_a_full_scratch_space_is_out_of_disk(run: Run) -> None:
    result = run("for i in 1 2 3; do dd if=/dev/zero of=/tmp/$i bs=1M count=2 || exit 1; done")
    assert result.state is JobState.OUT_OF_DISK
    assert "No space left on device" in result.reason


def test_a_model_file_beyond_the_scratch_space_is_out_of_disk(run: Run) -> None:
    assert run("exec dd if=/dev/zero of=/opt/ml/model/weights bs=1M count=5").state is JobState.OUT_OF_DISK


def test_many_model_files_beyond_the_scratch_space_are_out_of_disk(run: Run, output: Path) -> None:
    result = run("for i in 1 2 3; do dd if=/dev/zero of=/opt/ml/model/$i bs=1M count=3; done")
    assert result.state is JobState.OUT_OF_DISK
    assert result.reason == "model/ and output/ hold more than 4 MiB or 10000 files."
    assert sum(file.stat().st_size for file in output.rglob("*") if file.is_file()) <= 4 * 2**20


def test_many_small_files_beyond_the_scratch_space_end_the_job(run: Run) -> None:
    result = run("i=0; while true; do i=$((i+1)); dd if=/dev/zero of=/opt/ml/output/data/$i bs=64k count=1; done")
    assert (result.state, result.exit_code) == (JobState.OUT_OF_DISK, 137)
    assert re.fullmatch(
        r"Disk quota exceeded: /opt/ml holds \d+\.\d MiB beside the job's inputs, and limits.scratch_mb is 4",
        result.reason,
    )


def test_inputs_do_not_count_as_scratch_space(
    engine: DockerEngine, tmp_path: Path, make_job: MakeJob, output: Path
) -> None:
    with (tmp_path / "channel/part-0.parquet").open("wb") as file:
        file.truncate(8 * 2**20)
    job = make_job("echo begun; while true; do sleep 0.1; done")

    def measure_and_stop(_: str) -> None:
        engine.stop_overfull()
        engine.stop(job.work_key)

    assert engine.run(job, output, measure_and_stop).state is JobState.STOPPED


def test_a_reason_is_read_beside_results_that_are_too_much(run: Run) -> None:
    result = run(
        """
        cd /opt/ml/output
        echo 'no such column' > failure
        for i in 1 2 3; do dd if=/dev/zero of=data/$i bs=1M count=3; done
        exit 3
        """
    )
    assert (result.state, result.reason) == (JobState.FAILED, "no such column")


def test_a_job_is_stopped_at_its_wall_time(run: Run) -> None:
    result = run("echo begun; sleep 60", wall_seconds=1)
    assert (result.state, result.reason) == (JobState.TIMED_OUT, "begun")
    assert result.seconds < 2.5


def test_a_job_that_ignores_the_request_to_stop_is_killed(run: Run) -> None:
    result = run("trap '' TERM; while true; do sleep 0.1; done", wall_seconds=1)
    assert (result.state, result.exit_code) == (JobState.TIMED_OUT, 137)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_a_job_that_somebody_else_stops_was_stopped(
    engine: DockerEngine, make_job: MakeJob, output: Path, client: "DockerClient", signal: str
) -> None:
    job = make_job("echo begun; exec sleep 60")
    result = engine.run(job, output, lambda _: containers(client, job.work_key)[0].kill(signal))
    assert result.state is JobState.STOPPED


def test_a_job_that_is_removed_while_it_runs_was_stopped(engine: DockerEngine, make_job: MakeJob, output: Path) -> None:
    job = make_job("echo begun; exec sleep 60")
    result = engine.run(job, output, lambda _: engine.remove(job.work_key))
    assert (result.state, result.exit_code) == (JobState.STOPPED, None)


def test_links_are_not_collected(run: Run) -> None:
    with pytest.raises(JobOutputError, match="model/passwd, which is a link"):
        run("busybox ln -s /etc/passwd /opt/ml/model/passwd")


def test_a_job_that_removes_all_it_can_has_left_nothing(run: Run, output: Path) -> None:
    assert run("rm -r /opt/ml/*/*").state is JobState.SUCCEEDED
    assert {path.name for path in output.rglob("*")} == {"output", "model"}


# What a retry finds --------------------------------------------------------------------------------------------------


class WorkerDiedError(Exception):
    """What happens to a worker while it waits."""


@pytest.fixture
def start(engine: DockerEngine, output: Path) -> Callable[[Job], None]:
    """Start a job by a worker that dies as soon as it waits."""

    def die(*_: object, **__: object) -> bool:
        raise WorkerDiedError

    def start(job: Job) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_mlops.engines.docker.engine.follow", die)
            with pytest.raises(WorkerDiedError):
                engine.run(job, output, print)

    return start


def test_a_retry_attaches_to_the_job_that_still_runs(
    start: Callable[[Job], None], run: Run, make_job: MakeJob, client: "DockerClient", log: list[str]
) -> None:
    script = "echo begun; sleep 2; echo done"
    job = make_job(script)
    start(job)
    (started,) = containers(client, job.work_key)
    result = run(script)
    assert [container.id for container in containers(client, job.work_key)] == [started.id]
    assert (result.state, log) == (JobState.SUCCEEDED, ["begun", "done"])


def test_the_wall_time_counts_from_the_start_of_the_job_and_not_of_the_retry(
    start: Callable[[Job], None], engine: DockerEngine, make_job: MakeJob, output: Path
) -> None:
    job = make_job("exec sleep 60", wall_seconds=2)
    start(job)
    time.sleep(2)
    result = engine.run(job, output, print)
    assert result.state is JobState.TIMED_OUT
    assert result.seconds < 3.5


def test_a_retry_collects_the_job_that_has_ended(
    engine: DockerEngine, make_job: MakeJob, tmp_path: Path, client: "DockerClient"
) -> None:
    job = make_job("echo $RANDOM > /opt/ml/model/MLmodel")
    first = engine.run(job, tmp_path / "1", print)
    second = engine.run(job, tmp_path / "2", print)
    assert second == first
    assert (tmp_path / "1/model/MLmodel").read_text() == (tmp_path / "2/model/MLmodel").read_text()


def test_a_failed_job_is_collected_again_until_it_is_removed(
    run: Run, engine: DockerEngine, client: "DockerClient", work_key: str
) -> None:
    first = run("exit 1")
    assert run("exit 1").finished_at == first.finished_at
    engine.remove(work_key)
    assert run("exit 1").finished_at > first.finished_at


def test_a_retry_starts_a_stopped_job_anew(run: Run, client: "DockerClient", work_key: str) -> None:
    run("exit 143")
    (stopped,) = containers(client, work_key)
    assert run("exit 143").state is JobState.STOPPED
    (again,) = containers(client, work_key)
    assert again.id != stopped.id


def test_a_job_that_was_never_started_is_made_anew(
    engine: DockerEngine, make_job: MakeJob, run: Run, client: "DockerClient", work_key: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("docker.models.containers.Container.start", lambda _: None)
        patch.setattr("docker.models.containers.Container.put_archive", lambda *_: None)
        engine.submit(make_job("true"))
    (unstarted,) = containers(client, work_key)
    assert run("true").state is JobState.SUCCEEDED
    assert unstarted.id not in [container.id for container in containers(client, work_key)]


def test_a_job_that_nobody_waits_for_any_more_is_killed_by_the_next_submission(
    engine: DockerEngine, make_job: MakeJob, client: "DockerClient", work_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.submit(make_job("sleep 600", wall_seconds=1))
    later = replace(make_job("sleep 600"), work_key=uuid.uuid4().hex)

    def submit_later() -> list[str]:
        try:
            engine.submit(later)
            return [found.status for key in (work_key, later.work_key) for found in containers(client, key)]
        finally:
            engine.remove(later.work_key)

    time.sleep(2.5)  # Docker tells whole seconds.
    assert submit_later() == ["running", "running"]  # Its task may be about to stop it.
    monkeypatch.setattr("airflow_mlops.engines.docker.containers._OVERDUE_SECONDS", 0.0)
    assert submit_later() == ["exited", "running"]


def test_a_job_that_is_asked_to_stop_may_tidy_up(
    engine: DockerEngine, make_job: MakeJob, client: "DockerClient", output: Path
) -> None:
    handle = engine.submit(job := make_job("trap 'echo half > /opt/ml/output/data/x; exit 143' TERM; sleep 60 & wait"))
    time.sleep(0.5)
    engine.stop(job.work_key)
    assert engine.collect(handle, job.limits, output).state is JobState.STOPPED
    assert (output / "output/data/x").read_text() == "half\n"


def test_a_container_that_is_kept_is_not_in_the_way_of_a_retry(
    engine: DockerEngine, run: Run, client: "DockerClient", work_key: str
) -> None:
    run("exit 1")
    name = engine.keep(work_key)
    assert run("true").state is JobState.SUCCEEDED
    engine.remove(work_key)
    (kept,) = containers(client, work_key)
    assert kept.name == name
    kept.remove(v=True)


# Its log -------------------------------------------------------------------------------------------------------------


def test_a_log_that_breaks_off_is_read_on_without_loss(
    engine: DockerEngine, run: Run, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker.api.client import APIClient

    opened: list[Any] = []
    whole = APIClient.logs

    class Broken:
        def __init__(self, stream: Any) -> None:
            self.stream, self.close, self._response = stream, stream.close, stream._response

        def __iter__(self) -> Iterator[bytes]:
            for number, frame in enumerate(self.stream):
                if number == 5:
                    self.close()
                    raise ConnectionError
                yield frame

    def logs(client: Any, *args: Any, **kwargs: Any) -> Any:
        stream = whole(client, *args, **kwargs)
        opened.append(kwargs.get("since"))
        return Broken(stream) if kwargs.get("follow") else stream

    monkeypatch.setattr(APIClient, "logs", logs)
    run("for i in 0 1 2 3 4 5 6 7 8 9; do echo $i; busybox usleep 500000; done; echo a; echo b >&2")
    assert sorted(log) == [*"0123456789ab"]
    assert len(opened) >= 3


def test_a_flood_of_words_neither_fills_the_worker_nor_stalls_it(
    run: Run, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mlops.domain.collection.LOG_CHARACTERS", 10_000)
    begun = time.monotonic()
    result = run(f"busybox yes {'x' * 1000} | busybox head -c 100000000; echo the end")
    assert result.state is JobState.SUCCEEDED
    assert sum(map(len, log)) < 40_000
    assert log[-1].endswith("the end")
    assert time.monotonic() - begun < result.seconds + 10


def test_a_retry_of_a_changed_job_starts_it_anew(run: Run, log: list[str]) -> None:
    run("echo one")
    run("echo two")
    assert log == ["one", "two"]


def test_removing_leaves_neither_container_nor_volume(
    run: Run, engine: DockerEngine, client: "DockerClient", work_key: str
) -> None:
    run("true")
    (container,) = containers(client, work_key)
    (mount,) = container.attrs["Mounts"]
    engine.remove(work_key)
    engine.remove(work_key)
    assert containers(client, work_key) == []
    assert mount["Name"] not in [volume.name for volume in client.volumes.list()]


# What it used --------------------------------------------------------------------------------------------------------


def test_what_a_job_used_is_known_to_the_last_sample(run: Run) -> None:
    # Busybox reads 48 MiB into one buffer, again and again.
    result = run("i=0; while [ $i -lt 150 ]; do dd if=/dev/zero of=/dev/null bs=48M count=1; i=$((i+1)); done; sleep 1")
    usage = result.usage
    assert usage is not None
    assert usage.cpu_seconds is not None
    assert 0.3 < usage.cpu_seconds <= result.seconds + 0.1  # of one CPU
    assert usage.peak_memory_bytes is not None
    assert 20 << 20 < usage.peak_memory_bytes <= 64 << 20
    assert 0 < usage.waiting_seconds < 30
    assert usage.unsampled_seconds < 3


def test_a_retry_counts_what_the_job_used_before(
    start: Callable[[Job], None], engine: DockerEngine, make_job: MakeJob, output: Path
) -> None:
    job = make_job("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo counted; sleep 4")
    start(job)
    time.sleep(2)
    usage = engine.run(job, output, print).usage
    assert usage is not None
    assert usage.cpu_seconds is not None
    assert usage.cpu_seconds > 0.1


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_job_out_of_memory_says_its_limit_and_its_peak(
    make_job: MakeJob, engine: DockerEngine, output: Path, seconds: int
) -> None:
    """The kernel kills at the limit, which is then the peak, however short the job was."""
    job = make_job(f"sleep {seconds}; exec dd if=/dev/zero of=/dev/null bs=90M")
    result = engine.run(job, output, print)
    assert result.state is JobState.OUT_OF_MEMORY
    assert result.usage is not None
    assert result.usage.peak_memory_bytes == 64 * 2**20
    with pytest.raises(JobOutOfMemoryError, match=r"may use 64 MiB.* Its peak was 64 MiB"):
        require_success(job, result)


# What it may not do --------------------------------------------------------------------------------------------------


def test_a_job_is_nobody_of_importance(run: Run, log: list[str]) -> None:
    run("id -u; id -g; cat /proc/self/status")
    assert log[:2] == ["1000", "1000"]
    assert "CapEff:\t0000000000000000" in log
    assert "CapBnd:\t0000000000000000" in log
    assert "NoNewPrivs:\t1" in log


def test_a_job_has_no_network(run: Run, log: list[str]) -> None:
    run("ls /sys/class/net")
    assert log == ["lo"]


def test_a_job_has_the_network_that_its_author_names(run: Run, log: list[str]) -> None:
    run("ls /sys/class/net", network="bridge")
    assert "eth0" in log


def test_a_job_cannot_change_its_image(run: Run, log: list[str]) -> None:
    run("cat /proc/mounts")
    (options,) = [line.split()[3] for line in log if line.split()[1] == "/"]
    assert "ro" in options.split(",")


def test_a_job_starts_no_more_processes_than_it_may(run: Run) -> None:
    result = run("i=0; while [ $i -lt 64 ]; do sleep 5 & i=$((i+1)); done")
    assert "can't fork" in result.reason


def test_secrets_of_the_environment_are_on_no_label(
    run: Run, client: "DockerClient", work_key: str, log: list[str]
) -> None:
    run("echo $TOKEN", environment={"TOKEN": "secret"})
    assert log == ["secret"]
    (container,) = containers(client, work_key)
    assert "secret" not in str(container.labels)


# What cannot be run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "MANIFEST_UNKNOWN", "manifest unknown"),
        (401, "UNAUTHORIZED", "unauthorized"),
        (404, "BLOB_UNKNOWN", "unknown blob"),  # found when Docker has answered, and is copying
    ],
)
def test_an_image_that_is_nowhere_is_named_with_the_remedy(
    run: Run, registry: Registry, status: int, code: str, words: str
) -> None:
    image = registry(status, code)
    with pytest.raises(ImageNotFoundError, match=f"The image {image} is not on the Docker host .*{words}.* Build it"):
        run("", image=image)


def test_an_image_that_is_named_by_its_id_is_not_looked_for_elsewhere(run: Run) -> None:
    with pytest.raises(ImageNotFoundError, match=r"an id cannot be pulled\. Build it there"):
        run("", image="sha256:" + "0" * 64)


@pytest.mark.parametrize(("status", "code"), [(429, "TOOMANYREQUESTS"), (500, "UNKNOWN"), (503, "UNAVAILABLE")])
def test_a_registry_that_cannot_say_at_this_moment_is_worth_a_retry(
    run: Run, registry: Registry, status: int, code: str
) -> None:
    with pytest.raises(ImageRegistryUnavailableError, match=r"cannot be pulled: .* See to the registry"):
        run("", image=registry(status, code))


def test_a_registry_that_does_not_answer_is_worth_a_retry(run: Run) -> None:
    with pytest.raises(ImageRegistryUnavailableError, match="connection refused"):
        run("", image="localhost:1/team/trainer:1")


def test_a_job_without_an_image_is_refused(run: Run) -> None:
    with pytest.raises(InvalidInputError, match="needs an image"):
        run("", image=None)


def test_a_network_that_does_not_exist_is_refused_and_nothing_is_left(
    run: Run, client: "DockerClient", work_key: str
) -> None:
    with pytest.raises(InvalidInputError, match="network no-such-network not found"):
        run("", network="no-such-network")
    assert containers(client, work_key) == []


def test_less_memory_than_docker_allows_is_refused(run: Run) -> None:
    with pytest.raises(InvalidInputError, match="Minimum memory limit allowed"):
        run("", limits=JobLimits(memory_mb=1))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # docker's, when a Unix socket does not exist
@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "unix:///no/such.sock"])
def test_an_unreachable_host_is_named(make_job: MakeJob, output: Path, url: str) -> None:
    with pytest.raises(DockerUnavailableError, match=f"The Docker host {url} does not answer"):
        DockerEngine(url=url).run(make_job(""), output, print)
    gc.collect()


def test_certificates_that_do_not_exist_are_said_to_be_unusable() -> None:
    engine = DockerEngine(url="tcp://127.0.0.1:1", ca_certificate="/no/ca.pem")
    with pytest.raises(InvalidInputError, match=r"certificates for the Docker host tcp://127\.0\.0\.1:1"):
        engine.check()


def test_a_host_that_answers_says_its_version(engine: DockerEngine) -> None:
    assert engine.check().startswith("Docker 2")


# Secrets and GPUs -----------------------------------------------------------------------------------------------------


def test_a_secret_is_a_file_for_the_job_alone_and_docker_knows_nothing_of_it(
    run: Run, client: "DockerClient", work_key: str, log: list[str], output: Path
) -> None:
    result = run("id -u; ls -l /opt/ml/input/secrets; cat /opt/ml/input/secrets/token", secrets={"token": "hunter2"})
    assert (result.state, log[0], log[-1]) == (JobState.SUCCEEDED, "1000", "hunter2")
    assert log[2].startswith("-r--------    1 1000     1000 ")
    (container,) = containers(client, work_key)
    assert "hunter2" not in str(container.attrs)
    assert [file for file in output.rglob("*") if file.is_file()] == []


def test_a_secret_does_not_outlive_the_job_in_the_volume_of_a_container_that_stays(
    run: Run, client: "DockerClient", work_key: str
) -> None:
    run("exit 1", secrets={"token": "hunter2"})
    (container,) = containers(client, work_key)
    chunks, _ = container.get_archive("/opt/ml")
    tree = b"".join(chunks)
    assert b"input/secrets/token" in tree
    assert b"hunter2" not in tree


@pytest.mark.parametrize(
    ("gpus", "count", "ids"), [(2, 2, []), ("all", -1, []), (("GPU-1", "GPU-2"), 0, ["GPU-1", "GPU-2"])]
)
def test_gpus_are_asked_of_docker(make_job: MakeJob, client: "DockerClient", gpus: Any, count: int, ids: Any) -> None:
    from airflow_mlops.engines.docker.settings import container_settings

    job = make_job("true", gpus=gpus)
    container = client.containers.create(**container_settings(job, str(job.image)))
    (request,) = container.attrs["HostConfig"]["DeviceRequests"]
    container.remove(v=True)
    assert (request["Count"], request["DeviceIDs"], request["Capabilities"]) == (count, ids, [["gpu"]])


def test_a_host_without_gpus_says_so_and_nothing_is_left(run: Run, client: "DockerClient", work_key: str) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot give the job its GPUs \(gpus=1\): .*NVIDIA Container Toolkit"):
        run("true", gpus=1)
    assert containers(client, work_key) == []
