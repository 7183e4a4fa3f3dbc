"""What a job appends to ``metrics.jsonl`` shows in MLflow while it still runs."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from airflow_mlops.domain.job import JobEngine
from airflow_mlops.domain.polling import sampling_seconds
from airflow_mlops.domain.progress import METRICS_BYTES, METRICS_SECONDS, MetricTail
from airflow_mlops.exceptions import JobOutputError, MlopsError

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine

_END_SECONDS = 10.0
_log = logging.getLogger(__name__)


class LiveMetrics:
    """Logs new steps from time to time, in a thread of its own, for as long as the ``with`` block lasts.

    It only shows early what is logged in full when the job is collected. What goes wrong here therefore ends the
    showing, and never the job; and a step that is logged twice is the same step.
    """

    def __init__(self, engine: JobEngine, work_key: str, mlflow: MlflowEngine, run_id: str) -> None:
        self._engine, self._work_key = engine, work_key
        self._mlflow, self._run_id = mlflow, run_id
        self._tail = MetricTail()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, name="job-metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(_END_SECONDS)

    def _show(self) -> None:
        begun = time.monotonic()
        while not self._ended.wait(max(METRICS_SECONDS, sampling_seconds(time.monotonic() - begun))):
            try:
                self.show()
            except JobOutputError as error:
                _log.warning("Metrics are not shown while the job runs: %s", error)
                return
            except MlopsError as error:
                _log.info("Metrics could not be shown at this moment: %s", error)
            except Exception:  # noqa: BLE001 - whatever it is, the job goes on
                _log.exception("Metrics are not shown while the job runs")
                return

    def show(self) -> None:
        """Log the lines that have been added since the last time, but not one that is still being written.

        :raises JobOutputError: when a line cannot be read.
        """
        content = self._engine.read_metrics_file(self._work_key, longer_than=self._tail.length, most=METRICS_BYTES)
        if steps := self._tail.take(content):
            self._mlflow.log_metrics(self._run_id, {}, steps)
