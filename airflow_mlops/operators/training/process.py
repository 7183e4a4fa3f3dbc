"""Train in a child process of the worker, where there is no Docker engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import Job, JobEngine
from airflow_mlops.domain.training import Backend
from airflow_mlops.operators.jobs import local_program
from airflow_mlops.operators.training.base import TrainModelOperator


class ProcessTrainingOperator(TrainModelOperator):
    """Train in a child process of the worker, where there is no Docker engine.

    The process runs over a copy of its inputs, without the worker's environment, and dies with the task. Memory is
    limited for each of its processes. Further parameters: see :class:`TrainModelOperator`.

    :param program: program and arguments before ``train``, such as ``("python", "trainer/train.py")``. ``python`` is
        the worker's own interpreter; paths are relative to the Dag's file.
    """

    backend = Backend.PROCESS

    def __init__(self, *, program: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.program = program

    def engine(self) -> JobEngine:
        """Return the engine of this machine."""
        from airflow_mlops.engines import process

        return process.ProcessEngine()

    def job(self, snapshot: Snapshot, channel: Path, context: Context) -> Job:
        """Return the job by its program."""
        return replace(super().job(snapshot, channel, context), program=local_program(self.program, context))
