"""Servers as child processes: started, watched and ended together, so that none is left behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

LAST_LINES = 25
GRACE_SECONDS = 12.0
KILL_SECONDS = 5.0


class ChildError(RuntimeError):
    """A child process ended that should have gone on, or was not ready in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One child process in a session and process group of its own, its output in a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self, count: int = LAST_LINES) -> str:
        """Return the end of what the child wrote, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


class Processes:
    """The children of one run. Leaving the ``with`` block ends them and everything that they started.

    :param logs: folder for one log file a child.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> Child:
        """Start a child. Its own session keeps the terminal's Ctrl-C away from it: the parent alone decides its end."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name=name, process=process, log=log)
        self.children.append(child)
        return child

    def check(self) -> None:
        """Raise when a server has ended.

        :raises ChildError: names the child, its exit status and the end of its log.
        """
        for child in self.children:
            status = child.process.poll()
            if status is not None:
                msg = f"The {child.name} ended with status {status}. The end of {child.log}:\n{child.last_lines()}"
                raise ChildError(msg)

    def finish(self, child: Child, *, timeout_seconds: float) -> None:
        """Wait for a child that does one thing and ends, such as a database migration.

        :raises ChildError: when it fails, or takes longer.
        """
        try:
            status = child.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            msg = f"The {child.name} did not end within {timeout_seconds:.0f} s. See {child.log}\n{child.last_lines()}"
            raise ChildError(msg) from error
        if status != 0:
            msg = f"The {child.name} failed with status {status}. The end of {child.log}:\n{child.last_lines()}"
            raise ChildError(msg)
        self.children.remove(child)

    def wait_for(self, what: str, is_ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Wait until ``is_ready``, watching all children meanwhile.

        :raises ChildError: when a child ends, or it takes longer; ends with the last lines of every log.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(f"  {child.log}:\n{child.last_lines(8)}" for child in self.children)
                msg = f"Waited {timeout_seconds:.0f} s for {what} in vain.\n{logs}"
                raise ChildError(msg)
            time.sleep(0.2)

    def stop(self) -> None:
        """End all children and their descendants: TERM, and KILL for those that stay."""
        roots = [child.process for child in self.children]
        victims = {process for root in roots for process in _family(root.pid)}
        end_all(victims)
        for root in roots:
            root.wait()
        self.children.clear()


def end_all(victims: Iterable[psutil.Process]) -> None:
    """End these processes, and what they start meanwhile: TERM first, KILL for those that stay."""
    alive = set(victims)
    for process in alive:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        newcomers = {child for process in alive for child in _family(process.pid)} - alive
        for process in newcomers:
            _signal(process, signal.SIGTERM)
        alive = {process for process in alive | newcomers if _is_alive(process)}
        time.sleep(0.05)
    stubborn = alive | {child for process in alive for child in _family(process.pid)}
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(list(stubborn), timeout=KILL_SECONDS)


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants: Airflow's tasks and their jobs leave their parent's process group."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs. A zombie has ended: only its parent can clear it away."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)  # psutil refuses when the pid belongs to another process by now.


def free_port(preferred: int) -> int:
    """Return ``preferred`` when nothing listens there on loopback, else a free port that the system picks."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As servers do: a closing one is no obstacle.
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    msg = "This machine has no free TCP port on 127.0.0.1."
    raise OSError(msg)


def empty_folder(folder: Path) -> Path:
    """Return ``folder``, new and readable by its owner only."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    os.chmod(folder, 0o700)  # noqa: PTH101 - also after a umask that would take the owner's rights
    return folder
