"""Jobs as real child processes: limits, ends, and what they may see of the worker."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_mlops.domain.job import Job, JobCommand, JobLimits, JobResult, JobState
from airflow_mlops.engines.process import ProcessEngine
from airflow_mlops.exceptions import InvalidInputError, JobOutputError

WORK_KEY = "0" * 32
ENVIRONMENT_OF_A_JOB = {
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",  # Python sets it where no locale is given.
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PATH",
    "PYTHONUNBUFFERED",
    "SAGEMAKER_BASE_DIR",
    "TMPDIR",
    "TZ",
}

Run = Callable[..., JobResult]


@pytest.fixture
def engine(tmp_path: Path) -> ProcessEngine:
    return ProcessEngine(root=tmp_path / "jobs", grace_seconds=0.3)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    channel = tmp_path / "channel"
    channel.mkdir()
    (channel / "part-0.parquet").write_bytes(b"rows")

    def make(script: str, *, wall_seconds: float = 30.0, **fields: Any) -> Job:
        return Job(
            work_key=WORK_KEY,
            command=JobCommand.TRAIN,
            hyperparameters={"depth": "3"},
            channels={"train": channel},
            program=fields.pop("program", ("python", "-S", "-c", textwrap.dedent(script))),
            limits=JobLimits(memory_mb=256, scratch_mb=1, wall_seconds=wall_seconds),
            **fields,
        )

    return make


@pytest.fixture
def run(engine: ProcessEngine, make_job: Callable[..., Job], output: Path, log: list[str]) -> Run:
    return lambda script, **fields: engine.run(make_job(script, **fields), output, log.append)


def ends(process: int) -> bool:
    """Whether a process ends soon. A zombie has ended; that nobody has asked for its exit status is not its fault."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_job_finds_its_inputs_and_leaves_a_model(run: Run, output: Path) -> None:
    result = run(
        """
        import os, pathlib, sys
        root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
        assert sys.argv[1:] == ["train"]
        assert (root / "input/config/hyperparameters.json").read_text() == '{\\n  "depth": "3"\\n}'
        assert (root / "input/data/train/part-0.parquet").read_bytes() == b"rows"
        (root / "model/MLmodel").touch()
        (root / "output/data/metrics.json").write_text("{}")
        """
    )
    assert (result.state, result.reason, result.image_digest) == (JobState.SUCCEEDED, "", None)
    assert (output / "model/MLmodel").exists()
    assert (output / "output/data/metrics.json").exists()


def test_the_log_comes_line_by_line(run: Run, log: list[str]) -> None:
    run("import sys; print('one'); print('two', file=sys.stderr); sys.stdout.buffer.write(b'caf\\xe9')")
    assert log == ["one", "two", "caf�"]


def test_nothing_of_the_workers_environment_reaches_the_job(
    run: Run, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    run("import os; print(*os.environ)", environment={"MINE": "1"})
    assert set(log[0].split()) <= ENVIRONMENT_OF_A_JOB | {"MINE"}
    assert "MINE" in log[0]


def test_a_failed_job_leaves_its_words_and_no_model(run: Run, output: Path) -> None:
    result = run("open('output/failure', 'w').write('no such column'); open('model/MLmodel', 'w'); raise SystemExit(3)")
    assert (result.state, result.exit_code, result.reason) == (JobState.FAILED, 3, "no such column")
    assert not (output / "model").exists()


def test_memory_beyond_the_limit_is_refused_to_the_job(run: Run) -> None:
    assert run("bytearray(300 << 20)").state is JobState.OUT_OF_MEMORY


def test_a_file_beyond_the_scratch_space_is_refused_to_the_job(run: Run) -> None:
    assert run("open('model/weights', 'wb').write(b'x' * (2 << 20))").state is JobState.OUT_OF_DISK


def test_many_files_beyond_the_scratch_space_are_not_collected(run: Run) -> None:
    result = run("[open(f'model/{i}', 'wb').write(b'x' * (1 << 19)) for i in range(4)]")
    assert result.state is JobState.OUT_OF_DISK
    assert result.reason == "model/ and output/ hold more than 1 MiB or 10000 files."


def test_a_job_is_stopped_at_its_wall_time(run: Run) -> None:
    result = run("import time; print('begun'); time.sleep(60)", wall_seconds=0.5)
    assert (result.state, result.reason) == (JobState.TIMED_OUT, "begun")
    assert result.seconds < 5


def test_a_job_that_ignores_the_request_to_stop_is_killed_with_its_children(run: Run, log: list[str]) -> None:
    result = run(
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(subprocess.Popen(["sleep", "60"]).pid)
        time.sleep(60)
        """,
        wall_seconds=1,
    )
    assert result.state is JobState.TIMED_OUT
    assert ends(int(log[0]))


def test_what_a_job_leaves_running_ends_with_it(run: Run, log: list[str]) -> None:
    result = run("import subprocess; print(subprocess.Popen(['sleep', '60']).pid)")
    assert result.state is JobState.SUCCEEDED
    assert result.seconds < 5
    assert ends(int(log[0]))


def test_a_job_that_is_removed_while_it_runs_was_stopped(
    engine: ProcessEngine, make_job: Callable[..., Job], output: Path
) -> None:
    job = make_job("import time; print('begun'); time.sleep(60)")
    result = engine.run(job, output, lambda _: engine.remove(WORK_KEY))
    assert result.state is JobState.STOPPED


def test_a_job_that_somebody_terminates_was_stopped(run: Run) -> None:
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)").state is JobState.STOPPED


def test_links_are_not_collected(run: Run) -> None:
    with pytest.raises(JobOutputError, match="model/passwd, which is a link"):
        run("import os; os.symlink('/etc/passwd', 'model/passwd')")


def test_removing_leaves_nothing(engine: ProcessEngine, run: Run) -> None:
    run("")
    assert (engine.root / WORK_KEY).exists()
    engine.remove(WORK_KEY)
    engine.remove(WORK_KEY)
    assert list(engine.root.iterdir()) == []


def test_a_retry_starts_from_a_clean_tree(engine: ProcessEngine, run: Run, output: Path) -> None:
    (engine.root / WORK_KEY / "model").mkdir(parents=True)
    (engine.root / WORK_KEY / "model" / "old").touch()
    run("open('model/MLmodel', 'w')")
    assert [path.name for path in (output / "model").iterdir()] == ["MLmodel"]


@pytest.mark.parametrize("program", [(), ("no-such-program",), ("/no/such/program",)])
def test_a_missing_program_is_named(run: Run, program: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"no-such-program|/no/such/program|needs a program"):
        run("", program=program)


def test_a_folder_of_somebody_else_is_not_used(make_job: Callable[..., Job], tmp_path: Path, output: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(InvalidInputError, match="belongs to somebody else"):
        ProcessEngine(root=link).run(make_job(""), output, print)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_job_dies_with_its_worker(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").touch()
    script = """
        from pathlib import Path
        from airflow_mlops.domain.job import (Job, JobCommand)
        from airflow_mlops.engines.process import ProcessEngine

        program = ("python", "-S", "-c", "import os, time; print(os.getpid()); time.sleep(60)")
        job = Job(work_key="k", command=JobCommand.TRAIN, hyperparameters={}, channels={"train": Path()},
                  program=program)
        ProcessEngine(root=Path("jobs").absolute()).run(job, Path("output"), lambda line: print(line, flush=True))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as worker:
        assert worker.stdout is not None
        job = int(worker.stdout.readline())
        assert psutil.Process(job).is_running()
        worker.kill()
    assert ends(job)


def test_what_a_job_used_is_what_the_kernel_counted(run: Run) -> None:
    usage = run(
        """
        import os, subprocess, sys, time
        while time.process_time() < 0.5:
            pass
        subprocess.run([sys.executable, "-S", "-c", "import time\\nwhile time.process_time() < 0.3: pass"], check=True)
        file = os.open("model/weights", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"x" * (1 << 19))
        os.fsync(file)
        """
    ).usage
    assert usage is not None
    assert usage.cpu_seconds == pytest.approx(0.8, abs=0.5)
    assert usage.peak_memory_bytes is None  # It is hidden by the memory of this test's own process.
    assert usage.written_bytes is not None
    assert usage.read_bytes is not None
    assert usage.unsampled_seconds == 0
    assert usage.waiting_seconds < 5


def test_the_peak_of_a_job_that_is_larger_than_its_worker_is_known(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").touch()
    script = """
        from pathlib import Path
        from airflow_mlops.domain.job import (Job, JobCommand)
        from airflow_mlops.engines.process import ProcessEngine

        program = ("python", "-S", "-c", "held = bytearray(200 << 20)")
        job = Job(work_key="k", command=JobCommand.TRAIN, hyperparameters={}, channels={"train": Path()},
                  program=program)
        print(ProcessEngine(root=Path("jobs").absolute()).run(job, Path("output"), print).usage.peak_memory_bytes)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    worker = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert 200 << 20 < int(worker.stdout) < 230 << 20


def test_a_secret_is_a_file_for_the_job_alone_and_gone_when_it_ends(
    engine: ProcessEngine, run: Run, log: list[str]
) -> None:
    run(
        """
        import os
        file = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "input/secrets/token")
        print(open(file).read(), oct(os.stat(file).st_mode))
        """,
        secrets={"token": "hunter2"},
    )
    assert log == ["hunter2 0o100400"]
    assert not [path for path in engine.root.rglob("*") if path.name in {"secrets", "token"}]


def test_one_thread_alone_waits_for_a_job_that_is_stopped(
    engine: ProcessEngine, make_job: Callable[..., Job], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two, the one that comes late finds no process, and Python then takes its exit status for 0: a success."""
    waits: list[int] = []
    waitpid = os.waitpid

    def count(pid: int, options: int) -> tuple[int, int]:
        waits.append(pid)
        return waitpid(pid, options)

    monkeypatch.setattr(os, "waitpid", count)
    job = make_job("import time; print(1, flush=True); time.sleep(60)")
    stopping: list[threading.Thread] = []

    def stop(_line: str) -> None:
        stopping.append(threading.Thread(target=engine.stop, args=(job.work_key,)))
        stopping[0].start()

    result = engine.run(job, output, stop)
    stopping[0].join()
    assert (result.state, result.exit_code) == (JobState.STOPPED, 143)
    assert waits == []
