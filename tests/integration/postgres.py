"""A real PostgreSQL for tests: name this module in ``pytest_plugins`` of a test module to have its fixtures."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.processes import Processes

_CONNECTION = "postgres_tests"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Start one PostgreSQL server for the session, as a user that is not root, and give its URL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        reason = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(f"CI must not skip the tests on PostgreSQL, but {reason}")
        pytest.skip(reason)
    programs = found[-1].parent
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="airflow-mlops-postgres-") as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        folder.chmod(0o777)
        data = folder / "data"
        options = ["--username=tests", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run([*user, programs / "initdb", f"--pgdata={data}", *options], check=True, capture_output=True)
        processes = stack.enter_context(Processes(folder))
        port = processes.claim_port(0)
        server = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", folder, "-F"]
        processes.start("PostgreSQL", [*user, *map(str, server)], env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        processes.wait_for(
            {"PostgreSQL": lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0},
            timeout_seconds=60,
        )
        yield f"postgresql+psycopg://tests@127.0.0.1:{port}/postgres"
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make an empty database, and an Airflow connection ``postgres_tests`` to it; give its URL."""
    import sqlalchemy as sa

    name = f"tests_{os.urandom(6).hex()}"
    admin = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = sa.make_url(postgres_server).set(database=name)
    described = {"conn_type": "postgres", "host": url.host, "port": url.port, "login": "tests", "schema": name}
    monkeypatch.setenv(f"AIRFLOW_CONN_{_CONNECTION.upper()}", json.dumps(described))
    yield url.render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()
