"""The demo as a person starts it: in a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from demo.processes import FOLDER_VARIABLE, end_all

PROJECT = Path(__file__).parents[2]


class Demo:
    """``python -m demo`` in a pseudo terminal.

    :param folder: where it keeps everything, so that what it leaves running can be recognised.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.output = ""
        self._keyboard, terminal = pty.openpty()
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "DEMO_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo"],
            cwd=PROJECT,
            env={**own, "DEMO_FOLDER": str(folder), **environment},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def wait_for(self, pattern: str, *, timeout_seconds: float) -> re.Match[str]:
        """Read what it prints until the pattern is there."""
        deadline = time.monotonic() + timeout_seconds
        while (match := re.search(pattern, self.output)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} within {timeout_seconds} s:\n{self.output}"
            assert self._read(), f"it ended without {pattern!r}:\n{self.output}"
        return match

    def type(self, line: str) -> None:
        """Type a line, as a person does."""
        os.write(self._keyboard, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, *, timeout_seconds: float) -> int:
        """Wait for its end and return its exit status."""
        deadline = time.monotonic() + timeout_seconds
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.output}"
        return self.process.wait(max(1, deadline - time.monotonic()))

    def left_behind(self) -> list[psutil.Process]:
        """Return what still runs of all that it started: known by its environment, its folder or its arguments."""
        return [
            process
            for process in psutil.process_iter(["environ", "cwd", "cmdline"])
            if process.pid != os.getpid()
            and any(
                str(self.folder) in text
                for text in (
                    (process.info["environ"] or {}).get(FOLDER_VARIABLE, ""),
                    process.info["cwd"] or "",
                    *(process.info["cmdline"] or ()),
                )
            )
        ]

    def close(self) -> None:
        """End it, whatever became of the test."""
        end_all([*self.left_behind(), *([psutil.Process(self.process.pid)] if self.process.poll() is None else [])])
        self.process.wait()
        os.close(self._keyboard)

    def _read(self) -> bool:
        """Read what is there, at most a second long; ``False`` at the end."""
        if not select.select([self._keyboard], [], [], 1)[0]:
            return True
        try:
            text = os.read(self._keyboard, 65536).decode(errors="replace")
        except OSError:  # How a pseudo terminal says that its other end has been closed.
            return False
        self.output += text.replace("\r\n", "\n")
        return bool(text)
