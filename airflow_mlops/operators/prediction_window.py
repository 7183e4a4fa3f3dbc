"""Take a window out of a model's prediction log, which is what all checks of monitoring look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.prediction_log import PREDICTED_AT, may_hold
from airflow_mlops.exceptions import NoRowsError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.windows import record_check

if TYPE_CHECKING:
    from airflow_mlops.engines.fsspec import Storage


class PredictionWindowOperator(DatasetSnapshotOperator):
    """Take a snapshot of what a model answered in a window, out of its prediction log.

    Of a log that lies in folders by day, as ``PredictionLog`` writes it, only the days of the window are read. A window
    without any answer is bad data: it is recorded as a violated check of the kind ``quality``, about which people are
    alerted and on which nothing is trained, and the task and the checks after it are skipped.

    :param model_name: the registered model; the dataset is called ``production-<model>`` (templated).
    :param log: where the log lies: a folder or a glob, as ``source`` of ``DatasetSnapshotOperator`` (templated).
    :param window_start: ISO 8601 (templated).
    :param window_end: ISO 8601; answers at this very moment are in the next window (templated).

    Returns a :class:`~airflow_mlops.domain.dataset.Snapshot` as a dict.
    """

    template_fields: Sequence[str] = ("model_name", "source", "start", "end")
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        model_name: Any,
        log: Any,
        window_start: Any = "{{ data_interval_start }}",
        window_end: Any = "{{ data_interval_end }}",
        **kwargs: Any,
    ) -> None:
        is_known = isinstance(model_name, str) and "{{" not in model_name
        super().__init__(
            dataset_name=production_dataset(model_name) if is_known else model_name,
            source=log,
            time_column=PREDICTED_AT,
            start=window_start,
            end=window_end,
            **kwargs,
        )
        self.model_name = model_name

    def execute(self, context: Context) -> dict[str, Any]:
        """Take the snapshot, and record that there was something to take, or that there was not."""
        self.dataset_name = production_dataset(self.model_name)
        window = Window.parse(self.start, self.end)
        try:
            snapshot = super().execute(context)
        except NoRowsError as error:
            reason = f"{self.model_name} gave no answer from {window}: {error}"
            record_check(self._check(window, rows=0, reasons=(reason,)))
            raise AirflowSkipException(reason) from error
        record_check(self._check(window, rows=snapshot["rows"]))  # It replaces what an earlier look may have found.
        return snapshot

    def find_files(self) -> list[Storage]:
        """Return the files of the log that may hold answers of the window."""
        window, root = Window.parse(self.start, self.end), str(self.source).split("*")[0]
        found = super().find_files()
        files = [file for file in found if may_hold(file.uri.removeprefix("file://").removeprefix(root), window)]
        if not files:
            msg = f"None of the {len(found):,} files in {self.source} is of a day from {window}."
            raise NoRowsError(msg)
        return files

    def _check(self, window: Window, *, rows: int, reasons: tuple[str, ...] = ()) -> WindowCheck:
        return WindowCheck(
            kind=CheckKind.QUALITY,
            window=window,
            verdict=CheckVerdict.VIOLATED if reasons else CheckVerdict.PASSED,
            model_name=self.model_name,
            model_version="",
            rows=rows,
            reasons=reasons,
        )


def production_dataset(model_name: str) -> str:
    """Return the name of the dataset of a model's windows."""
    return f"production-{re.sub(r'[^A-Za-z0-9._-]', '-', model_name)}"
