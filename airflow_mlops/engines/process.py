"""Jobs as child processes of the worker, over a private copy of the same tree: the embedded default.

A process is limited less than a container: memory counts for each process of the job, and nothing keeps it from the
network or from what the worker's user may read. Only the worker's environment is kept from it.
"""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from airflow_mlops.domain.collection import LogLines, OutputBudget
from airflow_mlops.domain.job import (
    HYPERPARAMETERS,
    METRIC_STEPS,
    MODEL,
    RESULTS,
    SECRETS,
    Job,
    JobLimits,
    JobResult,
    JobState,
    ResourceUsage,
)
from airflow_mlops.domain.job_end import judge_end, read_reason
from airflow_mlops.domain.polling import WallLimit, follow
from airflow_mlops.exceptions import InvalidInputError, JobOutOfDiskError, JobOutputError

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""What a job sees of the worker's environment: enough to run, and no secret."""
_LAUNCHER = Path(__file__).with_name("process_launcher.py")
_CHUNK_BYTES = 64 * 1024
_LOG_SECONDS = 5.0  # for the rest of the log, once the job has ended
_BLOCK_BYTES = 512  # of getrusage(2), whatever the file system's are
_SIGNALLED = 128  # a shell's exit status for a process that a signal ended is this and the signal's number


def default_root() -> Path:
    """Return the folder that this user's jobs run in, below the folder for temporary files."""
    return Path(tempfile.gettempdir()) / f"airflow-mlops-jobs-{os.getuid()}"


@dataclass(frozen=True, kw_only=True)
class ProcessEngine:
    """Runs jobs on this machine.

    A process dies with its worker, so a retry finds nothing to attach to: it clears what is left and starts anew.

    :param root: folder for one tree a job. Nobody else may own it.
    """

    root: Path = field(default_factory=default_root)
    grace_seconds: float = 30.0
    _running: dict[str, tuple[subprocess.Popen[bytes], threading.Event]] = field(
        default_factory=dict, init=False, repr=False
    )
    """Work key to the process, and what is set when it has ended. One thread alone waits for a process: of two, the one
    that comes late takes 0 for its exit status."""

    def prepare(self, job: Job) -> None:
        """Do nothing: a process is made and started at once."""

    def discard(self, job: Job) -> None:
        """Do nothing, see :meth:`prepare`."""

    def run(self, job: Job, output: Path, log: Callable[[str], None]) -> JobResult:
        """Run ``job``, and move ``model/`` and ``output/`` into ``output``.

        :raises InvalidInputError: when there is no such program.
        :raises JobOutputError: when the job left what must not be collected, such as a link.
        """
        command = [*_program(job), job.command.value]
        submitted_at = datetime.now(UTC)
        self.remove(job.work_key)
        tree = self.root / job.work_key
        self._prepare(tree, job)
        lines = LogLines(log)
        started_at = datetime.now(UTC)
        exit_code, timed_out, used = self._execute(job, command, tree, lines)
        finished_at = datetime.now(UTC)
        problem = _collect(tree, output, job.limits, with_model=exit_code == 0 and not timed_out)
        reason = read_reason(output, lines.tail, exit_code)
        # Without a container, the kernel does not say whom it killed for memory; little else sends this signal.
        oom_killed = exit_code == _SIGNALLED + signal.SIGKILL and job.work_key in self._running
        end = judge_end(exit_code=exit_code, oom_killed=oom_killed, timed_out=timed_out, reason=reason)
        self._running.pop(job.work_key, None)
        if end is JobState.SUCCEEDED:
            end, reason = (JobState.OUT_OF_DISK, problem) if problem else (end, "")
        return JobResult(
            state=end,
            exit_code=exit_code,
            reason=reason,
            image_digest=None,
            code_version=None,
            started_at=started_at,
            finished_at=finished_at,
            usage=_usage(used, waiting_seconds=(started_at - submitted_at).total_seconds()),
        )

    def remove(self, work_key: str) -> None:
        """End the job of this key if it runs, and remove its tree. Does nothing when there is none."""
        running = self._running.pop(work_key, None)
        if running is not None:
            _signal(running[0], signal.SIGKILL)
        shutil.rmtree(self.root / work_key, ignore_errors=True)

    def stop(self, work_key: str) -> None:
        """Ask the job of this key to stop, and kill it when its grace is over. Does nothing when there is none."""
        running = self._running.get(work_key)
        if running is None:
            return
        process, ended = running
        _signal(process, signal.SIGTERM)
        if not ended.wait(self.grace_seconds):
            self._running.pop(work_key, None)  # It was not for its memory that it was killed.
            _signal(process, signal.SIGKILL)

    def keep(self, work_key: str) -> str:
        """Keep nothing: what a process wrote was moved away when it was collected."""
        self.remove(work_key)
        return ""

    def salvage(self, work_key: str, limits: JobLimits, folder: Path) -> None:
        """Move what the job has left into ``folder``. What it printed is in the task's log alone."""
        with contextlib.suppress(JobOutputError):  # Nothing of it is better than what must not be collected.
            _collect(self.root / work_key, folder, limits, with_model=False)

    def read_metrics_file(self, work_key: str, *, longer_than: int, most: int) -> bytes:
        """Return the file as it is now, if it has more than ``longer_than`` bytes and at most ``most``."""
        file = self.root / work_key / METRIC_STEPS
        try:
            is_wanted = not file.is_symlink() and longer_than < file.stat().st_size <= most
            return file.read_bytes() if is_wanted else b""
        except OSError:  # It does not exist yet, or no more.
            return b""

    def _prepare(self, tree: Path, job: Job) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.root.is_symlink() or self.root.stat().st_uid != os.getuid():
            msg = f"{self.root} belongs to somebody else, who could change what jobs read. Remove it."
            raise InvalidInputError(msg)
        for folder in (*job.input_folders(), "tmp"):
            (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / HYPERPARAMETERS).write_bytes(job.hyperparameters_json())
        for name, file in job.input_files().items():
            shutil.copyfile(file, tree / name)
        if job.secrets:
            (tree / SECRETS).mkdir(mode=0o700)
        for name, value in job.secrets.items():
            (tree / SECRETS / name).touch(mode=0o600)
            (tree / SECRETS / name).write_text(value)
            (tree / SECRETS / name).chmod(0o400)

    def _execute(
        self, job: Job, command: list[str], tree: Path, lines: LogLines
    ) -> tuple[int, bool, resource.struct_rusage | None]:
        """Return the exit status as a shell gives it, whether the wall time limit ended the job, and what it used."""
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= {"HOME": str(tree), "TMPDIR": str(tree / "tmp"), **job.environment_at(str(tree))}
        limits = [str(os.getpid()), str(job.limits.memory_mb * 2**20), str(job.limits.scratch_bytes)]
        process = subprocess.Popen(  # noqa: S603 - the program that the Dag's author named
            [sys.executable, "-I", "-S", str(_LAUNCHER), *limits, *command],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a signal reaches all that it starts, and not the worker
        )
        ended = threading.Event()
        self._running[job.work_key] = process, ended
        used: list[resource.struct_rusage] = []
        reader = threading.Thread(target=_read_log, args=(process, lines), name="job-log", daemon=True)
        waiter = threading.Thread(target=_wait, args=(process, ended, used), name="job-wait", daemon=True)
        start = time.monotonic()
        try:
            reader.start()
            waiter.start()
            timed_out = follow(
                WallLimit(wall_seconds=job.limits.wall_seconds, grace_seconds=self.grace_seconds),
                elapsed=lambda: time.monotonic() - start,
                wait=ended.wait,
                stop=lambda: _signal(process, signal.SIGTERM),
                kill=lambda: _signal(process, signal.SIGKILL),
            )
        finally:
            _signal(process, signal.SIGKILL)  # what it left running, or all of it when the worker was interrupted
            shutil.rmtree(tree / SECRETS, ignore_errors=True)
            waiter.join()
            reader.join(_LOG_SECONDS)
        exit_code = process.returncode if process.returncode >= 0 else _SIGNALLED - process.returncode
        return exit_code, timed_out, used[0] if used else None


def _program(job: Job) -> list[str]:
    """Return the program with the path at which it is found.

    :raises InvalidInputError: when there is none.
    """
    if not job.program:
        msg = "A process job needs a program, such as ('python', '/opt/trainer/train.py')."
        raise InvalidInputError(msg)
    name, *arguments = job.program
    # A worker may be started by the path of its interpreter, and then another "python", or none, is on PATH.
    found = sys.executable if name == "python" else shutil.which(name)
    if found is None:
        msg = f"There is no program {name!r} on this worker. Install it, or give its absolute path."
        raise InvalidInputError(msg)
    return [str(Path(found).absolute()), *arguments]


def _wait(process: subprocess.Popen[bytes], ended: threading.Event, used: list[resource.struct_rusage]) -> None:
    """Wait as ``Popen.wait`` does, and for what the kernel counted, which that throws away."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:  # Somebody else in this process waits for any child.
        process.wait()
    else:
        process.returncode = os.waitstatus_to_exitcode(status)
        used.append(usage)
    ended.set()


def _usage(used: resource.struct_rusage | None, *, waiting_seconds: float) -> ResourceUsage:
    """Return what the kernel counted of the job and of those of its children that it waited for."""
    if used is None:
        return ResourceUsage(waiting_seconds=waiting_seconds)
    # For a moment the job was a copy of the worker, whose memory Linux counts as the job's. A peak that is not clearly
    # above the worker's own, which Linux tells only roughly, may be that.
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ResourceUsage(
        waiting_seconds=waiting_seconds,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_memory_bytes=peak if peak > 1.05 * _own_peak_bytes() else None,
        read_bytes=used.ru_inblock * _BLOCK_BYTES,
        written_bytes=used.ru_oublock * _BLOCK_BYTES,
    )


def _own_peak_bytes() -> int:
    """Return the most memory that this process has used; 0 where a child's peak is its own."""
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM:")), 0)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # It has just ended.
        os.killpg(process.pid, number)


def _read_log(process: subprocess.Popen[bytes], lines: LogLines) -> None:
    """Pass on the log to its end, which comes when the last process that holds it has ended."""
    with cast("io.BufferedReader", process.stdout) as log:  # Popen was told to make a pipe
        while chunk := log.read1(_CHUNK_BYTES):
            lines.feed(chunk)
    lines.feed(b"", is_last=True)


def _collect(tree: Path, output: Path, limits: JobLimits, *, with_model: bool) -> str:
    """Move what the job left, and return what was too much of it, if anything. Of a failed job, the model is of no use.

    :raises JobOutputError: when it holds anything but plain files and folders.
    """
    budget = OutputBudget(limits)
    output.mkdir(parents=True, exist_ok=True)
    try:
        for folder in (RESULTS, MODEL) if with_model else (RESULTS,):
            for path in (tree / folder).rglob("*"):
                is_plain = not path.is_symlink() and (path.is_file() or path.is_dir())
                if not is_plain:
                    name = path.relative_to(tree)
                    msg = f"The job left {name}, which is a link or a device. Leave plain files and folders only."
                    raise JobOutputError(msg)
                if path.is_file():
                    budget.take(path.stat().st_size)
            if (tree / folder).is_dir():
                shutil.move(tree / folder, output / folder)
    except JobOutOfDiskError as error:
        return str(error)
    return ""
