"""Servers as child processes: started, watched and ended together, so that none is left behind."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

FOLDER_VARIABLE = "AIRFLOW_MLOPS_DEMO_FOLDER"
"""By this variable a later run recognises what an earlier one has left in the same folder."""
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
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
    is_errand: bool

    @property
    def has_succeeded(self) -> bool:
        """Whether it ended well."""
        return self.process.poll() == 0

    def last_lines(self, count: int = LAST_LINES) -> str:
        """Return the end of what the child wrote, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


class Processes:
    """The children of one run. Leaving the ``with`` block ends them and everything that they started.

    :param folder: what they write belongs below it, such as one log file each in ``logs/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []
        self._claims = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def claim_port(self, preferred: int) -> int:
        """Return ``preferred`` or, when it is busy, another free port.

        A server may need half a minute until it listens. Until the end, no other run of this user claims the port.
        """
        port = free_port(preferred)
        claim = Path(tempfile.gettempdir()) / f"airflow-mlops-demo-{os.getuid()}-port-{port}.lock"
        lock = self._claims.enter_context(claim.open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self.claim_port(0)
        return port

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        is_errand: bool = False,
    ) -> Child:
        """Start a child. Its own session keeps the terminal's Ctrl-C away from it: the parent alone decides its end.

        :param is_errand: it does one thing and ends, such as a database migration; a server must go on.
        """
        log = self.folder / "logs" / f"{name.replace(' ', '-').lower()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**env, FOLDER_VARIABLE: str(self.folder)},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name=name, process=process, log=log, is_errand=is_errand)
        self.children.append(child)
        return child

    def check(self) -> None:
        """Raise when a server has ended or an errand has failed.

        :raises ChildError: names the child, its exit status and the end of its log.
        """
        for child in self.children:
            status = child.process.poll()
            if status is not None and not (child.is_errand and status == 0):
                msg = f"The {child.name} ended with status {status}. The end of {child.log}:\n{child.last_lines()}"
                raise ChildError(msg)

    def wait_for(
        self,
        conditions: Mapping[str, Callable[[], bool]],
        *,
        timeout_seconds: float,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wait until every condition held once, watching all children meanwhile.

        :param conditions: what is waited for, in words, and whether it is so now.
        :param on_ready: is told each of them as it comes true.
        :raises ChildError: when a child ends that should not, or when it takes longer.
        """
        deadline = time.monotonic() + timeout_seconds
        pending = dict(conditions)
        while pending:
            self.check()
            for what in [what for what, is_ready in pending.items() if is_ready()]:
                del pending[what]
                on_ready(what)
            if pending and time.monotonic() > deadline:
                logs = "\n".join(f"  {child.log}:\n{child.last_lines(8)}" for child in self.children)
                msg = f"Waited {timeout_seconds:.0f} s in vain for: {', '.join(pending)}.\n{logs}"
                raise ChildError(msg)
            time.sleep(0.2 if pending else 0)

    def stop(self) -> None:
        """End all children and their descendants: TERM, and KILL for those that stay. Ctrl-C must wait meanwhile."""
        with uninterrupted():
            roots = [child.process for child in self.children]
            end_all({process for root in roots for process in _family(root.pid)})
            for root in roots:
                root.wait()
            self.children.clear()
            self._claims.close()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C, TERM and a closed terminal, so that a second one does not stop the cleaning up for the first."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread is interrupted.
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """End every process that this one, or a descendant, started and that is still there at the end.

    On Linux that includes processes whose parent has died: they become children of this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        with uninterrupted():
            leftovers = psutil.Process().children(recursive=True)
            end_all(leftovers)
            psutil.wait_procs(leftovers, timeout=KILL_SECONDS)  # also clears the adopted ones away, as a parent must


@contextlib.contextmanager
def sole_user_of(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone, and end what an earlier one that was killed has left running in it.

    :raises ChildError: when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            msg = f"Process {lock.read().strip()} already works in {folder}. End it first, or choose another folder."
            raise ChildError(msg) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        end_all(
            process
            for process in psutil.process_iter(["environ"])
            if Path((process.info["environ"] or {}).get(FOLDER_VARIABLE, "/")).is_relative_to(folder)
        )
        yield


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
    deadline = time.monotonic() + KILL_SECONDS
    while any(map(_is_alive, stubborn)) and time.monotonic() < deadline:
        time.sleep(0.02)


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


def free_port(preferred: int = 0) -> int:
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
