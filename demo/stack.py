"""A whole Airflow and a whole MLflow on loopback, started in parallel and ended together.

The demo and the end-to-end tests run on it. Airflow's four components run as they do in production, on SQLite and the
LocalExecutor; the Dags find their servers through connections.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, Self

import httpx

from airflow_mlops.domain.job import LABEL_WORK_KEY
from airflow_mlops.domain.work_key import WorkKey
from demo.airflow import AirflowClient, Task
from demo.mlflow import mlflow_answers, start_mlflow
from demo.processes import Child, Processes, empty_folder

PROJECT = Path(__file__).resolve().parents[1]
DATA, PRODUCTION = "/data/flights", "/data/production"
"""Where the Dags look for flights, and for what a service that answers in production leaves: constants in them."""
LOOPBACK = "127.0.0.1"
TRAINER_IMAGE = "airflow-mlops/trainer:latest"
USER = "reviewer"
ENGINEER = "engineer"
"""Starts the Dag runs: by default, nobody may approve an own trigger."""
IMPATIENT = {"LOOK_EVERY = timedelta(minutes=1)": "LOOK_EVERY = timedelta(seconds=2)"}
"""A month of the demo takes seconds, so that a minute is long."""
# Task logs are read from the disk that all components share: the servers for them would listen on all interfaces.
COMPONENTS = (
    ("api-server",),
    ("scheduler", "--skip-serve-logs"),
    ("dag-processor",),
    ("triggerer", "--skip-serve-logs"),
)
HEALTHY = dict.fromkeys(("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy")
MIGRATION_SECONDS = 180.0
READY_SECONDS = 900.0
ERRAND_SECONDS = 300.0

Backend = Literal["docker", "process"]
Say = Callable[[str], None]


class Stack:
    """Airflow, MLflow, the months of flights and, for the Docker backend, the trainer image.

    :param folder: everything that the stack writes goes below it. ``run/`` is made anew each time: databases,
        artifacts, logs, the Dags and the password. ``data/`` stays, since preparing it again would give the same files.
    :param backend: where jobs run; ``None`` takes Docker when an engine answers.
    :param dags: the folder whose Dags Airflow reads, in a copy with this stack's folders for their constants.
    :param first_month: the first window that ``model_monitoring`` looks at, in 2013.
    :param dag_ids: the Dags that must have been read before the stack counts as ready.
    :param reviewers: further users and their roles, with the same password.
    :param settings: further settings of Airflow, by section.
    :param say: takes each line meant for a person.
    """

    def __init__(
        self,
        folder: Path,
        *,
        backend: Backend | None = None,
        dags: Path = PROJECT / "dags",
        dag_ids: Iterable[str] = ("continuous_training",),
        reviewers: Mapping[str, str] | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        first_month: int = 4,
        airflow_port: int = 8080,
        mlflow_port: int = 5000,
        say: Say = print,
    ) -> None:
        self.folder = folder.resolve()
        self.backend: Backend = backend or ("docker" if has_docker_engine() else "process")
        self.data = self.folder / "data"
        self.production = self.folder / "run" / "production"
        """The prediction logs and the labels of the models that serve, by the model's name."""
        self.password = secrets.token_urlsafe(12)
        self.seconds: dict[str, float] = {}
        """When each part was ready, in seconds from the start: they start side by side."""
        self._run = self.folder / "run"
        self._dags = dags
        self._first_month = first_month
        self._dag_ids = tuple(dag_ids)
        self._users = {USER: "admin", ENGINEER: "user", **(reviewers or {})}
        self._settings = settings or {}
        self._say = say
        self._work_keys: list[WorkKey] = []
        self._environ: Mapping[str, str] = {}
        self._processes = Processes(self._run)
        self.mlflow_uri = f"http://{LOOPBACK}:{self._claim_port('MLflow', mlflow_port)}"
        airflow = f"http://{LOOPBACK}:{self._claim_port('Airflow', airflow_port)}"
        self.airflow = AirflowClient(airflow, USER, self.password)
        self._engineer = AirflowClient(airflow, ENGINEER, self.password)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process and every job of the stack. Calling it twice is fine."""
        self.airflow.close()
        self._engineer.close()
        self._processes.stop()
        if self.backend == "docker":
            _remove_containers(self._work_keys)

    def check(self) -> None:
        """Raise when a server has ended.

        :raises ChildError: names it and shows the end of its log.
        """
        self._processes.check()

    def ended_processes(self, dag_id: str, run_id: str, task: Task) -> int:
        """Return how many processes of this try, mapped ones together, the scheduler has seen end well.

        Airflow 3.3 fails a task that is answered before: it takes the end of the process that asked for that of the
        next.
        """
        log = self.folder / "run" / "logs" / "airflow-scheduler.log"
        return log.read_text(errors="replace").count(
            f"Received executor event with state success for task instance TaskInstanceKey(dag_id='{dag_id}', "
            f"task_id='{task.task_id}', run_id='{run_id}', try_number={task.try_number}, "
        )

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, object]) -> None:
        """Start a Dag run as the engineer; its jobs end with the stack."""
        self._engineer.log_in()
        self._engineer.trigger(dag_id, run_id, conf)
        self.adopt(dag_id, run_id)

    def adopt(self, dag_id: str, run_id: str) -> None:
        """Let the jobs of a Dag run end with the stack, when something else has started it."""
        tasks = self.airflow.run(dag_id, run_id).tasks
        self._work_keys += [WorkKey(dag_id=dag_id, run_id=run_id, task_id=task.task_id) for task in tasks]

    def run_errand(self, name: str, *arguments: str) -> str:
        """Run a module of the demo as a process of its own, ``python -m``, and return its last line.

        :raises ChildError: when it fails.
        """
        command = [sys.executable, "-m", *arguments]
        child = self._processes.start(name, command, env=self._environ, cwd=PROJECT, is_errand=True)
        self._processes.wait_for({name: partial(_has_succeeded, child)}, timeout_seconds=ERRAND_SECONDS)
        return child.last_lines(1).strip()

    def _start(self) -> None:
        started = time.monotonic()
        empty_folder(self._run)
        self._install_dags()
        environment = self._environ = self._environment()
        start_mlflow(self._processes, self._run / "mlflow", httpx.URL(self.mlflow_uri).port or 0)
        errands = self._start_errands(environment)
        migration = self._start_airflow("db", "migrate", environment=environment, is_errand=True)
        self._processes.wait_for({migration.name: lambda: migration.has_succeeded}, timeout_seconds=MIGRATION_SECONDS)
        for component, *options in COMPONENTS:
            self._start_airflow(component, *options, environment=environment)
        self._processes.wait_for(
            {
                f"MLflow at {self.mlflow_uri}": lambda: mlflow_answers(self.mlflow_uri),
                f"Airflow at {self.airflow.url}": self._airflow_is_ready,
                **{child.name: partial(_has_succeeded, child) for child in errands},
            },
            timeout_seconds=READY_SECONDS,
            on_ready=lambda what: self._note(what, time.monotonic() - started),
        )

    def _install_dags(self) -> None:
        """Copy the Dags, as a person does who follows their first lines: with own values for the constants."""
        dags = self._run / "dags"
        shutil.copytree(self._dags, dags)
        (self._run / "docker").symlink_to(PROJECT / "docker")
        for file in dags.glob("*.py"):
            source = file.read_text()
            for constant, own in {
                **IMPATIENT,
                f'"{DATA}': f'"{self.data}',
                f'"{PRODUCTION}': f'"{self.production}',
                "FIRST_WINDOW, LAST_WINDOW = datetime(2013, 4,": (
                    f"FIRST_WINDOW, LAST_WINDOW = datetime(2013, {self._first_month},"
                ),
            }.items():
                source = source.replace(constant, own)
            file.write_text(source)

    def _start_errands(self, environment: Mapping[str, str]) -> list[Child]:
        """Start what only the first Dag run needs, beside the servers."""
        data = [sys.executable, "-m", "demo.flights", str(self.data)]
        errands = [self._processes.start("flights by month", data, env=environment, cwd=PROJECT, is_errand=True)]
        if self.backend == "docker":
            build = [str(PROJECT / "docker" / "build-trainer.sh"), TRAINER_IMAGE]
            errands.append(self._processes.start("trainer image", build, env=environment, cwd=PROJECT, is_errand=True))
        return errands

    def _start_airflow(self, *arguments: str, environment: Mapping[str, str], is_errand: bool = False) -> Child:
        return self._processes.start(
            f"Airflow {arguments[0]}",
            [sys.executable, "-m", "airflow", *arguments],
            env=environment,
            cwd=self._run,
            is_errand=is_errand,
        )

    def _airflow_is_ready(self) -> bool:
        """Whether all components are healthy and the Dags have been read.

        :raises RuntimeError: when a Dag cannot be imported.
        """
        # Another Airflow may have taken the port meanwhile. It knows no such user, and ours ends with the reason.
        if self.airflow.health() != HEALTHY or not self.airflow.log_in():
            return False
        if errors := self.airflow.import_errors():
            msg = "Airflow cannot import a Dag:\n" + "\n".join(errors)
            raise RuntimeError(msg)
        return all(self.airflow.has_dag(dag_id) for dag_id in self._dag_ids)

    def _claim_port(self, server: str, preferred: int) -> int:
        port = self._processes.claim_port(preferred)
        if preferred and port != preferred:
            self._say(f"Port {preferred} is busy, so {server} takes {port}.")
        return port

    def _note(self, what: str, seconds: float) -> None:
        self.seconds[what] = seconds
        self._say(f"  {what}: ready after {seconds:.0f} s")

    def _environment(self) -> dict[str, str]:
        """Return the environment of all of Airflow's components. Nothing of the user's own Airflow gets through."""
        home = self._run / "airflow"
        home.mkdir()
        temporary = self._run / "tmp"
        temporary.mkdir()
        passwords = home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps(dict.fromkeys(self._users, self.password)))
        settings: dict[str, dict[str, object]] = {
            "api": {
                "host": LOOPBACK,
                "port": httpx.URL(self.airflow.url).port,
                "base_url": self.airflow.url,
                "workers": 1,
            },
            "api_auth": {"jwt_secret": secrets.token_urlsafe(32)},
            "core": {
                "dags_folder": self._run / "dags",
                "dags_are_paused_at_creation": False,
                "execution_api_server_url": f"{self.airflow.url}/execution/",
                "executor": "LocalExecutor",
                "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "load_examples": False,
                "parallelism": 4,
                "simple_auth_manager_users": ",".join(f"{user}:{role}" for user, role in self._users.items()),
                "simple_auth_manager_passwords_file": passwords,
            },
            "dag_processor": {"min_file_process_interval": 60, "refresh_interval": 30},
            "database": {"sql_alchemy_conn": f"sqlite:///{home}/airflow.db"},
            "logging": {"base_log_folder": self._run / "logs" / "tasks"},
            "mlops": {"artifacts_root": f"file://{self._run}/artifacts", "job_backend": self.backend},
            "scheduler": {"scheduler_idle_sleep_time": 0.1},
        }
        for section, options in self._settings.items():
            settings[section] = {**settings.get(section, {}), **options}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "MLFLOW_"))},
            **{
                f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
                for section, options in settings.items()
                for key, value in options.items()
            },
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps({"conn_type": "mlflow", "host": self.mlflow_uri}),
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NO_PROXY": f"{LOOPBACK},localhost,{os.environ.get('NO_PROXY', '')}".rstrip(","),
            "TMPDIR": str(temporary),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }


def has_docker_engine() -> bool:
    """Whether a Docker engine answers, and the command that builds the trainer image is there."""
    import docker

    if shutil.which("docker") is None:
        return False
    try:
        with contextlib.closing(docker.from_env(timeout=10)) as client:
            client.ping()
    except docker.errors.DockerException:
        return False
    return True


def _remove_containers(work_keys: Iterable[WorkKey]) -> None:
    """Remove the containers of these tasks, should one have outlived its task."""
    import docker

    with contextlib.closing(docker.from_env()) as client:
        for key in work_keys:
            for container in client.containers.list(
                all=True, ignore_removed=True, filters={"label": f"{LABEL_WORK_KEY}={key}"}
            ):
                container.remove(force=True, v=True)


def _has_succeeded(child: Child) -> bool:
    return child.has_succeeded
