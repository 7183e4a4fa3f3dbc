"""A real MLflow server on loopback, for the demo and for the tests."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
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
    processes.wait_for({f"MLflow at {uri}": lambda: mlflow_answers(uri)}, timeout_seconds=READY_SECONDS)


def mlflow_answers(uri: str) -> bool:
    """Whether an MLflow server answers there."""
    try:
        return httpx.get(f"{uri}/health", timeout=5, trust_env=False).is_success  # No proxy leads to loopback.
    except httpx.TransportError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """What the demo shows of a version in the model registry."""

    name: str
    version: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    url: str


def version_of_alias(uri: str, name: str, alias: str) -> ModelVersion | None:
    """Return the version that an alias points to, or ``None`` when there is no such model or alias."""
    with httpx.Client(base_url=f"{uri}/api/2.0/mlflow", timeout=30, trust_env=False) as client:
        answer = client.get("/registered-models/alias", params={"name": name, "alias": alias})
        if answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND}:
            return None  # MLflow answers with 400 for a missing alias, with 404 for a missing model.
        version = answer.raise_for_status().json()["model_version"]
        run = client.get("/runs/get", params={"run_id": version["run_id"]}).raise_for_status().json()["run"]
    return ModelVersion(
        name=name,
        version=version["version"],
        tags={tag["key"]: tag["value"] for tag in version.get("tags", ())},
        metrics={metric["key"]: metric["value"] for metric in run["data"].get("metrics", ())},
        url=f"{uri}/#/models/{name}/versions/{version['version']}",
    )
