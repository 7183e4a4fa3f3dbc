"""The demo's processes are real ones here: what must not be left behind can only be seen on the machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo import processes
from demo.processes import ChildError, Processes, empty_folder, free_port, sole_user_of

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as children:
        yield children


def python(code: str) -> tuple[str, str, str]:
    return (sys.executable, "-c", code)


def wait_for_file(file: Path) -> str:
    deadline = time.monotonic() + 20
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.02)
    return file.read_text()


def test_stop_ends_a_server(children: Processes) -> None:
    server = children.start("server", SLEEP, env=os.environ)
    children.stop()
    assert server.process.returncode == -signal.SIGTERM


def test_stop_ends_a_grandchild_in_a_session_of_its_own(children: Processes, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    children.start(
        "server",
        python(
            "import pathlib, subprocess, sys, time\n"
            f"child = subprocess.Popen({list(SLEEP)}, start_new_session=True)\n"
            f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
            "time.sleep(60)"
        ),
        env=os.environ,
    )
    grandchild = int(wait_for_file(pid_file))
    children.stop()
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_stop_kills_what_ignores_the_polite_signal(
    children: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)
    ready = tmp_path / "ready"
    server = children.start(
        "server",
        python(
            "import pathlib, signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            f"pathlib.Path({str(ready)!r}).write_text('yes')\n"
            "time.sleep(60)"
        ),
        env=os.environ,
    )
    wait_for_file(ready)
    children.stop()
    assert server.process.returncode == -signal.SIGKILL


def test_an_exception_ends_the_children(tmp_path: Path) -> None:
    children = Processes(tmp_path)
    with contextlib.suppress(ZeroDivisionError), children:
        server = children.start("server", SLEEP, env=os.environ)
        raise ZeroDivisionError
    assert server.process.poll() is not None


def test_a_dead_server_is_named_with_its_last_words(children: Processes) -> None:
    server = children.start("scheduler", python("print('the disk is full'); raise SystemExit(3)"), env=os.environ)
    server.process.wait()
    with pytest.raises(ChildError, match=r"(?s)The scheduler ended with status 3.*the disk is full"):
        children.check()


def test_a_server_that_ends_well_has_died_too(children: Processes) -> None:
    children.start("scheduler", python("pass"), env=os.environ).process.wait()
    with pytest.raises(ChildError, match="The scheduler ended with status 0"):
        children.check()


def test_an_errand_may_end(children: Processes) -> None:
    errand = children.start("migration", python("pass"), env=os.environ, is_errand=True)
    children.wait_for({"migration": lambda: errand.has_succeeded}, timeout_seconds=20)
    children.check()


def test_a_failed_errand_is_an_error(children: Processes) -> None:
    errand = children.start("migration", python("raise SystemExit('no such table')"), env=os.environ, is_errand=True)
    with pytest.raises(ChildError, match=r"(?s)migration ended with status 1.*no such table"):
        children.wait_for({"migration": lambda: errand.has_succeeded}, timeout_seconds=20)


def test_waiting_in_vain_names_what_was_waited_for(children: Processes) -> None:
    ready: list[str] = []
    with pytest.raises(ChildError, match="in vain for: the moon"):
        children.wait_for(
            {"the sun": lambda: True, "the moon": lambda: False}, timeout_seconds=0.1, on_ready=ready.append
        )
    assert ready == ["the sun"]


def test_a_busy_port_is_not_taken() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_port_that_another_run_has_claimed_is_not_taken(tmp_path: Path) -> None:
    """Its server may not listen yet."""
    port = free_port()
    with Processes(tmp_path) as first, Processes(tmp_path) as second:
        assert first.claim_port(port) == port
        assert second.claim_port(port) != port
    with Processes(tmp_path) as third:
        assert third.claim_port(port) == port


def test_an_emptied_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "old").touch()
    assert list(empty_folder(folder).iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_only_one_process_works_in_a_folder(tmp_path: Path) -> None:
    with (
        sole_user_of(tmp_path),
        pytest.raises(ChildError, match=f"Process {os.getpid()} already works in"),
        sole_user_of(tmp_path),
    ):
        pass


def test_what_a_killed_run_left_in_the_folder_is_ended(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEP, env={**os.environ, processes.FOLDER_VARIABLE: str(tmp_path / "run")})
    other = subprocess.Popen(SLEEP, env={**os.environ, processes.FOLDER_VARIABLE: f"{tmp_path}-other/run"})
    try:
        with sole_user_of(tmp_path):
            assert left.wait(5) == -signal.SIGTERM
            assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_an_orphan_is_not_left_behind(tmp_path: Path) -> None:
    """In a program of its own, since the adoption of orphans holds for the whole process."""
    pid_file = tmp_path / "pid"
    parent = (
        "import pathlib, subprocess\n"
        f"child = subprocess.Popen({list(SLEEP)}, start_new_session=True)\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))"
    )
    program = (
        "import subprocess, sys\n"
        "from demo.processes import no_process_left\n"
        "with no_process_left():\n"
        f"    subprocess.run([sys.executable, '-c', {parent!r}], check=True)"
    )
    subprocess.run(python(program), check=True, cwd=Path(__file__).parents[3], timeout=30)
    assert not psutil.pid_exists(int(pid_file.read_text()))
