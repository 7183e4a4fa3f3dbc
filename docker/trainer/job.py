"""The job contract, Amazon SageMaker's: where a job finds inputs, leaves results, and says why it failed.

    <root>/input/config/hyperparameters.json   a JSON object of strings
    <root>/input/data/<channel>/*.parquet      the rows, files read in the order of their names
    <root>/model/                              the MLflow model
    <root>/output/data/                        metrics.json, metrics.jsonl, predictions.parquet
    <root>/output/failure                      the reason, in words, when the exit status is 1

A trainer of your own is one file with one function, `train(job: Job) -> None`. Put it beside this one and name it in
the environment variable `JOB_TRAINER`. The worker brings a program along that scores any model; whoever wants another
adds a function `score(job: Job) -> None`. Only the standard library is imported here, so that the absence of another is
reported like any other failure.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from hyperparameters import HyperparameterError, parse

DEFAULT_ROOT = "/opt/ml"
DEFAULT_TRAINER = "trainer"
EXIT_STOPPED = 143  # As a shell tells of a program that SIGTERM ended: the job did not fail, it was stopped.

Settings = TypeVar("Settings")


class JobError(Exception):
    """What the job was given cannot be used. The message is for the person who gave it, and needs no traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one command over the tree at `root`."""

    root: Path

    @property
    def model_folder(self) -> Path:
        """The MLflow model: written by `train`, read by `score`."""
        return self.root / "model"

    @property
    def results_folder(self) -> Path:
        """Everything that a job leaves beside its model."""
        return self.root / "output" / "data"

    @property
    def failure_file(self) -> Path:
        """The reason of a failure, in words."""
        return self.root / "output" / "failure"

    @property
    def predictions_file(self) -> Path:
        """One row for each row of the channel `score`."""
        return self.results_folder / "predictions.parquet"

    def secret(self, name: str) -> str:
        """Return a secret that the Dag's author gave to this job.

        Raises:
            JobError: there is none of this name.
        """
        file = self.root / "input" / "secrets" / name
        if not file.is_file():
            message = f"There is no secret {name!r}: name it in the operator's `secrets`"
            raise JobError(message)
        return file.read_text(encoding="utf-8")

    def settings(self, kind: type[Settings]) -> Settings:
        """Read the hyperparameters as the dataclass `kind`, see `hyperparameters.parse`.

        Raises:
            JobError: a hyperparameter is unknown, missing or malformed. The message has its name.
        """
        path = self.root / "input" / "config" / "hyperparameters.json"
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            given = {}
        except ValueError as error:
            message = f"{path.name} is not JSON: {error}"
            raise JobError(message) from error
        try:
            return parse(kind, given)
        except HyperparameterError as error:
            raise JobError(str(error)) from error

    def channel_files(self, channel: str) -> list[Path]:
        """List the Parquet files of a channel by name, which is the order of its rows.

        Raises:
            JobError: the channel is missing or has no Parquet file.
        """
        folder = self.root / "input" / "data" / channel
        files = sorted(folder.glob("*.parquet"), key=lambda path: path.name)
        if not files:
            message = f"Channel {channel!r} has no Parquet file: expected {folder}/*.parquet"
            raise JobError(message)
        return files

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write `metrics.json`, flat and of finite numbers, in one move.

        Raises:
            ValueError: a metric is not finite. A gate cannot judge it, and JSON cannot hold it.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                message = f"The metric {name!r} is {value}, and a metric must be a finite number"
                raise ValueError(message)
        partial = self.results_folder / ".metrics.json.partial"
        partial.write_text(json.dumps(dict(metrics), indent=2) + "\n", encoding="utf-8")
        partial.replace(self.results_folder / "metrics.json")

    def log_step(self, step: int, **metrics: float) -> None:
        """Append one line to `metrics.jsonl`, and one to the log for SageMaker's metric definitions."""
        with (self.results_folder / "metrics.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **metrics}) + "\n")
        self.log(f"step={step} " + " ".join(f"{name}={value:.6f}" for name, value in metrics.items()))

    @staticmethod
    def log(message: str) -> None:
        """Tell the job's log, its standard output, at once."""
        print(message, flush=True)  # noqa: T201 - the standard output is a container's log.

    def clear(self, command: str) -> None:
        """Remove what an earlier run of the same command left, so that no old result passes for a new one."""
        self.results_folder.mkdir(parents=True, exist_ok=True)
        self.failure_file.unlink(missing_ok=True)
        stale = ["metrics.json", "metrics.jsonl"] if command == "train" else [self.predictions_file.name]
        for name in stale:
            (self.results_folder / name).unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status: 0, or 1 with the reason in `output/failure`, or 143 when stopped."""
    parser = argparse.ArgumentParser(prog="job", description="Train a model, or score rows with it.")
    parser.add_argument("command", choices=["train", "score"])
    command = parser.parse_args(arguments).command
    # As process 1 of a container, Python would ignore a request to stop until it is killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    job = Job(root=Path(os.environ.get("SAGEMAKER_BASE_DIR") or DEFAULT_ROOT))
    try:
        job.clear(command)
        trainer = importlib.import_module(os.environ.get("JOB_TRAINER") or DEFAULT_TRAINER)
        _function(trainer, command)(job)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the contract: every reason reaches the failure file.
        _report(error, job)
        return EXIT_STOPPED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _function(trainer: ModuleType, command: str) -> Callable[[Job], None]:
    function: Callable[[Job], None] | None = getattr(trainer, command, None)
    if function is None:
        message = f"The trainer {trainer.__name__!r} has no function {command}(job)"
        raise JobError(message)
    return function


def _report(error: BaseException, job: Job) -> None:
    """Leave the reason where the contract wants it; a folder that cannot be written leaves it in the log alone."""
    if isinstance(error, JobError):
        reason = str(error)
    elif isinstance(error, KeyboardInterrupt):
        reason = "The job was asked to stop before it had finished"
    else:
        reason = f"{type(error).__name__}: {error}"
        traceback.print_exception(error)
    print(reason, file=sys.stderr, flush=True)  # noqa: T201 - the standard error is a container's log.
    try:
        job.failure_file.parent.mkdir(parents=True, exist_ok=True)
        job.failure_file.write_text(reason + "\n", encoding="utf-8")
    except OSError as unwritable:
        print(f"The failure file cannot be written: {unwritable}", file=sys.stderr, flush=True)  # noqa: T201
