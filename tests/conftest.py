"""What every test stands on: an Airflow home of its own, no telemetry, and real servers that are started once."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mlflow import start_mlflow, wait_for_mlflow
from demo.processes import Processes

# Airflow reads these when it is imported, which the first test module does: a fixture would come too late.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-mlops-tests-")
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[1] / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "false",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/airflow.db",
    "AIRFLOW__MLOPS__ARTIFACTS_ROOT": f"{_HOME.name}/artifacts",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "MLFLOW_TRACKING_"))]:
    del os.environ[_name]  # A developer's own servers are none of a test's business.


_QUICK_FIRST = ("unit", "dags", "integration", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick kinds of tests first; within each kind the order stays random."""
    tests = Path(__file__).parent
    items.sort(key=lambda item: _QUICK_FIRST.index(item.path.relative_to(tests).parts[0]))


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Create Airflow's SQLite database, for tests that run a Dag or read connections from it."""
    from airflow.utils import db

    db.initdb()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one real MLflow server for the session and give its tracking URI. Use own names: all tests share it."""
    folder = tmp_path_factory.mktemp("mlflow")
    with Processes(folder) as processes:
        uri = start_mlflow(processes, folder, processes.claim_port(0))
        wait_for_mlflow(processes, uri)
        yield uri


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Ask for a Docker engine that answers. Without one the test is skipped, and in CI it fails."""
    import docker

    try:
        with contextlib.closing(docker.from_env(timeout=10)) as client:
            client.ping()
    except docker.errors.DockerException as error:
        reason = f"no Docker engine answers: {error}"
    else:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must not skip the Docker tests, but {reason}")
    pytest.skip(reason)
