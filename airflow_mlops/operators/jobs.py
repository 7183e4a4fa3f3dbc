"""What operators that run jobs share: what they hand to a job, in the form that engines take."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import BASE_DIR, CODE, Job, JobEngine, JobLimits
from airflow_mlops.domain.secrets import hidden_texts, redact
from airflow_mlops.exceptions import DatasetError, InvalidInputError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.base import dag_file

SCORER = Path(__file__).parents[1] / "scorer"
"""The program that scores any MLflow model, for jobs whose image has none."""


@contextlib.contextmanager
def local_channel(snapshot: Snapshot) -> Iterator[Path]:
    """Give a local folder that holds a snapshot's Parquet parts and nothing else, for ``Job.channels``.

    :raises DatasetError: when the snapshot is not whole, or is another than was asked for.
    """
    from airflow_mlops.engines.snapshots import open_snapshot

    with (
        open_snapshot(open_storage(snapshot.uri)) as local,
        tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder,
    ):
        if local.manifest.digest != snapshot.digest:
            msg = (
                f"{snapshot.uri} holds the digest {local.manifest.digest}, but {snapshot.digest} was asked for. "
                f"Take the snapshot again, and give this task the result."
            )
            raise DatasetError(msg)
        for part in local.parts:
            (Path(folder) / part.name).symlink_to(part.absolute())
        yield Path(folder)


@contextlib.contextmanager
def prepared(job: Job, engine: JobEngine) -> Iterator[Future[None]]:
    """Let the engine prepare the job while something else is done. Its error, if any, is in what is given."""
    with ThreadPoolExecutor(1) as pool:
        preparing = pool.submit(engine.prepare, job)
        try:
            yield preparing
        except BaseException:
            with contextlib.suppress(Exception):  # Another error is on its way, and says more.
                preparing.result()
                engine.discard(job)
            raise


def job_limits(limits: JobLimits | Mapping[str, Any] | None) -> JobLimits:
    """Return the limits that an author gave in any of the allowed forms, or the defaults.

    :raises InvalidInputError: naming the key that is unknown or of the wrong type.
    """
    if limits is None:
        return JobLimits()
    return limits if isinstance(limits, JobLimits) else JobLimits.from_dict(limits)


def job_hyperparameters(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Return hyperparameters as the texts that a job gets: texts as they are, others as JSON, ``None`` not at all."""
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in hyperparameters.items()
        if value is not None
    }


def scorer_program(*, in_image: bool) -> tuple[str, ...]:
    """Return the program that scores a model of any image, for a job that has :data:`SCORER` as its ``code``."""
    return ("python3", f"{BASE_DIR}/{CODE}") if in_image else ("python", str(SCORER))


def without_secrets(log: Callable[[str], None], job: Job) -> Callable[[str], None]:
    """Return ``log`` for the lines of a job, whose secrets it never gets to see.

    Airflow masks them in the task's log, too. But what masks there runs elsewhere, and may be set up otherwise.
    """
    hidden = hidden_texts(job.secrets)
    return (lambda line: log(redact(line, hidden))) if hidden else log


def local_program(program: Sequence[str], context: Context) -> tuple[str, ...]:
    """Return the program of a process job, its arguments that name files in or near the Dag's folder made absolute.

    :raises InvalidInputError: when an argument that can only be a file is none.
    """
    return tuple(_argument(argument, context) for argument in program)


def _argument(argument: str, context: Context) -> str:
    path = dag_file(argument, context)
    is_path = argument.startswith(("/", "./", "../")) or (argument.endswith(".py") and not argument.startswith("-"))
    if is_path and not path.exists():
        msg = f"The program names {path}, which is not on this worker. Give a path relative to the Dag's file."
        raise InvalidInputError(msg)
    return str(path.resolve()) if is_path else argument
