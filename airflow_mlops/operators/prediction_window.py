"""Take a window out of a model's prediction log, which is what all checks of monitoring look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.prediction_log import PREDICTED_AT, may_hold, version_folder
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.exceptions import NoRowsError
from airflow_mlops.hooks.mlflow import MlflowHook
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
    :param model_version: take the answers of this version alone, or with ``champion`` of the champion of this moment,
        by the folders ``v<version>`` of the log. Needed where versions have other features, since all files of a
        snapshot have the same columns. ``None`` takes those of all versions (templated).
    :param mlflow_conn_id: the MLflow connection, in which the champion is looked up.

    Returns a :class:`~airflow_mlops.domain.dataset.Snapshot` as a dict.
    """

    template_fields: Sequence[str] = ("model_name", "source", "start", "end", "model_version")
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        model_name: Any,
        log: Any,
        window_start: Any = "{{ data_interval_start }}",
        window_end: Any = "{{ data_interval_end }}",
        model_version: str | None = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
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
        self.model_version = model_version
        self.mlflow_conn_id = mlflow_conn_id

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
        return files if self.model_version in {None, "", "None"} else self._of_version(files)

    def _of_version(self, files: list[Storage]) -> list[Storage]:
        folder = version_folder(self._version())
        chosen = [file for file in files if folder in file.uri.split("/")[:-1]]
        if not chosen:
            msg = f"None of the {len(files):,} files of {self.source} in the window lies in a folder {folder}."
            raise NoRowsError(msg)
        return chosen

    def _version(self) -> str:
        if self.model_version != CHAMPION:
            return str(self.model_version)
        champion = MlflowHook(self.mlflow_conn_id).engine().version_by_alias(self.model_name, CHAMPION)
        if champion is None:
            msg = f"No version of {self.model_name} has the alias {CHAMPION} yet, so that none has answered."
            raise AirflowSkipException(msg)
        return champion.version

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
