"""A real MLflow server on loopback, for the demo and for the tests."""

import os
import sys
from pathlib import Path

import httpx

from demo.processes import Processes

READY_SECONDS = 180.0


def start_mlflow(processes: Processes, folder: Path, port: int) -> str:
    """Start a server that keeps its database and its artifacts in ``folder``; return its tracking URI at once."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # Without it: 15 processes and 3 GB.
    }
    environment.pop("MLFLOW_TRACKING_URI", None)  # A server that has one would forward to it.
    processes.start(
        "MLflow server",
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"),
        ],
        env=environment,
        cwd=folder,
    )
    return f"http://127.0.0.1:{port}"


def wait_for_mlflow(processes: Processes, uri: str) -> None:
    """Wait until the server answers.

    :raises ChildError: when it does not.
    """
    processes.wait_for(f"MLflow at {uri}", lambda: answers(f"{uri}/health"), timeout_seconds=READY_SECONDS)


def answers(url: str) -> bool:
    """Whether an HTTP server answers there with success."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False
