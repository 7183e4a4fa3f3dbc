"""A real S3 for tests: name this module in ``pytest_plugins`` of a test module to have its fixtures."""

import json
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mlops.hooks.storage import open_storage
from demo.processes import Processes

S3_CONNECTION = "s3_tests"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one real S3 server, SeaweedFS, for the session and give its URL."""
    import requests

    folder = tmp_path_factory.mktemp("s3")
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": "tests", "secretKey": "tests-secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    with Processes(folder) as processes:
        ports = {
            name: processes.claim_port(0)
            for service in ("master", "volume", "filer", "s3")
            for name in (f"{service}.port", f"{service}.port.grpc")
        }
        command = [
            str(Path(sysconfig.get_path("scripts")) / "weed"),
            "server",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-filer",
            "-s3",
            f"-s3.config={folder / 's3.json'}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-s3.port.iceberg=0",  # These two would take ports that are always the same.
            "-s3.port.lance=0",
            "-volume.max=200",  # Every bucket takes some.
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        processes.start("S3", command, env=dict(os.environ))
        url = f"http://127.0.0.1:{ports['s3.port']}"

        def answers() -> bool:
            try:
                status = requests.get(f"{url}/status", timeout=1).status_code
            except requests.RequestException:
                return False
            return status < 500

        processes.wait_for({"S3": answers}, timeout_seconds=60)
        yield url


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make an empty bucket, and an Airflow connection to it; give its address, ``s3://connection@bucket``."""
    connection = {
        "conn_type": "aws",
        "login": "tests",
        "password": "tests-secret",
        "extra": {"endpoint_url": s3_server, "region_name": "us-east-1"},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{S3_CONNECTION.upper()}", json.dumps(connection))
    address = f"s3://{S3_CONNECTION}@tests-{os.urandom(6).hex()}"
    bucket = open_storage(address)
    bucket.filesystem.mkdir(bucket.path)
    return address
