"""The job contract: what goes in, what is read from what comes out, and which error an end becomes."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.job import (
    FAILURE,
    METRIC_STEPS,
    METRICS,
    Job,
    JobCommand,
    JobLimits,
    JobResult,
    JobState,
    ResourceUsage,
    require_digest,
)
from airflow_mlops.domain.job_end import judge_end, read_reason, require_success
from airflow_mlops.domain.job_figures import MetricStep, read_metric_steps, read_metrics
from airflow_mlops.exceptions import (
    InvalidInputError,
    JobFailedError,
    JobOutOfDiskError,
    JobOutOfMemoryError,
    JobOutputError,
    JobStoppedError,
    JobTimeoutError,
    MlopsError,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    channel, model = tmp_path / "channel", tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    channel.mkdir()
    (channel / "part-1.parquet").write_bytes(b"22")
    (channel / "part-0.parquet").write_bytes(b"1")
    (channel / "manifest.json").write_text("{}")
    (model / "MLmodel").touch()
    (model / "deep" / "weights").touch()
    return Job(
        work_key="k" * 32,
        command=JobCommand.TRAIN,
        hyperparameters={"depth": "3"},
        channels={"train": channel},
        model=model,
        image="flights:1",
        environment={"TOKEN": "secret"},
        limits=JobLimits(cpus=1.5),
    )


def result(state: JobState, reason: str = "no room") -> JobResult:
    return JobResult(
        state=state,
        exit_code=3,
        reason=reason,
        image_digest=None,
        code_version=None,
        started_at=START,
        finished_at=START + timedelta(seconds=12),
        usage=ResourceUsage(waiting_seconds=1, peak_memory_bytes=4000 * 2**20),
    )


def test_only_the_parquet_files_of_a_channel_go_in(job: Job) -> None:
    assert list(job.input_files()) == [
        "input/data/train/part-0.parquet",
        "input/data/train/part-1.parquet",
        "model/MLmodel",
        "model/deep/weights",
    ]


def test_folders_come_before_what_they_hold(job: Job) -> None:
    assert job.input_folders() == [
        "input",
        "input/config",
        "input/data",
        "input/data/train",
        "model",
        "model/deep",
        "output",
        "output/data",
    ]


def test_a_channel_without_parquet_files_is_named(job: Job, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="channel 'score' of the train job has no Parquet file"):
        replace(job, channels={"score": tmp_path}).input_files()


def test_libraries_are_told_to_start_no_more_threads_than_there_are_cpus(job: Job) -> None:
    environment = job.environment_at("/opt/ml")
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["SAGEMAKER_BASE_DIR"] == "/opt/ml"


def test_the_author_decides_the_environment(job: Job) -> None:
    assert replace(job, environment={"OMP_NUM_THREADS": "7"}).environment_at("/")["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    "change",
    [
        {"hyperparameters": {"depth": "4"}},
        {"image": "flights:2"},
        {"network": "bridge"},
        {"limits": JobLimits(memory_mb=1)},
        {"labels": {"dataset": "other"}},
        {"environment": {"TOKEN": "secret", "MORE": ""}},
    ],
)
def test_another_job_has_another_fingerprint(job: Job, change: dict[str, object]) -> None:
    assert replace(job, **change).fingerprint != job.fingerprint  # type: ignore[arg-type]  # each has its field's type


def test_a_fingerprint_does_not_tell_the_values_of_the_environment(job: Job) -> None:
    assert replace(job, environment={"TOKEN": "rotated"}).fingerprint == job.fingerprint


@pytest.mark.parametrize("limits", [{"memory_mb": 0}, {"cpus": -1.0}, {"wall_seconds": math.inf}, {"scratch_mb": 0}])
def test_a_job_without_a_limit_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=f"JobLimits.{next(iter(limits))} is"):
        JobLimits(**limits)  # type: ignore[arg-type]  # numbers all


@pytest.mark.parametrize(
    ("exit_code", "oom_killed", "timed_out", "reason", "state"),
    [
        (0, False, False, "", JobState.SUCCEEDED),
        (0, True, False, "a child was killed, and the job did without", JobState.SUCCEEDED),
        (0, False, True, "", JobState.TIMED_OUT),
        (1, False, False, "ValueError: no such column", JobState.FAILED),
        (137, True, False, "", JobState.OUT_OF_MEMORY),
        (1, True, False, "a worker process died", JobState.OUT_OF_MEMORY),
        (1, False, False, "MemoryError", JobState.OUT_OF_MEMORY),
        (1, False, False, "_ArrayMemoryError: Unable to allocate 3 GiB", JobState.OUT_OF_MEMORY),
        (1, False, False, "OSError: [Errno 28] No space left on device", JobState.OUT_OF_DISK),
        (1, False, False, "OSError: [Errno 27] File too large: 'model/x'", JobState.OUT_OF_DISK),
        (153, False, False, "", JobState.OUT_OF_DISK),
        (137, False, False, "", JobState.STOPPED),
        (143, False, False, "", JobState.STOPPED),
        (137, True, True, "", JobState.TIMED_OUT),
    ],
)
def test_how_a_job_ended_is_told_apart(
    exit_code: int,
    oom_killed: bool,
    timed_out: bool,
    reason: str,
    state: JobState,
) -> None:
    assert judge_end(exit_code=exit_code, oom_killed=oom_killed, timed_out=timed_out, reason=reason) is state


def test_the_failure_file_speaks_before_the_log(tmp_path: Path) -> None:
    file = tmp_path / FAILURE
    file.parent.mkdir()
    file.write_bytes(b"no column \xff\n")
    assert read_reason(tmp_path, ["log"], 1) == "no column �"


def test_a_long_failure_file_is_cut(tmp_path: Path) -> None:
    file = tmp_path / FAILURE
    file.parent.mkdir()
    file.write_text("x" * 10**6)
    assert len(read_reason(tmp_path, [], 1)) == 4096


def test_without_a_failure_file_the_log_speaks(tmp_path: Path) -> None:
    assert read_reason(tmp_path, ["one", "two"], 1) == "one\ntwo"


def test_a_silent_job_is_said_to_be_silent(tmp_path: Path) -> None:
    assert read_reason(tmp_path, [], 3) == "it said nothing and ended with exit status 3"


def test_success_raises_nothing(job: Job) -> None:
    require_success(job, result(JobState.SUCCEEDED))


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (JobState.FAILED, JobFailedError, "exit status 3 after 12 s"),
        (
            JobState.OUT_OF_MEMORY,
            JobOutOfMemoryError,
            r"4096 MiB, see limits\.memory_mb\. Its peak was 4000 MiB",
        ),
        (JobState.OUT_OF_DISK, JobOutOfDiskError, "may use 2048 MiB, see limits.scratch_mb"),
        (JobState.TIMED_OUT, JobTimeoutError, "may run 14400 s, see limits.wall_seconds"),
        (JobState.STOPPED, JobStoppedError, "stopped from outside"),
    ],
)
def test_every_other_end_has_its_error_with_the_reason_of_the_job(
    job: Job, state: JobState, error: type[MlopsError], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        require_success(job, result(state))
    assert str(raised.value).startswith("The train job in image flights:1 ")
    assert str(raised.value).endswith("Its reason: no room")


def test_memory_that_nobody_measured_is_said_to_be_unknown(job: Job) -> None:
    with pytest.raises(JobOutOfMemoryError, match="It ended before its use was measured"):
        require_success(job, replace(result(JobState.OUT_OF_MEMORY), usage=None))


def write(output: Path, name: str, text: str) -> Path:
    file = output / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return output


def test_metrics_are_read(tmp_path: Path) -> None:
    assert read_metrics(write(tmp_path, METRICS, '{"auc": 0.7, "trees": 3}')) == {"auc": 0.7, "trees": 3.0}


def test_no_metrics_are_no_error(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == {}
    assert read_metric_steps(tmp_path) == []


@pytest.mark.parametrize("text", ['{"auc": NaN}', '{"auc": Infinity}', '{"auc": "0.7"}', '{"auc": true}', "[1]", "{"])
def test_metrics_that_cannot_be_judged_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(JobOutputError, match=r"metrics\.json"):
        read_metrics(write(tmp_path, METRICS, text))


def test_metrics_by_step_are_read(tmp_path: Path) -> None:
    lines = '{"step": 1, "time": "now", "loss": 0.5}\n\n{"step": 2, "loss": 0.25}\n'
    assert read_metric_steps(write(tmp_path, METRIC_STEPS, lines)) == [
        MetricStep(name="loss", value=0.5, step=1),
        MetricStep(name="loss", value=0.25, step=2),
    ]


@pytest.mark.parametrize("line", ['{"loss": 1}', '{"step": 1, "loss": NaN}', "1", "oops"])
def test_a_bad_step_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(JobOutputError, match=r"line 2 of output/data/metrics\.jsonl"):
        read_metric_steps(write(tmp_path, METRIC_STEPS, f'{{"step": 0}}\n{line}\n'))


def test_a_jobs_secrets_are_seen_neither_in_its_text_nor_in_its_fingerprint(job: Job) -> None:
    secretive, changed = (replace(job, secrets={"token": value}) for value in ("hunter2", "hunter3"))
    assert "hunter2" not in repr(secretive)
    assert secretive.fingerprint == changed.fingerprint != job.fingerprint


@pytest.mark.parametrize("gpus", [-1, True, 1.5, "some", (), (1, 2), None])
def test_gpus_are_a_number_all_or_ids(job: Job, gpus: Any) -> None:
    with pytest.raises(InvalidInputError, match="must be a number of GPUs, 'all', or a list of their ids"):
        replace(job, gpus=gpus)


@pytest.mark.parametrize("image", ["sha256:" + "0" * 64, "registry:5000/team/trainer:3@sha256:" + "a" * 64])
def test_a_digest_or_an_id_is_no_tag(image: str) -> None:
    require_digest(image)


@pytest.mark.parametrize("image", ["trainer", "trainer:latest", "registry:5000/trainer:3", "trainer@sha256:0"])
def test_a_tag_is_refused_with_the_way_to_the_digest(image: str) -> None:
    with pytest.raises(InvalidInputError, match=f"`docker image inspect .* {image}` shows"):
        require_digest(image)
